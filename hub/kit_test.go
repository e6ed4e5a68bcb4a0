package hub_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"forge.lthn.ai/core/go-ws/hub"
	"forge.lthn.ai/core/go-ws/hub/hubtest"
	"forge.lthn.ai/core/go-ws/hub/wire"
)

// world is a running hub on a transport without sockets.
type world struct {
	*hub.Hub
	t         testing.TB
	transport *hubtest.Transport
	stop      context.CancelFunc
	ran       chan error
}

// start runs a hub until the test ends. Inside a bubble the end of the test
// shows that nothing of it is left.
func start(t testing.TB, cfg hub.Config) *world {
	t.Helper()
	transport, ok := cfg.Transport.(*hubtest.Transport)
	if !ok {
		transport = hubtest.NewTransport()
		cfg.Transport = transport
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	h, err := hub.New(cfg)
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	w := &world{Hub: h, t: t, transport: transport, stop: cancel, ran: make(chan error, 1)}
	go func() { w.ran <- h.Run(ctx) }()
	select {
	case err := <-w.ran:
		t.Fatalf("Run ended at once: %v", err)
	case <-h.Started():
	}
	t.Cleanup(w.end)
	return w
}

// end stops the hub and waits for Run.
func (w *world) end() {
	w.stop()
	select {
	case err := <-w.ran:
		if err != nil {
			w.t.Errorf("Run returned %v, want nil", err)
		}
		w.ran <- nil
	case <-time.After(60 * time.Second):
		w.t.Error("Run has not returned")
	}
}

// bubble runs a test in a synctest bubble.
func bubble(t *testing.T, f func(t *testing.T)) { synctest.Test(t, f) }

func request() *http.Request { return httptest.NewRequest(http.MethodGet, "/ws", nil) }

// connect dials a client.
func (w *world) connect() *peer { return w.connectAs(request()) }

func (w *world) connectAs(r *http.Request) *peer {
	w.t.Helper()
	p, resp := w.transport.Dial(w.Handler(), r)
	if p == nil {
		w.t.Fatalf("dial answered %d %s, want an upgrade", resp.Status, resp.Body)
	}
	return &peer{Peer: p, t: w.t}
}

// on dials a client and puts it on channels.
func (w *world) on(channels ...string) *peer {
	w.t.Helper()
	p := w.connect()
	for _, ch := range channels {
		p.subscribe(ch)
	}
	return p
}

// peer is a client that speaks frames.
type peer struct {
	*hubtest.Peer
	t testing.TB
}

func (p *peer) send(text string) {
	p.t.Helper()
	if err := p.SendText(text); err != nil {
		p.t.Fatalf("sending %s: %v", text, err)
	}
}

// next returns the next frame.
func (p *peer) next() wire.Frame {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	_, payload, err := p.Receive(ctx)
	if err != nil {
		p.t.Fatalf("receiving: %v", err)
	}
	var f wire.Frame
	if err := json.Unmarshal(payload, &f); err != nil {
		p.t.Fatalf("received %q, which is no frame: %v", payload, err)
	}
	return f
}

// want fails unless the next frame has the type and its data is the JSON.
func (p *peer) want(typ wire.Type, data string) wire.Frame {
	p.t.Helper()
	f := p.next()
	if f.Type != typ || string(f.Data) != data {
		p.t.Fatalf("got %s %s, want %s %s", f.Type, f.Data, typ, data)
	}
	return f
}

// wantError fails unless the next frame is an error of the code.
func (p *peer) wantError(code wire.ErrorCode) wire.Frame {
	p.t.Helper()
	f := p.next()
	var data wire.ErrorData
	if err := json.Unmarshal(f.Data, &data); f.Type != wire.TypeError || err != nil || data.Code != code || data.Message == "" {
		p.t.Fatalf("got %s %s, want an error %q with a text", f.Type, f.Data, code)
	}
	return f
}

// wantNothing fails if anything has arrived once all is quiet. For bubbles.
func (p *peer) wantNothing() {
	p.t.Helper()
	synctest.Wait()
	if _, payload, ok := p.TryReceive(); ok {
		p.t.Fatalf("got %s, want nothing", payload)
	}
}

// wantClosed fails unless the connection ends with the code.
func (p *peer) wantClosed(code wire.CloseCode) *hub.CloseError {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
	defer cancel()
	for {
		_, _, err := p.Receive(ctx)
		if err == nil {
			continue
		}
		closed, ok := err.(*hub.CloseError)
		if !ok || closed.Code != code {
			p.t.Fatalf("ended with %v, want close code %d", err, code)
		}
		return closed
	}
}

func (p *peer) subscribe(channel string) {
	p.t.Helper()
	name, err := json.Marshal(channel)
	if err != nil {
		p.t.Fatal(err)
	}
	p.send(`{"type":"subscribe","data":` + string(name) + `}`)
	if f := p.next(); f.Type != wire.TypeSubscribed || f.Channel != channel {
		p.t.Fatalf("got %s %q %s, want subscribed %q", f.Type, f.Channel, f.Data, channel)
	}
}

func (p *peer) unsubscribe(channel string) {
	p.t.Helper()
	name, err := json.Marshal(channel)
	if err != nil {
		p.t.Fatal(err)
	}
	p.send(`{"type":"unsubscribe","data":` + string(name) + `}`)
	if f := p.next(); f.Type != wire.TypeUnsubscribed || f.Channel != channel {
		p.t.Fatalf("got %s %q %s, want unsubscribed %q", f.Type, f.Channel, f.Data, channel)
	}
}

// text is a message whose data is a string.
func text(s string) hub.Message { return hub.Message{Data: s} }

// must fails on an error of a publish.
func must(t testing.TB) func(hub.Result, error) hub.Result {
	return func(r hub.Result, err error) hub.Result {
		t.Helper()
		if err != nil {
			t.Fatalf("publishing: %v", err)
		}
		return r
	}
}

func repeat(s string, n int) string { return strings.Repeat(s, n) }
