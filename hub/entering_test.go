package hub_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"forge.lthn.ai/core/go-ws/hub"
	"forge.lthn.ai/core/go-ws/hub/hubtest"
	"forge.lthn.ai/core/go-ws/hub/wire"
)

// eager is a transport whose connections have a frame ready when they start.
type eager struct {
	*hubtest.Transport
	frame    string
	accepted func()
}

func (t eager) Accept(w http.ResponseWriter, r *http.Request, o hub.AcceptOptions) (hub.Conn, error) {
	conn, err := t.Transport.Accept(w, r, o)
	if t.accepted != nil {
		t.accepted()
	}
	return eagerConn{conn, t.frame}, err
}

type eagerConn struct {
	hub.Conn
	frame string
}

func (c eagerConn) Start(r hub.Receiver) {
	r.Receive(hub.TextFrame, []byte(c.frame))
	c.Conn.Start(r)
}

func TestFramesOfARefusedClientAreNotHandled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		transport := eager{Transport: hubtest.NewTransport(), frame: `{"type":"mine"}`}
		var handled atomic.Int32
		h := inBubble(t, hub.Config{
			Transport: transport,
			OnConnect: func(context.Context, *hub.Client) error { return errors.New("no") },
			OnMessage: func(context.Context, *hub.Client, wire.Frame) (*hub.Message, error) {
				handled.Add(1)
				return nil, nil
			},
		})
		for range 100 {
			dialled(t, transport.Transport, h)
		}
		synctest.Wait()
		if got := handled.Load(); got != 0 {
			t.Errorf("got OnMessage called for %d clients that OnConnect refused, want none", got)
		}
	})
}

// The bubble's end shows that nothing of the client is left.
func TestAClientThatIsUpgradedWhileTheHubDrainsLeavesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		transport := eager{Transport: hubtest.NewTransport(), frame: `{"type":"subscribe","data":"news"}`}
		var h *hub.Hub
		down := make(chan error, 1)
		transport.accepted = func() {
			go func() { down <- h.Shutdown(context.Background()) }()
			synctest.Wait()
		}
		h = built(t, hub.Config{Transport: transport})
		ran := make(chan error, 1)
		go func() { ran <- h.Run(context.Background()) }()
		synctest.Wait()
		p, resp := transport.Dial(h.Handler(), httptest.NewRequest(http.MethodGet, "/", nil))
		if p == nil {
			t.Fatalf("dial: got status %d, want an upgrade", resp.Status)
		}
		_, _, err := p.Receive(t.Context())
		if e, ok := errors.AsType[*hub.CloseError](err); !ok || e.Code != wire.CloseServiceRestart && e.Code != wire.CloseAbnormal {
			t.Errorf("the client that came too late: got %v, want to be closed for the restart", err)
		}
		if err := errors.Join(<-ran, <-down); err != nil {
			t.Errorf("Run and Shutdown: got %v, want nil", err)
		}
		if s := h.Stats(); s.Clients != 0 || s.Channels != 0 || s.Subscriptions != 0 {
			t.Errorf("got %d clients, %d channels, %d subscriptions left; want none", s.Clients, s.Channels, s.Subscriptions)
		}
	})
}
