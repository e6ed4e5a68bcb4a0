package tests

import (
	"context"
	"encoding/json"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"forge.lthn.ai/core/go-ws/backplane/tests/netfault"
	"forge.lthn.ai/core/go-ws/client"
	"forge.lthn.ai/core/go-ws/hub"
	"forge.lthn.ai/core/go-ws/hub/wire"
	"forge.lthn.ai/core/go-ws/transport"
)

// hang bounds every wait for something that must come.
const hang = 60 * time.Second

var quiet = slog.New(slog.DiscardHandler)

// server is a hub behind an HTTP server on the loopback interface.
type server struct {
	*hub.Hub
	addr string
	stop func()
}

// serve runs a hub. stop ends it, and waits; the test's end does too.
func serve(t testing.TB, cfg hub.Config) *server {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	sockets, err := transport.New(transport.Config{})
	if err != nil {
		t.Fatal(err)
	}
	cfg.Transport, cfg.Logger = sockets, quiet
	h, err := hub.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	web := &http.Server{Handler: h.Handler(), ReadHeaderTimeout: hang}
	ctx, cancel := context.WithCancel(context.Background())
	var ran sync.WaitGroup
	ran.Go(func() {
		if err := h.Run(ctx); err != nil {
			t.Errorf("Run: got %v, want nil", err)
		}
	})
	ran.Go(func() { _ = web.Serve(listener) }) // until Close
	s := &server{Hub: h, addr: listener.Addr().String()}
	s.stop = sync.OnceFunc(func() {
		cancel()
		_ = web.Close()
		ran.Wait()
	})
	t.Cleanup(s.stop)
	select {
	case <-h.Started():
	case <-time.After(hang):
		t.Fatal("the hub does not start")
	}
	return s
}

func (s *server) publish(t testing.TB, channel, text string) {
	t.Helper()
	if _, err := s.SendToChannel(t.Context(), channel, hub.Message{Data: text}); err != nil {
		t.Errorf("publishing: %v", err)
	}
}

func proxyTo(t testing.TB, addr string) *netfault.Proxy {
	t.Helper()
	p, err := netfault.Listen(addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

// user is a client, and what it was told.
type user struct {
	*client.ReconnectingClient
	t     testing.TB
	lost  chan error
	errs  chan error
	again chan int
	in    map[string]chan client.Delivery
}

// quick are delays for tests. Nothing may hang on their being kept.
func quick(addr string) client.ReconnectConfig {
	return client.ReconnectConfig{
		URL: "ws://" + addr + "/ws", InitialBackoff: 10 * time.Millisecond, MaxBackoff: 200 * time.Millisecond, Logger: quiet,
	}
}

func newUser(t testing.TB, cfg client.ReconnectConfig) *user {
	t.Helper()
	u := &user{
		t: t, lost: make(chan error, 1000), errs: make(chan error, 1000), again: make(chan int, 1000),
		in: make(map[string]chan client.Delivery),
	}
	offer := func(to chan error) func(error) {
		return func(err error) {
			select {
			case to <- err:
			default:
			}
		}
	}
	cfg.OnDisconnect, cfg.OnError = offer(u.lost), offer(u.errs)
	cfg.OnReconnect = func(n int) { u.again <- n }
	c, err := client.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	u.ReconnectingClient = c
	t.Cleanup(func() {
		_ = c.Close()
		ctx, cancel := context.WithTimeout(context.Background(), hang)
		defer cancel()
		if err := c.Wait(ctx); ctx.Err() != nil {
			t.Errorf("Wait: got %v, want the client's end", err)
		}
	})
	return u
}

// connected is a client that is connected.
func connected(t testing.TB, cfg client.ReconnectConfig) *user {
	t.Helper()
	u := newUser(t, cfg)
	u.connect()
	return u
}

func (u *user) connect() {
	u.t.Helper()
	ctx, cancel := context.WithTimeout(u.t.Context(), hang)
	defer cancel()
	if err := u.Connect(ctx); err != nil {
		u.t.Fatalf("Connect: %v", err)
	}
}

// join subscribes, and returns when the client is on the channel.
func (u *user) join(channel string) {
	u.t.Helper()
	in := make(chan client.Delivery, 100_000)
	u.in[channel] = in
	if err := u.Subscribe(channel, func(_ context.Context, d client.Delivery) { in <- d }); err != nil {
		u.t.Fatalf("Subscribe: %v", err)
	}
	u.live(channel)
}

// live waits until the hub says that the client is on the channel, and leaves out
// what comes before.
func (u *user) live(channel string) client.Delivery {
	u.t.Helper()
	for {
		if d := u.delivery(channel); d.Type == wire.TypeSubscribed {
			return d
		}
	}
}

func (u *user) delivery(channel string) client.Delivery {
	u.t.Helper()
	return take(u.t, "a delivery on "+channel, u.in[channel])
}

// wantText waits for a message with a text, and leaves out what comes before.
func (u *user) wantText(channel, want string) {
	u.t.Helper()
	for {
		d := u.delivery(channel)
		var text string
		if d.Type == wire.TypeEvent && json.Unmarshal(d.Data, &text) == nil && text == want {
			return
		}
	}
}

// comesBack waits for a new connection.
func (u *user) comesBack() {
	u.t.Helper()
	take(u.t, "a new connection", u.again)
}

func take[T any](t testing.TB, what string, from <-chan T) T {
	t.Helper()
	timer := time.NewTimer(hang)
	defer timer.Stop()
	select {
	case v := <-from:
		return v
	case <-timer.C:
		t.Fatalf("waited in vain for %s", what)
	}
	panic("not reached")
}
