package system_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"go.uber.org/goleak"

	"forge.lthn.ai/core/go-ws/hub"
	"forge.lthn.ai/core/go-ws/hub/wire"
	"forge.lthn.ai/core/go-ws/transport"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// hang bounds every wait for something that must come.
const hang = 60 * time.Second

// server is a hub behind an HTTP server on the loopback interface.
type server struct {
	*hub.Hub
	t    testing.TB
	http *httptest.Server
	url  string // ws://…
	stop context.CancelFunc
	ran  chan error
}

func serve(t testing.TB, cfg hub.Config, options ...func(*httptest.Server)) *server {
	t.Helper()
	sockets, err := transport.New(transport.Config{})
	if err != nil {
		t.Fatal(err)
	}
	cfg.Transport = sockets
	cfg.Logger = slog.New(slog.DiscardHandler)
	h, err := hub.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	s := &server{Hub: h, t: t, http: httptest.NewUnstartedServer(h.Handler()), ran: make(chan error, 1)}
	s.http.Config.ReadHeaderTimeout = 10 * time.Second
	for _, option := range options {
		option(s.http)
	}
	if s.http.TLS != nil {
		s.http.StartTLS()
	} else {
		s.http.Start()
	}
	s.url = "ws" + strings.TrimPrefix(s.http.URL, "http")
	ctx, cancel := context.WithCancel(context.Background())
	s.stop = cancel
	go func() { s.ran <- h.Run(ctx) }()
	t.Cleanup(func() {
		s.end()
		s.http.Close()
	})
	s.await("the hub runs", func() bool { return h.Ready() == nil })
	return s
}

// end stops the hub and waits for Run.
func (s *server) end() {
	s.stop()
	select {
	case err := <-s.ran:
		if err != nil {
			s.t.Errorf("Run returned %v, want nil", err)
		}
		s.ran <- nil
	case <-time.After(hang):
		s.t.Error("Run has not returned")
	}
}

// await waits for a state that nobody announces.
func (s *server) await(what string, ok func() bool) {
	s.t.Helper()
	for deadline := time.Now().Add(hang); !ok(); {
		if time.Now().After(deadline) {
			s.t.Fatalf("waited in vain until %s; %+v", what, s.Stats())
		}
		tick := time.NewTimer(time.Millisecond)
		<-tick.C
	}
}

// client is a WebSocket client of another library than the server's.
type client struct {
	*websocket.Conn
	t testing.TB
}

func (s *server) dial(header http.Header) (*client, *http.Response) {
	s.t.Helper()
	dialer := websocket.Dialer{HandshakeTimeout: hang}
	if s.http.TLS != nil {
		dialer.TLSClientConfig = s.http.Client().Transport.(*http.Transport).TLSClientConfig
	}
	conn, resp, err := dialer.Dial(s.url, header)
	if err != nil {
		if errors.Is(err, websocket.ErrBadHandshake) {
			return nil, resp
		}
		s.t.Fatalf("dialling: %v", err)
	}
	s.t.Cleanup(func() { conn.Close() })
	return &client{conn, s.t}, resp
}

func (s *server) connect() *client {
	s.t.Helper()
	c, resp := s.dial(nil)
	if c == nil {
		s.t.Fatalf("status %d, want an upgrade", resp.StatusCode)
	}
	return c
}

func (s *server) on(channel string) *client {
	s.t.Helper()
	c := s.connect()
	c.subscribe(channel)
	return c
}

// send publishes on a channel.
func (s *server) send(channel string, data any) {
	s.t.Helper()
	if _, err := s.SendToChannel(context.Background(), channel, hub.Message{Data: data}); err != nil {
		s.t.Fatalf("publishing: %v", err)
	}
}

func (c *client) send(text string) {
	c.t.Helper()
	if err := c.WriteMessage(websocket.TextMessage, []byte(text)); err != nil {
		c.t.Fatalf("sending: %v", err)
	}
}

// next returns the next frame: one JSON object, a text message for itself.
func (c *client) next() wire.Frame {
	c.t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(hang)); err != nil {
		c.t.Fatal(err)
	}
	kind, payload, err := c.ReadMessage()
	if err != nil {
		c.t.Fatalf("receiving: %v", err)
	}
	var f wire.Frame
	if err := json.Unmarshal(payload, &f); kind != websocket.TextMessage || err != nil {
		c.t.Fatalf("received %d %q, want one JSON object as text: %v", kind, payload, err)
	}
	return f
}

func (c *client) want(typ wire.Type, data string) wire.Frame {
	c.t.Helper()
	f := c.next()
	if f.Type != typ || string(f.Data) != data {
		c.t.Fatalf("got %s %s, want %s %s", f.Type, f.Data, typ, data)
	}
	return f
}

func (c *client) wantError(code wire.ErrorCode) {
	c.t.Helper()
	f := c.next()
	var data wire.ErrorData
	if err := json.Unmarshal(f.Data, &data); err != nil || f.Type != wire.TypeError || data.Code != code {
		c.t.Fatalf("got %s %s, want error %s", f.Type, f.Data, code)
	}
}

// wantClosed reads until the connection ends, and fails unless that is by the
// code.
func (c *client) wantClosed(code wire.CloseCode) *websocket.CloseError {
	c.t.Helper()
	for {
		if err := c.SetReadDeadline(time.Now().Add(hang)); err != nil {
			c.t.Fatal(err)
		}
		_, _, err := c.ReadMessage()
		if err == nil {
			continue
		}
		var closed *websocket.CloseError
		if !errors.As(err, &closed) || closed.Code != int(code) {
			c.t.Fatalf("ended with %v, want close code %d", err, code)
		}
		return closed
	}
}

func (c *client) subscribe(channel string) {
	c.t.Helper()
	c.send(`{"type":"subscribe","data":"` + channel + `"}`)
	if f := c.next(); f.Type != wire.TypeSubscribed || f.Channel != channel {
		c.t.Fatalf("got %+v, want subscribed %s", f, channel)
	}
}

// tcp opens a bare connection.
func (s *server) tcp() net.Conn {
	s.t.Helper()
	nc, err := net.Dial("tcp", s.http.Listener.Addr().String())
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { nc.Close() })
	if err := nc.SetDeadline(time.Now().Add(hang)); err != nil {
		s.t.Fatal(err)
	}
	return nc
}
