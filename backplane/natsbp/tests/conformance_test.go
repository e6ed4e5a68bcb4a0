package tests

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"forge.lthn.ai/core/go-ws/backplane/natsbp"
	"forge.lthn.ai/core/go-ws/backplane/tests/netfault"
	"forge.lthn.ai/core/go-ws/hub"
	"forge.lthn.ai/core/go-ws/hub/hubtest"
)

// brokerGoroutine tells the embedded servers' and the proxies' goroutines from
// the adapter's.
func brokerGoroutine(stack string) bool {
	return strings.Contains(stack, "nats-server/") || strings.Contains(stack, "/netfault.")
}

// mustNew makes a backplane whose probes are quick.
func mustNew(t testing.TB, cfg natsbp.Config) *natsbp.Backplane {
	t.Helper()
	if cfg.ProbeInterval == 0 {
		cfg.ProbeInterval, cfg.ProbeTimeout = 200*time.Millisecond, 2*time.Second
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	b, err := natsbp.New(cfg)
	if err != nil {
		t.Fatalf("New: got %v, want nil", err)
	}
	return b
}

// TestConformance runs the port's suite once for each way in which a server can
// go away.
func TestConformance(t *testing.T) {
	for name, way := range map[string]func(testing.TB) hubtest.BackplaneHarness{
		"OneServerStopped": stoppedServer,
		"OneServerCut":     func(t testing.TB) hubtest.BackplaneHarness { return behindProxy(t, refuse) },
		"OneServerFrozen":  func(t testing.TB) hubtest.BackplaneHarness { return behindProxy(t, freeze(netfault.Swallow)) },
		"OneServerHeld":    func(t testing.TB) hubtest.BackplaneHarness { return behindProxy(t, freeze(netfault.Hold)) },
		"Cluster":          threeServers,
	} {
		t.Run(name, func(t *testing.T) { hubtest.TestBackplane(t, way(t)) })
	}
}

// features of every deployment here: NATS's default max_payload.
var features = hubtest.BackplaneFeatures{MaxPayload: 1 << 20, PartialSubscribe: true}

// The access list of every deployment here forbids each second one of the topics
// that the suite asks for.
const forbidding = "hub:secret@"

func withForbidden(o server.Options) server.Options {
	var deny []string
	for i := 0; i < 64; i += 2 {
		deny = append(deny, fmt.Sprint("ws.c:some-", i))
	}
	o.Users = restricted(deny...)
	return o
}

func failSome(_ testing.TB, topics []hub.Topic) (failed []hub.Topic) {
	for i := 0; i < len(topics); i += 2 {
		failed = append(failed, topics[i])
	}
	return failed
}

// stoppedServer breaks by stopping the server, and heals by starting it again on
// the same port.
func stoppedServer(t testing.TB) hubtest.BackplaneHarness {
	s := startServer(t, withForbidden(server.Options{}))
	at, on := address(s), port(s)
	return hubtest.BackplaneHarness{
		New:      func(t testing.TB) hub.Backplane { return mustNew(t, natsbp.Config{URL: urlOf(forbidding + at)}) },
		Break:    func(testing.TB) { stopServer(s) },
		Heal:     func(testing.TB) { s = startServer(t, withForbidden(server.Options{Port: on})) },
		FailSome: failSome,
		FailNone: func(t testing.TB) {
			o := &server.Options{Host: "127.0.0.1", Port: on, NoLog: true, NoSigs: true, Users: restricted("ws.c:nothing")}
			if err := s.ReloadOptions(o); err != nil {
				t.Fatalf("reloading the server: %v", err)
			}
		},
		Features:       features,
		OtherGoroutine: brokerGoroutine,
	}
}

// fault breaks a proxy and mends it.
type fault struct{ on, off func(*netfault.Proxy) }

var refuse = fault{
	on:  func(p *netfault.Proxy) { p.RefuseNew(true); p.Reset() },
	off: func(p *netfault.Proxy) { p.RefuseNew(false) },
}

func freeze(m netfault.Mode) fault {
	return fault{on: func(p *netfault.Proxy) { p.Freeze(m) }, off: (*netfault.Proxy).Thaw}
}

func behindProxy(t testing.TB, f fault) hubtest.BackplaneHarness {
	return behind(startProxy(t, address(startServer(t, withForbidden(server.Options{})))), f)
}

func behind(p *netfault.Proxy, f fault) hubtest.BackplaneHarness {
	return hubtest.BackplaneHarness{
		New: func(t testing.TB) hub.Backplane {
			return mustNew(t, natsbp.Config{URL: urlOf(forbidding + p.Addr())})
		},
		Break:          func(testing.TB) { f.on(p) },
		Heal:           func(testing.TB) { f.off(p) },
		FailSome:       failSome,
		Features:       features,
		OtherGoroutine: brokerGoroutine,
	}
}

// threeServers gives each member another server; the client learns the others.
func threeServers(t testing.TB) hubtest.BackplaneHarness {
	nodes := startCluster(t, withForbidden)
	members := 0
	each := func(do func(*netfault.Proxy)) func(testing.TB) {
		return func(testing.TB) {
			for _, n := range nodes {
				do(n.proxy)
			}
		}
	}
	cluster := features
	cluster.EventualInterest = true
	return hubtest.BackplaneHarness{
		New: func(t testing.TB) hub.Backplane {
			members++
			return mustNew(t, natsbp.Config{URL: urlOf(forbidding + nodes[members%len(nodes)].proxy.Addr())})
		},
		Break:          each(refuse.on),
		Heal:           each(refuse.off),
		FailSome:       failSome,
		Features:       cluster,
		OtherGoroutine: brokerGoroutine,
	}
}
