package wrapped

import (
	"context"
	"crypto/rand"
	"log/slog"
	"testing"

	"github.com/nats-io/nats-server/v2/server"

	"forge.lthn.ai/core/go-ws/backplane"
	"forge.lthn.ai/core/go-ws/backplane/natsbp"
	"forge.lthn.ai/core/go-ws/backplane/natsbp/tests/natstest"
	"forge.lthn.ai/core/go-ws/backplane/redisbp"
	"forge.lthn.ai/core/go-ws/backplane/redisbp/tests/redistest"
	"forge.lthn.ai/core/go-ws/backplane/tests/netfault"
	"forge.lthn.ai/core/go-ws/hub"
)

// hang is when a test gives up waiting.
const hang = natstest.Hang

// maxPayload is what the brokers here take. It is NATS's default.
const maxPayload = 1 << 20

var quiet = slog.New(slog.DiscardHandler)

// broker is a server behind a proxy, or several, and the adapter for it.
type broker struct {
	*netfault.Proxy // the first one
	proxies         []*netfault.Proxy
	joined          int
	server          string // behind the first proxy
	at              func(addr string) (hub.Backplane, error)
	key             backplane.Key // of those that encrypt
}

func newBroker(t testing.TB, server string, at func(addr string) (hub.Backplane, error), proxies ...*netfault.Proxy) *broker {
	t.Helper()
	b := &broker{Proxy: proxies[0], proxies: proxies, server: server, at: at, key: make(backplane.Key, backplane.KeySize)}
	if _, err := rand.Read(b.key); err != nil {
		t.Fatal(err)
	}
	return b
}

// join makes a member whose way to a server is the broker's proxy, one after the
// other where there are several.
func (b *broker) join(t testing.TB) hub.Backplane {
	t.Helper()
	b.joined++
	return b.through(t, b.proxies[b.joined%len(b.proxies)])
}

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

func (b *broker) away(testing.TB) {
	for _, p := range b.proxies { // at once: from one that is away they go to another
		p.RefuseNew(true)
	}
	for _, p := range b.proxies {
		p.Reset()
	}
}

func (b *broker) back(testing.TB) {
	for _, p := range b.proxies {
		p.RefuseNew(false)
	}
}

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
	at := redistest.Start(t).Addr()
	return newBroker(t, at, func(addr string) (hub.Backplane, error) {
		return redisbp.New(redisbp.Config{
			URL: "redis://" + addr, MaxPayload: maxPayload, Logger: quiet,
		})
	}, natstest.Proxy(t, at))
}

func onNATS(addr string) (hub.Backplane, error) {
	return natsbp.New(natsbp.Config{URL: natstest.URL(addr), Logger: quiet})
}

func startNATS(t testing.TB) *broker {
	t.Helper()
	at := natstest.Addr(natstest.Start(t, server.Options{}))
	return newBroker(t, at, onNATS, natstest.Proxy(t, at))
}

// startNATSCluster gives each member another node of three.
func startNATSCluster(t testing.TB) *broker {
	t.Helper()
	nodes := natstest.StartCluster(t, nil).Nodes
	var proxies []*netfault.Proxy
	for _, n := range nodes {
		proxies = append(proxies, n.Proxy)
	}
	return newBroker(t, natstest.Addr(nodes[0].Server), onNATS, proxies...)
}

// onEach runs a test on each broker.
func onEach(t *testing.T, test func(t *testing.T, b *broker)) {
	for name, start := range map[string]func(testing.TB) *broker{"Redis": startRedis, "NATS": startNATS} {
		t.Run(name, func(t *testing.T) { test(t, start(t)) })
	}
}

func within() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), hang)
}
