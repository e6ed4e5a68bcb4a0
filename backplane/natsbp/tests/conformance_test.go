package tests

import (
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"forge.lthn.ai/core/go-ws/backplane/natsbp"
	"forge.lthn.ai/core/go-ws/backplane/natsbp/tests/natstest"
	"forge.lthn.ai/core/go-ws/backplane/tests/netfault"
	"forge.lthn.ai/core/go-ws/hub"
	"forge.lthn.ai/core/go-ws/hub/hubtest"
)

// silence is the ProbeTimeout of tests in which a connection falls silent.
const silence = 2 * time.Second

// mustNew makes a backplane that probes often. Unless the test is about silence no
// probe is given up, however slow the machine is.
func mustNew(t testing.TB, cfg natsbp.Config) *natsbp.Backplane {
	t.Helper()
	if cfg.ProbeInterval == 0 {
		cfg.ProbeInterval = 200 * time.Millisecond
	}
	if cfg.ProbeTimeout == 0 {
		cfg.ProbeTimeout = natstest.Hang
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
	s := natstest.Start(t, withForbidden(server.Options{}))
	at, on := natstest.Addr(s), natstest.Port(s)
	return hubtest.BackplaneHarness{
		New:      func(t testing.TB) hub.Backplane { return mustNew(t, natsbp.Config{URL: natstest.URL(forbidding + at)}) },
		Break:    func(testing.TB) { natstest.Stop(s) },
		Heal:     func(testing.TB) { s = natstest.Start(t, withForbidden(server.Options{Port: on})) },
		FailSome: failSome,
		FailNone: func(t testing.TB) {
			o := &server.Options{Host: "127.0.0.1", Port: on, NoLog: true, NoSigs: true, Users: restricted("ws.c:nothing")}
			if err := s.ReloadOptions(o); err != nil {
				t.Fatalf("reloading the server: %v", err)
			}
		},
		Features:       features,
		OtherGoroutine: natstest.Goroutine,
	}
}

// fault breaks a proxy and mends it.
type fault struct {
	on, off func(*netfault.Proxy)
	silence time.Duration // the ProbeTimeout, where nothing else finds the fault
}

var refuse = fault{
	on:  func(p *netfault.Proxy) { p.RefuseNew(true); p.Reset() },
	off: func(p *netfault.Proxy) { p.RefuseNew(false) },
}

func freeze(m netfault.Mode) fault {
	return fault{on: func(p *netfault.Proxy) { p.Freeze(m) }, off: (*netfault.Proxy).Thaw, silence: silence}
}

func behindProxy(t testing.TB, f fault) hubtest.BackplaneHarness {
	return behind(natstest.Proxy(t, natstest.Addr(natstest.Start(t, withForbidden(server.Options{})))), f)
}

func behind(p *netfault.Proxy, f fault) hubtest.BackplaneHarness {
	return hubtest.BackplaneHarness{
		New: func(t testing.TB) hub.Backplane {
			return mustNew(t, natsbp.Config{URL: natstest.URL(forbidding + p.Addr()), ProbeTimeout: f.silence})
		},
		Break:          func(testing.TB) { f.on(p) },
		Heal:           func(testing.TB) { f.off(p) },
		FailSome:       failSome,
		Features:       features,
		OtherGoroutine: natstest.Goroutine,
	}
}

// threeServers gives each member another server; the client learns the others.
func threeServers(t testing.TB) hubtest.BackplaneHarness {
	nodes := natstest.StartCluster(t, withForbidden).Nodes
	members := 0
	each := func(do func(*netfault.Proxy)) func(testing.TB) {
		return func(testing.TB) {
			for _, n := range nodes {
				do(n.Proxy)
			}
		}
	}
	cluster := features
	cluster.EventualInterest = true
	return hubtest.BackplaneHarness{
		New: func(t testing.TB) hub.Backplane {
			members++
			return mustNew(t, natsbp.Config{URL: natstest.URL(forbidding + nodes[members%len(nodes)].Proxy.Addr())})
		},
		Break:          each(refuse.on),
		Heal:           each(refuse.off),
		FailSome:       failSome,
		Features:       cluster,
		OtherGoroutine: natstest.Goroutine,
	}
}
