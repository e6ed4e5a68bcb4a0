package wrapped

import (
	"context"
	"crypto/rand"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"forge.lthn.ai/core/go-ws/backplane"
	"forge.lthn.ai/core/go-ws/backplane/natsbp"
	"forge.lthn.ai/core/go-ws/backplane/redisbp"
	"forge.lthn.ai/core/go-ws/backplane/redisbp/tests/redistest"
	"forge.lthn.ai/core/go-ws/backplane/tests/netfault"
	"forge.lthn.ai/core/go-ws/hub"
)

// hang is when a test gives up waiting.
const hang = time.Minute

// maxPayload is what the brokers here take. It is NATS's default.
const maxPayload = 1 << 20

var quiet = slog.New(slog.DiscardHandler)

// broker is a server behind a proxy, and the adapter for it.
type broker struct {
	*netfault.Proxy
	server string
	at     func(addr string) (hub.Backplane, error)
	key    backplane.Key // of those that encrypt
}

func newBroker(t testing.TB, server string, at func(addr string) (hub.Backplane, error)) *broker {
	t.Helper()
	b := &broker{Proxy: startProxy(t, server), server: server, at: at, key: make(backplane.Key, backplane.KeySize)}
	if _, err := rand.Read(b.key); err != nil {
		t.Fatal(err)
	}
	return b
}

// join makes a member whose way to the server is the broker's proxy.
func (b *broker) join(t testing.TB) hub.Backplane { return b.through(t, b.Proxy) }

// through makes a member whose way is a proxy of its own.
func (b *broker) through(t testing.TB, p *netfault.Proxy) hub.Backplane {
	t.Helper()
	bp, err := b.at(p.Addr())
	if err != nil {
		t.Fatalf("New: got %v, want nil", err)
	}
	return bp
}

// encrypted makes a member that encrypts.
func (b *broker) encrypted(t testing.TB) hub.Backplane {
	t.Helper()
	e, err := backplane.NewEncrypted(b.join(t), backplane.EncryptedConfig{
		Keys: []backplane.Key{b.key}, Logger: quiet,
	})
	if err != nil {
		t.Fatalf("NewEncrypted: got %v, want nil", err)
	}
	return e
}

func (b *broker) away(testing.TB) { b.RefuseNew(true); b.Reset() }
func (b *broker) back(testing.TB) { b.RefuseNew(false) }

func dual(t testing.TB, from, to hub.Backplane) hub.Backplane {
	t.Helper()
	d, err := backplane.NewDual(backplane.DualConfig{From: from, To: to})
	if err != nil {
		t.Fatalf("NewDual: got %v, want nil", err)
	}
	return d
}

func startRedis(t testing.TB) *broker {
	t.Helper()
	return newBroker(t, redistest.Start(t).Addr(), func(addr string) (hub.Backplane, error) {
		return redisbp.New(redisbp.Config{
			URL: "redis://" + addr, MaxPayload: maxPayload, ProbeInterval: time.Second, Logger: quiet,
		})
	})
}

func startNATS(t testing.TB) *broker {
	t.Helper()
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, NoLog: true, NoSigs: true})
	if err != nil {
		t.Fatalf("nats-server: %v", err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(hang) {
		t.Fatal("nats-server: not ready for connections")
	}
	return newBroker(t, s.Addr().String(), func(addr string) (hub.Backplane, error) {
		return natsbp.New(natsbp.Config{URL: "nats://" + addr, ProbeInterval: time.Second, Logger: quiet})
	})
}

// onEach runs a test on each broker.
func onEach(t *testing.T, test func(t *testing.T, b *broker)) {
	for name, start := range map[string]func(testing.TB) *broker{"Redis": startRedis, "NATS": startNATS} {
		t.Run(name, func(t *testing.T) { test(t, start(t)) })
	}
}

// startProxy stands before an address until the test ends.
func startProxy(t testing.TB, target string) *netfault.Proxy {
	t.Helper()
	p, err := netfault.Listen(target)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Errorf("closing the proxy: %v", err)
		}
	})
	return p
}

// brokerGoroutine tells the embedded server's and the proxies' goroutines from
// the adapters'.
func brokerGoroutine(stack string) bool {
	return strings.Contains(stack, "nats-server/") || strings.Contains(stack, "/netfault.")
}

func within() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), hang)
}
