package tests

import (
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"forge.lthn.ai/core/go-ws/backplane/natsbp"
	"forge.lthn.ai/core/go-ws/backplane/natsbp/tests/natstest"
	"forge.lthn.ai/core/go-ws/backplane/tests/netfault"
	"forge.lthn.ai/core/go-ws/backplane/tests/traffic"
	"forge.lthn.ai/core/go-ws/hub"
)

// busy runs bare members, so that what comes twice is seen.
// address names each one's server, silence is the ProbeTimeout.
func busy(t *testing.T, silence time.Duration, address func(member int) string) *traffic.Run {
	t.Helper()
	members := 0
	return traffic.Start(t, traffic.Config{
		Bare:    true,
		Members: 3,
		New: func(t testing.TB) hub.Backplane {
			b := mustNew(t, natsbp.Config{URL: natstest.URL(address(members)), ProbeTimeout: silence})
			members++
			return b
		},
		// A freeze that holds what was sent lets go of it later.
		LateAfterError: true,
		// A publish that waits for a core is no failure; the connection's end ends it.
		PublishTimeout: natstest.Hang,
	})
}

// bitten waits until every member has heard of the fault.
func bitten(r *traffic.Run, times int) {
	r.Until("every member Disrupted", func() bool {
		for _, m := range r.Members() {
			if disrupted, _ := m.Signals(); disrupted < times {
				return false
			}
		}
		return true
	})
}

func TestARestartedServerLosesOnlyWhatWasPublishedMeanwhile(t *testing.T) {
	s := natstest.Start(t, server.Options{})
	at, on := natstest.Addr(s), natstest.Port(s)
	run := busy(t, natstest.Hang, func(int) string { return at })
	for round := range 3 {
		away := run.Begin("server restarted")
		natstest.Stop(s)
		bitten(run, round+1)
		s = natstest.Start(t, server.Options{Port: on})
		t.Logf("everything flowed again %v after the server was back", away.End())
	}
	report := run.Stop()
	report.Check()
	if len(report.Failed) == 0 {
		t.Error("publishes that failed while the server was away: got none, so the fault has not bitten")
	}
}

func TestABrokenConnectionLosesOnlyWhatWasPublishedMeanwhile(t *testing.T) {
	for name, f := range map[string]fault{
		"Cut":     {on: func(p *netfault.Proxy) { p.Cut() }, off: func(*netfault.Proxy) {}},
		"Reset":   {on: func(p *netfault.Proxy) { p.Reset() }, off: func(*netfault.Proxy) {}},
		"Refused": refuse,
		"Frozen":  freeze(netfault.Swallow),
		"Held":    freeze(netfault.Hold),
	} {
		t.Run(name, func(t *testing.T) {
			p := natstest.Proxy(t, natstest.Addr(natstest.Start(t, server.Options{})))
			run := busy(t, f.silence, func(int) string { return p.Addr() })
			for round := range 2 {
				away := run.Begin(name)
				f.on(p)
				start := time.Now()
				bitten(run, round+1)
				t.Logf("noticed by all after %v", time.Since(start))
				f.off(p)
				t.Logf("everything flowed again after another %v", away.End())
			}
			run.Stop().Check()
		})
	}
}

// A connection that is slow, but well, is left alone.
func TestASlowConnectionLosesNothing(t *testing.T) {
	p := natstest.Proxy(t, natstest.Addr(natstest.Start(t, server.Options{})))
	run := busy(t, natstest.Hang, func(int) string { return p.Addr() })
	p.Delay(100 * time.Millisecond)
	run.Flow()
	run.Flow()
	p.Delay(0)
	report := run.Stop()
	report.Check()
	for _, s := range report.Signals {
		if s.Disrupted != nil {
			t.Errorf("signal on a slow connection: got Disrupted(%v), want none", s.Disrupted)
		}
	}
}

// onCluster runs hubs, each on another node, since what is under way between the
// servers may come by both.
func onCluster(t *testing.T) (*natstest.Cluster, *traffic.Run, []*natsbp.Backplane) {
	t.Helper()
	cluster := natstest.StartCluster(t, nil)
	var all []*natsbp.Backplane
	run := traffic.Start(t, traffic.Config{
		Members: len(cluster.Nodes),
		New: func(t testing.TB) hub.Backplane {
			b := mustNew(t, natsbp.Config{URL: natstest.URL(cluster.Nodes[len(all)].Proxy.Addr())})
			all = append(all, b)
			return b
		},
		PublishTimeout: natstest.Hang,
	})
	return cluster, run, all
}

// Those on the node that stops go to another; the others notice nothing.
func TestAStoppedNodeOfAClusterIsLeftForAnother(t *testing.T) {
	cluster, run, all := onCluster(t)
	away := run.Begin("node stopped")
	natstest.Stop(cluster.Nodes[0].Server)
	run.Until("the member of the stopped node on another", func() bool {
		s := all[0].Stats()
		return s.Connected && s.Server != "node-0"
	})
	t.Logf("everything flowed again after %v", away.End())
	for i, b := range all[1:] {
		if got := b.Stats(); got.Sessions != 1 || got.Server != fmt.Sprintf("node-%d", i+1) {
			t.Errorf("member %d, on another node: got %+v, want its first session", i+1, got)
		}
	}
	run.Stop().Check()
}

// All nodes are stopped and started again, one after the other, as for a new
// version of the server: somebody is on each of them.
func TestARollingRestartOfAClusterLosesOnlyWhatMoves(t *testing.T) {
	cluster, run, all := onCluster(t)
	for i, n := range cluster.Nodes {
		name := n.Name()
		before := all[i].Stats()
		if before.Server != name || before.Sessions != 1 {
			t.Fatalf("before %s is stopped: got %+v, want member %d there since the start", name, before, i)
		}
		away := run.Begin(name + " restarted")
		natstest.Stop(n.Server)
		run.Until("everybody on another node", func() bool {
			for _, b := range all {
				if s := b.Stats(); !s.Connected || s.Server == name {
					return false
				}
			}
			return true
		})
		cluster.Restart(i)
		t.Logf("%s: everything flowed again after %v", name, away.End())
	}
	run.Stop().Check()
}

// Closing waits for nothing that only a silent server could end.
func TestCloseIsPromptWhileTheServerIsSilent(t *testing.T) {
	p := natstest.Proxy(t, natstest.Addr(natstest.Start(t, server.Options{})))
	silent := connected(t, natsbp.Config{URL: natstest.URL(p.Addr()), ProbeInterval: -1})
	p.Freeze(netfault.Swallow)
	away := newMember(t, natsbp.Config{URL: natstest.URL(p.Addr())})
	away.start()
	for name, m := range map[string]*member{"connected": silent, "never connected": away} {
		start := time.Now()
		if err := m.Close(); err != nil {
			t.Errorf("%s: Close: got %v, want nil", name, err)
		}
		t.Logf("%s: closed after %v", name, time.Since(start))
	}
}
