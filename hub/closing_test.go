package hub_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"forge.lthn.ai/core/go-ws/hub"
	"forge.lthn.ai/core/go-ws/hub/hubtest"
	"forge.lthn.ai/core/go-ws/hub/wire"
)

// lingering is a transport whose connections say Closed when they are let, as
// one does that sees its close frame through.
type lingering struct {
	*hubtest.Transport
	let  chan struct{}
	cuts *atomic.Int32 // calls of Close(0)
}

func (t lingering) Accept(w http.ResponseWriter, r *http.Request, o hub.AcceptOptions) (hub.Conn, error) {
	conn, err := t.Transport.Accept(w, r, o)
	return lingeringConn{conn, t}, err
}

type lingeringConn struct {
	hub.Conn
	t lingering
}

func (c lingeringConn) Start(r hub.Receiver) { c.Conn.Start(lingeringReceiver{r, c.t}) }

func (c lingeringConn) Close(code wire.CloseCode, reason string) error {
	if code == 0 {
		c.t.cuts.Add(1)
	}
	return c.Conn.Close(code, reason)
}

type lingeringReceiver struct {
	hub.Receiver
	t lingering
}

func (r lingeringReceiver) Closed(err error) {
	<-r.t.let
	r.Receiver.Closed(err)
}

// What is published while a transport writes a close frame finds the connection
// over. It must not cost the client that frame, nor the hub its figures.
func TestAMessageInTheMomentOfACloseFrameDoesNotCutItOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		transport := lingering{hubtest.NewTransport(), make(chan struct{}), new(atomic.Int32)}
		let := sync.OnceFunc(func() { close(transport.let) })
		gone := make(chan hub.DisconnectReason, 1)
		h := inBubble(t, hub.Config{
			Transport: transport, MaxMessageBytes: 100, HeartbeatInterval: -1, PongTimeout: -1,
			OnDisconnect: func(_ *hub.Client, r hub.DisconnectReason) { gone <- r },
		})
		t.Cleanup(let)
		p := dialled(t, transport.Transport, h)
		if err := p.SendText(repeat("x", 101)); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if _, err := h.Broadcast(t.Context(), text("late")); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if s := h.Stats(); s.Dropped.Gone != 1 || transport.cuts.Load() != 0 {
			t.Errorf("got %d messages dropped and %d connections cut, want 1 and none", s.Dropped.Gone, transport.cuts.Load())
		}
		let()
		if r := <-gone; r != hub.DisconnectedRefused {
			t.Errorf("got reason %q, want %q", r, hub.DisconnectedRefused)
		}
		if n := h.Stats().Refused[hub.RefusedTooBig]; n != 1 {
			t.Errorf("got %d refused as too big, want 1", n)
		}
	})
}

// unanswered is a transport one of whose peers answers no close frame.
type unanswered struct {
	*hubtest.Transport
	path string
}

func (t unanswered) Accept(w http.ResponseWriter, r *http.Request, o hub.AcceptOptions) (hub.Conn, error) {
	conn, err := t.Transport.Accept(w, r, o)
	if err == nil && r.URL.Path == t.path {
		conn = &unansweredConn{Conn: conn, cut: make(chan struct{})}
	}
	return conn, err
}

type unansweredConn struct {
	hub.Conn
	once sync.Once
	cut  chan struct{}
}

func (c *unansweredConn) Close(code wire.CloseCode, reason string) error {
	if code == 0 {
		c.once.Do(func() { close(c.cut) })
	}
	<-c.cut
	return c.Conn.Close(0, "")
}

// A request that is upgraded while the hub drains never becomes a client: that
// its connection is cut at the end is no client's being cut off.
func TestALateUpgradeDoesNotMakeAPeacefulShutdownAnError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		transport := unanswered{hubtest.NewTransport(), "/late"}
		let := make(chan struct{})
		h := inBubble(t, hub.Config{
			Transport: transport,
			Authenticator: hub.AuthenticatorFunc(func(r *http.Request) hub.AuthResult {
				if r.URL.Path == "/late" {
					<-let
				}
				return hub.AuthResult{Valid: true}
			}),
		})
		first := dialled(t, transport.Transport, h)
		first.Stall()
		late := make(chan *hubtest.Peer, 1)
		go func() {
			p, _ := transport.Dial(h.Handler(), httptest.NewRequest(http.MethodGet, "/late", nil))
			late <- p
		}()
		down := make(chan error, 1)
		synctest.Wait()
		go func() { down <- h.Shutdown(context.Background()) }()
		synctest.Wait()
		close(let)
		synctest.Wait()
		select {
		case <-down:
			t.Fatal("Shutdown returned with a client left")
		case <-late:
			t.Fatal("the late request was answered, want its connection to wait for the peer")
		default:
		}
		first.Unstall()
		if err := <-down; err != nil {
			t.Errorf("Shutdown: got %v, want nil", err)
		}
		if p := <-late; p == nil {
			t.Error("the late request: got no upgrade")
		}
	})
}
