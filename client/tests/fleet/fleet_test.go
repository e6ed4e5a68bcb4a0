package fleet

import (
	"context"
	"encoding/json"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"go.uber.org/goleak"

	"forge.lthn.ai/core/go-ws/backplane"
	"forge.lthn.ai/core/go-ws/backplane/natsbp"
	"forge.lthn.ai/core/go-ws/backplane/redisbp"
	"forge.lthn.ai/core/go-ws/backplane/redisbp/tests/redistest"
	"forge.lthn.ai/core/go-ws/backplane/tests/netfault"
	"forge.lthn.ai/core/go-ws/client"
	"forge.lthn.ai/core/go-ws/hub"
	"forge.lthn.ai/core/go-ws/hub/wire"
	"forge.lthn.ai/core/go-ws/transport"
)

// hang bounds every wait for something that must come.
const hang = 60 * time.Second

var quiet = slog.New(slog.DiscardHandler)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction(redistest.Afterlife))
}

// brokers make the members of one fleet.
var brokers = map[string]func(t *testing.T) func() (hub.Backplane, error){
	"memory": func(*testing.T) func() (hub.Backplane, error) {
		bus := backplane.NewMemory(backplane.MemoryConfig{})
		return func() (hub.Backplane, error) { return bus.Join(), nil }
	},
	"redis": func(t *testing.T) func() (hub.Backplane, error) {
		url := "redis://" + redistest.Start(t).Addr()
		return func() (hub.Backplane, error) { return redisbp.New(redisbp.Config{URL: url, Logger: quiet}) }
	},
	"nats": func(t *testing.T) func() (hub.Backplane, error) {
		s, err := natsserver.NewServer(&natsserver.Options{Host: "127.0.0.1", Port: natsserver.RANDOM_PORT, NoLog: true, NoSigs: true})
		if err != nil {
			t.Fatal(err)
		}
		s.Start()
		if !s.ReadyForConnections(hang) {
			t.Fatal("nats-server: not ready for connections")
		}
		t.Cleanup(func() {
			s.Shutdown()
			s.WaitForShutdown()
		})
		url := "nats://" + s.Addr().String()
		return func() (hub.Backplane, error) { return natsbp.New(natsbp.Config{URL: url, Logger: quiet}) }
	},
}

// member is a hub behind an HTTP server.
type member struct {
	*hub.Hub
	addr string
	stop func()
}

func serve(t *testing.T, join func() (hub.Backplane, error)) *member {
	t.Helper()
	bp, err := join()
	if err != nil {
		t.Fatal(err)
	}
	sockets, err := transport.New(transport.Config{})
	if err != nil {
		t.Fatal(err)
	}
	h, err := hub.New(hub.Config{Transport: sockets, Backplane: bp, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
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
	m := &member{Hub: h, addr: listener.Addr().String()}
	m.stop = sync.OnceFunc(func() {
		cancel()
		_ = web.Close()
		ran.Wait()
	})
	t.Cleanup(m.stop)
	select {
	case <-h.Started():
	case <-time.After(hang):
		t.Fatal("the hub does not start")
	}
	return m
}

// follower is a client on the channel news.
type follower struct {
	*client.ReconnectingClient
	t  *testing.T
	in chan client.Delivery
}

func follow(t *testing.T, addr string) *follower {
	t.Helper()
	f := &follower{t: t, in: make(chan client.Delivery, 100_000)}
	var err error
	f.ReconnectingClient, err = client.New(client.ReconnectConfig{
		URL: "ws://" + addr + "/ws", Logger: quiet, InitialBackoff: 10 * time.Millisecond, MaxBackoff: 200 * time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = f.Close()
		_ = f.Wait(context.Background())
	})
	if err := f.Subscribe("news", func(_ context.Context, d client.Delivery) { f.in <- d }); err != nil {
		t.Fatal(err)
	}
	if err := f.Connect(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.live()
	return f
}

func (f *follower) next() client.Delivery {
	f.t.Helper()
	select {
	case d := <-f.in:
		return d
	case <-time.After(hang):
		f.t.Fatal("waited in vain for a delivery")
		return client.Delivery{}
	}
}

// live waits until a hub says that the client hears all hubs.
func (f *follower) live() {
	f.t.Helper()
	for {
		if d := f.next(); d.Type == wire.TypeSubscribed && !d.Local {
			return
		}
	}
}

// text waits for the next message, and leaves out what is none.
func (f *follower) text() string {
	f.t.Helper()
	for {
		d := f.next()
		if d.Type != wire.TypeEvent {
			continue
		}
		var text string
		if err := json.Unmarshal(d.Data, &text); err != nil {
			f.t.Fatal(err)
		}
		return text
	}
}

func publish(t *testing.T, m *member, text string) {
	t.Helper()
	if _, err := m.SendToChannel(t.Context(), "news", hub.Message{Data: text}); err != nil {
		t.Errorf("publishing: %v", err)
	}
}

// TestClientsMoveBetweenHubsBehindABalancer has a balancer send clients to another
// hub, and takes hubs away, until each has been everywhere. What is published at
// any hub reaches all clients that are on the channel, once.
func TestClientsMoveBetweenHubsBehindABalancer(t *testing.T) {
	for name, broker := range brokers {
		t.Run(name, func(t *testing.T) {
			join := broker(t)
			hubs := []*member{serve(t, join), serve(t, join)}
			balancer, err := netfault.Listen(hubs[0].addr)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { balancer.Close() })
			moving, staying := follow(t, balancer.Addr()), follow(t, hubs[1].addr)
			want := func(from *member, text string) {
				t.Helper()
				publish(t, from, text)
				for _, f := range []*follower{moving, staying} {
					if got := f.text(); got != text {
						t.Errorf("got %q, want %q", got, text)
					}
				}
			}
			want(hubs[0], "at the first hub")
			want(hubs[1], "at the second hub")

			balancer.SetTarget(hubs[1].addr)
			balancer.Cut()
			moving.live()
			want(hubs[0], "moved, from the first")
			want(hubs[1], "moved, from the second")

			balancer.SetTarget(hubs[0].addr)
			balancer.Cut()
			moving.live()
			want(hubs[1], "back again")

			// A deploy: the first hub tells its clients to come back, and is replaced.
			next := serve(t, join)
			balancer.SetTarget(next.addr)
			hubs[0].stop()
			moving.live()
			want(next, "at the third hub")
			want(hubs[1], "at the second hub, to the third")
		})
	}
}
