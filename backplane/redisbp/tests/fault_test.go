package tests

import (
	"fmt"
	"testing"
	"time"

	"forge.lthn.ai/core/go-ws/backplane/redisbp"
	"forge.lthn.ai/core/go-ws/backplane/redisbp/tests/redistest"
	"forge.lthn.ai/core/go-ws/backplane/tests/netfault"
	"forge.lthn.ai/core/go-ws/backplane/tests/traffic"
)

// fleet publishes and listens on bare backplanes, which show what comes twice.
func fleet(t *testing.T, cfg redisbp.Config) *traffic.Run {
	t.Helper()
	return fleetOf(t, cfg, traffic.Config{Bare: true, Channels: 8})
}

func fleetOf(t *testing.T, cfg redisbp.Config, tc traffic.Config) *traffic.Run {
	t.Helper()
	if cfg.ProbeInterval == 0 {
		cfg.ProbeInterval = time.Second
	}
	cfg.Logger = quiet
	tc.New = members(cfg)
	return traffic.Start(t, tc)
}

// disrupted waits until each member has been told of a loss since the start.
func disrupted(run *traffic.Run) {
	run.Until("Disrupted at each member", func() bool {
		for _, m := range run.Members() {
			if down, _ := m.Signals(); down == 0 {
				return false
			}
		}
		return true
	})
}

// finish checks a run in whose span something was lost, or failed, and in which
// each member had as many words of all's being well as it needed.
func finish(t *testing.T, run *traffic.Run, span string) {
	t.Helper()
	report := run.Stop()
	report.Check()
	lost, failed := len(traffic.In(span, report.Lost)), len(traffic.In(span, report.Failed))
	if lost+failed == 0 {
		t.Errorf("%s: got nothing lost and nothing failed, want some: the fault has not bitten", span)
	}
	last := map[int]error{}
	for _, s := range report.Signals {
		last[s.Member] = s.Disrupted
		t.Logf("member %d at %v: %v", s.Member, s.At.Round(time.Millisecond), s.Disrupted)
	}
	for member, err := range last {
		if err != nil {
			t.Errorf("member %d: got Disrupted(%v) as the last word, want Restored", member, err)
		}
	}
	t.Logf("%s: %d lost, %d failed", span, lost, failed)
}

func TestAServerThatIsKilledAndRestarted(t *testing.T) {
	server := redistest.Start(t)
	run := fleet(t, redisbp.Config{URL: "redis://" + server.Addr()})
	span := run.Begin("killed")
	server.Kill()
	disrupted(run)
	server.Restart()
	t.Logf("flows again after %v", span.End())
	finish(t, run, "killed")
}

func TestConnectionsThatAreReset(t *testing.T) {
	proxy := proxyTo(t, redistest.Start(t).Addr())
	run := fleet(t, redisbp.Config{URL: "redis://" + proxy.Addr()})
	span := run.Begin("reset")
	proxy.RefuseNew(true)
	if n := proxy.Reset(); n == 0 {
		t.Error("got no connection reset, want some")
	}
	disrupted(run)
	proxy.RefuseNew(false)
	t.Logf("flows again after %v", span.End())
	finish(t, run, "reset")
}

func TestANetworkThatFallsSilent(t *testing.T) {
	proxy := proxyTo(t, redistest.Start(t).Addr())
	run := fleet(t, redisbp.Config{URL: "redis://" + proxy.Addr()})
	span := run.Begin("silent")
	proxy.Freeze(netfault.Swallow)
	disrupted(run)
	proxy.Thaw()
	t.Logf("flows again after %v", span.End())
	finish(t, run, "silent")
}

// What was on its way when the server froze is executed when it goes on.
func TestAServerThatFreezesAndGoesOn(t *testing.T) {
	server := redistest.Start(t)
	run := fleet(t, redisbp.Config{URL: "redis://" + server.Addr()})
	span := run.Begin("frozen")
	server.Freeze()
	disrupted(run)
	server.Thaw()
	t.Logf("flows again after %v", span.End())
	finish(t, run, "frozen")
}

