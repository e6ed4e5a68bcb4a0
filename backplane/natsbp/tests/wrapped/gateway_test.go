package wrapped

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"forge.lthn.ai/core/go-ws/backplane/natsbp/tests/natstest"
	"forge.lthn.ai/core/go-ws/hub"
	"forge.lthn.ai/core/go-ws/hub/hubtest"
	"forge.lthn.ai/core/go-ws/hub/wire"
)

// gateway is one process's worth of a program: a hub and its clients.
type gateway struct {
	*hub.Hub
	t         testing.TB
	transport *hubtest.Transport
	stop      func() // ends it and waits
}

// startGateway runs one until the test ends, and returns when it is ready.
func startGateway(t testing.TB, bp hub.Backplane) *gateway {
	t.Helper()
	g := &gateway{t: t, transport: hubtest.NewTransport()}
	h, err := hub.New(hub.Config{
		Transport: g.transport, Backplane: bp, Logger: quiet, DrainSpread: -1,
		Authenticator: hub.AuthenticatorFunc(func(r *http.Request) hub.AuthResult {
			return hub.AuthResult{Valid: true, UserID: r.URL.Query().Get("user")}
		}),
	})
	if err != nil {
		t.Fatalf("hub.New: got %v, want nil", err)
	}
	g.Hub = h
	ctx, cancel := context.WithCancel(context.Background())
	var ran sync.WaitGroup
	ran.Go(func() {
		if err := h.Run(ctx); err != nil {
			t.Errorf("hub.Run: got %v, want nil", err)
		}
	})
	g.stop = func() { cancel(); ran.Wait() }
	t.Cleanup(g.stop)
	natstest.Eventually(t, "a hub that is ready", h.Ready)
	return g
}

// client is a client's side of a connection, and what came there.
type client struct {
	*hubtest.Peer
	t    testing.TB
	id   string
	name string

	mu      sync.Mutex
	changed chan struct{} // closed and replaced at every change
	got     map[string]int
	acks    int
	end     error
}

// dial connects a client of a user and puts it on channels.
func (g *gateway) dial(user string, channels ...string) *client {
	g.t.Helper()
	known := make(map[string]bool)
	for c := range g.Clients() {
		known[c.ID()] = true
	}
	peer, answer := g.transport.Dial(g.Handler(), httptest.NewRequest(http.MethodGet, "/ws?user="+user, nil))
	if peer == nil {
		g.t.Fatalf("connecting to a hub: got %d, want an upgrade", answer.Status)
	}
	c := &client{Peer: peer, t: g.t, name: user, changed: make(chan struct{}), got: make(map[string]int)}
	natstest.Eventually(g.t, "the client at its hub", func() error {
		for other := range g.Clients() {
			if !known[other.ID()] {
				c.id = other.ID()
				return nil
			}
		}
		return fmt.Errorf("it is not there")
	})
	var reading sync.WaitGroup
	reading.Go(c.read)
	g.t.Cleanup(func() { peer.Cut(); reading.Wait() })
	for _, channel := range channels {
		if err := peer.SendText(fmt.Sprintf(`{"type":"subscribe","data":%q}`, channel)); err != nil {
			g.t.Fatal(err)
		}
	}
	c.await("its subscriptions", func() bool { return c.acks == len(channels) })
	return c
}

func (c *client) read() {
	for {
		_, payload, err := c.Receive(context.Background())
		c.mu.Lock()
		var f wire.Frame
		if err == nil {
			f, err = wire.ParseFrame(payload)
		}
		var text string
		switch {
		case err != nil:
			c.end = err
		case f.Type == wire.TypeSubscribed && len(f.Data) == 0:
			c.acks++
		case f.Type == wire.TypeEvent && json.Unmarshal(f.Data, &text) == nil:
			c.got[text]++
		default:
			c.got["strange: "+string(payload)]++
		}
		close(c.changed)
		c.changed = make(chan struct{})
		c.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// await waits until the condition holds, which is called with c locked.
func (c *client) await(what string, condition func() bool) {
	c.t.Helper()
	timeout := time.NewTimer(hang)
	defer timeout.Stop()
	for {
		c.mu.Lock()
		ok, changed := condition(), c.changed
		state := fmt.Sprintf("%v, end %v", c.got, c.end)
		c.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-changed:
		case <-timeout.C:
			c.t.Fatalf("a client of %s: got %s after %v, want %s", c.name, state, hang, what)
		}
	}
}

func (c *client) hears(text string) {
	c.t.Helper()
	c.await(fmt.Sprintf("%q", text), func() bool { return c.got[text] > 0 })
}

// all is how often each text came.
func (c *client) all() map[string]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := make(map[string]int)
	for text, n := range c.got {
		all[text] = n
	}
	return all
}

// countPatience is how long a count waits for answers. Where some will be missing
// it is waited out.
const countPatience = 2 * time.Second

// wantCount tries until a count over all hubs is as wanted.
func wantCount(t testing.TB, what string, count func(context.Context) (hub.Count, error), want hub.Count) {
	t.Helper()
	natstest.Eventually(t, what, func() error {
		ctx, cancel := context.WithTimeout(context.Background(), countPatience)
		defer cancel()
		got, err := count(ctx)
		if err == nil && got != want {
			err = fmt.Errorf("%+v, not %+v", got, want)
		}
		return err
	})
}