func TestASlowNetworkLosesNothing(t *testing.T) {
	proxy := proxyTo(t, redistest.Start(t).Addr())
	run := fleet(t, redisbp.Config{URL: "redis://" + proxy.Addr(), ProbeInterval: 3 * time.Second})
	proxy.Delay(50 * time.Millisecond)
	for range 5 {
		t.Logf("flows in %v", run.Flow())
	}
	proxy.Delay(0)
	report := run.Stop()
	report.Check()
	if len(report.Signals) != 2 {
		t.Errorf("signals: got %v, want each member's first Restored alone", report.Signals)
	}
}

func TestSentinelsReplaceAMasterThatIsKilled(t *testing.T) {
	set := redistest.StartSentinels(t, 2, 3, time.Second)
	run := fleet(t, redisbp.Config{URL: set.URL()})
	span := run.Begin("failover")
	old := set.Master()
	old.Kill()
	disrupted(run)
	t.Logf("flows again after %v", span.End())
	if set.Master() == old {
		t.Error("got the same master, want another one")
	}
	old.Restart() // as a replica: nobody may go back to it
	run.Flow()
	finish(t, run, "failover")
}

// The old master wakes up and takes itself for the master still, until a
// Sentinel tells it.
func TestSentinelsReplaceAMasterThatFreezes(t *testing.T) {
	set := redistest.StartSentinels(t, 2, 3, time.Second)
	run := fleet(t, redisbp.Config{URL: set.URL()})
	span := run.Begin("failover")
	old := set.Master()
	old.Freeze()
	disrupted(run)
	for end := time.Now().Add(hang); set.Master() == old; {
		if time.Now().After(end) {
			t.Fatalf("got the same master after %v, want another one", hang)
		}
	}
	old.Thaw()
	t.Logf("flows again after %v", span.End())
	finish(t, run, "failover")
}

func TestAClustersMasterIsKilled(t *testing.T) {
	cluster := redistest.StartCluster(t, 3, 1, time.Second)
	run := fleet(t, redisbp.Config{URL: cluster.URL()})
	span := run.Begin("failover")
	old := cluster.Nodes[0]
	old.Kill()
	disrupted(run)
	t.Logf("flows again after %v", span.End())
	old.Restart()
	run.Flow()
	finish(t, run, "failover")
}

// What was on its way to the master when it froze it hands to its successor when
// it wakes up: publications whose outcome was not known arrive late.
func TestAClustersMasterFreezes(t *testing.T) {
	cluster := redistest.StartCluster(t, 3, 1, time.Second)
	run := fleetOf(t, redisbp.Config{URL: cluster.URL()}, traffic.Config{Bare: true, Channels: 8, LateAfterError: true})
	span := run.Begin("failover")
	cluster.Nodes[1].Freeze()
	disrupted(run)
	t.Logf("flows again after %v", span.End())
	cluster.Nodes[1].Thaw()
	run.Flow()
	finish(t, run, "failover")
}

// Channels wander from node to node while everybody publishes.
func TestSlotsOfAClusterMove(t *testing.T) {
	cluster := redistest.StartCluster(t, 3, 0, time.Second)
	run := fleet(t, redisbp.Config{URL: cluster.URL(), Partitions: 16})
	span := run.Begin("migration")
	for i := range 16 {
		key := fmt.Sprintf("{p%d}", i)
		for _, to := range cluster.Nodes {
			if to != cluster.Owner(key) {
				cluster.Migrate(key, to)
				break
			}
		}
	}
	disrupted(run)
	t.Logf("flows again after %v", span.End())
	finish(t, run, "migration")
}

// Hubs, not bare backplanes, on each kind of deployment.
func TestHubsGoOnAfterAFailover(t *testing.T) {
	cluster := redistest.StartCluster(t, 3, 1, time.Second)
	run := fleetOf(t, redisbp.Config{URL: cluster.URL()}, traffic.Config{Channels: 8})
	span := run.Begin("failover")
	cluster.Owner("{p1}").Kill()
	t.Logf("flows again after %v", span.End())
	run.Stop().Check()
}
