package tests

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"forge.lthn.ai/core/go-ws/backplane/redisbp"
	"forge.lthn.ai/core/go-ws/backplane/redisbp/tests/redistest"
	"forge.lthn.ai/core/go-ws/backplane/tests/netfault"
	"forge.lthn.ai/core/go-ws/backplane/tests/traffic"
	"forge.lthn.ai/core/go-ws/hub"
	"forge.lthn.ai/core/go-ws/hub/wire"
)

// fleet is traffic on bare backplanes, which show what comes twice.
type fleet struct {
	*traffic.Run
	t *testing.T

	// late are publications that may come late, or twice; nil: none.
	late func(traffic.Event) bool

	mu     sync.Mutex
	last   map[*watched]error // the last word of each
	failed int                // publishes
}

// What decides that a server is dead, and a publish late, leaves room for
// a machine that is busy.
const (
	deadAfter = 2 * time.Second
	lateAfter = 20 * time.Second
)

func newFleet(t *testing.T, cfg redisbp.Config) *fleet {
	t.Helper()
	return newFleetOf(t, cfg, traffic.Config{Bare: true, Channels: 8})
}

func newFleetOf(t *testing.T, cfg redisbp.Config, tc traffic.Config) *fleet {
	t.Helper()
	if cfg.ProbeInterval == 0 {
		cfg.ProbeInterval = deadAfter
	}
	if tc.PublishTimeout == 0 {
		tc.PublishTimeout = lateAfter
	}
	f := &fleet{t: t, last: make(map[*watched]error)}
	newMember := members(cfg)
	tc.New = func(t testing.TB) hub.Backplane { return &watched{Backplane: newMember(t), fleet: f} }
	f.Run = traffic.Start(t, tc)
	return f
}

// watched is a backplane whose words a fleet hears.
type watched struct {
	hub.Backplane
	hub.BackplaneReceiver
	fleet *fleet
}

func (w *watched) Start(ctx context.Context, r hub.BackplaneReceiver) error {
	w.BackplaneReceiver = r
	return w.Backplane.Start(ctx, w)
}

func (w *watched) Disrupted(err error) { w.say(err); w.BackplaneReceiver.Disrupted(err) }
func (w *watched) Restored()           { w.say(nil); w.BackplaneReceiver.Restored() }

func (w *watched) Publish(ctx context.Context, p hub.Publication) (hub.Published, error) {
	published, err := w.Backplane.Publish(ctx, p)
	if err != nil {
		w.fleet.mu.Lock()
		defer w.fleet.mu.Unlock()
		w.fleet.failed++
	}
	return published, err
}

func (w *watched) say(err error) {
	w.fleet.mu.Lock()
	defer w.fleet.mu.Unlock()
	w.fleet.last[w] = err
}

// Begin begins a span. Failures count from here on.
func (f *fleet) Begin(name string) *traffic.Span {
	span := f.Run.Begin(name)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.failed = 0
	return span
}

// disrupted waits until each member has been told of a loss.
func (f *fleet) disrupted() {
	f.t.Helper()
	f.Until("Disrupted at each member", func() bool {
		for _, m := range f.Members() {
			if down, _ := m.Signals(); down == 0 {
				return false
			}
		}
		return true
	})
}

// bitten waits until each member has been told of a loss and some publish has
// failed.
func (f *fleet) bitten() {
	f.t.Helper()
	f.disrupted()
	f.Until("a publish that fails", func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		return f.failed > 0
	})
}

// restored waits until the last word of each member is that all is well.
func (f *fleet) restored() {
	f.t.Helper()
	f.Until("Restored at each member", func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		for _, err := range f.last {
			if err != nil {
				return false
			}
		}
		return true
	})
}

// finish checks a run in whose span something was lost, or failed, and which
// ends well.
func (f *fleet) finish(span string) {
	f.t.Helper()
	report := f.settle()
	lost, failed := len(traffic.In(span, report.Lost)), len(traffic.In(span, report.Failed))
	if lost+failed == 0 {
		f.t.Errorf("%s: got nothing lost and nothing failed, want some: the fault has not bitten", span)
	}
	f.t.Logf("%s: %d lost, %d failed", span, lost, failed)
}

// settle stops a run when all is well, and checks it.
func (f *fleet) settle() *traffic.Report {
	f.t.Helper()
	f.restored()
	report := f.Stop()
	if f.late != nil {
		report.Reordered = slices.DeleteFunc(report.Reordered, f.late)
		report.Doubled = slices.DeleteFunc(report.Doubled, f.late)
	}
	report.Check()
	for _, s := range report.Signals {
		f.t.Logf("member %d at %v: %v", s.Member, s.At.Round(time.Millisecond), s.Disrupted)
	}
	return report
}

func TestAServerThatIsKilledAndRestarted(t *testing.T) {
	server := redistest.Start(t)
	run := newFleet(t, redisbp.Config{URL: "redis://" + server.Addr()})
	span := run.Begin("killed")
	server.Kill()
	run.bitten()
	server.Restart()
	t.Logf("flows again after %v", span.End())
	run.finish("killed")
}

func TestConnectionsThatAreReset(t *testing.T) {
	proxy := proxyTo(t, redistest.Start(t).Addr())
	run := newFleet(t, redisbp.Config{URL: "redis://" + proxy.Addr()})
	span := run.Begin("reset")
	proxy.RefuseNew(true)
	if n := proxy.Reset(); n == 0 {
		t.Error("got no connection reset, want some")
	}
	run.bitten()
	proxy.RefuseNew(false)
	t.Logf("flows again after %v", span.End())
	run.finish("reset")
}

func TestANetworkThatFallsSilent(t *testing.T) {
	proxy := proxyTo(t, redistest.Start(t).Addr())
	run := newFleet(t, redisbp.Config{URL: "redis://" + proxy.Addr()})
	span := run.Begin("silent")
	proxy.Freeze(netfault.Swallow)
	run.bitten()
	proxy.Thaw()
	t.Logf("flows again after %v", span.End())
	run.finish("silent")
}

// What was on its way when the server froze is executed when it goes on.
func TestAServerThatFreezesAndGoesOn(t *testing.T) {
	server := redistest.Start(t)
	run := newFleet(t, redisbp.Config{URL: "redis://" + server.Addr()})
	span := run.Begin("frozen")
	server.Freeze()
	run.bitten()
	server.Thaw()
	t.Logf("flows again after %v", span.End())
	run.finish("frozen")
}

func TestASlowNetworkLosesNothing(t *testing.T) {
	proxy := proxyTo(t, redistest.Start(t).Addr())
	run := newFleet(t, redisbp.Config{URL: "redis://" + proxy.Addr(), ProbeInterval: hang})
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
	set := redistest.StartSentinels(t, 2, 3, deadAfter)
	run := newFleet(t, redisbp.Config{URL: set.URL()})
	span := run.Begin("failover")
	old := set.Master()
	old.Kill()
	run.bitten()
	t.Logf("flows again after %v", span.End())
	replaced(t, set, old)
	old.Restart() // as a replica: nobody may go back to it
	run.Flow()
	run.finish("failover")
}

// replaced waits until the Sentinel that set asks knows another master.
func replaced(t *testing.T, set *redistest.SentinelSet, old *redistest.Server) {
	t.Helper()
	for end := time.Now().Add(hang); set.Master() == old; {
		if time.Now().After(end) {
			t.Fatalf("got the same master after %v, want another one", hang)
		}
	}
}

// The old master wakes up and takes itself for the master still, until a
// Sentinel tells it.
func TestSentinelsReplaceAMasterThatFreezes(t *testing.T) {
	set := redistest.StartSentinels(t, 2, 3, deadAfter)
	run := newFleet(t, redisbp.Config{URL: set.URL()})
	span := run.Begin("failover")
	old := set.Master()
	old.Freeze()
	run.bitten()
	replaced(t, set, old)
	old.Thaw()
	t.Logf("flows again after %v", span.End())
	run.finish("failover")
}

// busy is the master that serves the first channel of the traffic.
func busy(cluster *redistest.Cluster) *redistest.Server {
	return cluster.Owner(fmt.Sprintf("{p%d}", fnv1a(hub.Topic(wire.ChannelTopic("traffic-0")))%128))
}

func TestAClustersMasterIsKilled(t *testing.T) {
	cluster := redistest.StartCluster(t, 3, 1, deadAfter)
	run := newFleet(t, redisbp.Config{URL: cluster.URL()})
	span := run.Begin("failover")
	old := busy(cluster)
	old.Kill()
	run.bitten()
	t.Logf("flows again after %v", span.End())
	old.Restart()
	run.Flow()
	run.finish("failover")
}

// With ordinary pub/sub all of a hub's messages pass one master of the Cluster.
func TestAClusterWithoutShardingLosesItsMaster(t *testing.T) {
	cluster := redistest.StartCluster(t, 3, 1, deadAfter)
	run := newFleet(t, redisbp.Config{URL: cluster.URL(), NoSharding: true})
	span := run.Begin("failover")
	old := cluster.Owner("ws:")
	old.Kill()
	run.bitten()
	t.Logf("flows again after %v", span.End())
	old.Restart()
	run.Flow()
	run.finish("failover")
}

// What was on its way when the master froze it hands to its successor when it wakes
// up. So these come late, also those that it had acknowledged a moment before, and
// may come twice.
func TestAClustersMasterFreezes(t *testing.T) {
	cluster := redistest.StartCluster(t, 3, 1, deadAfter)
	began := time.Now()
	run := newFleet(t, redisbp.Config{URL: cluster.URL()})
	span := run.Begin("failover")
	old := busy(cluster)
	old.Freeze()
	frozen := time.Since(began)
	run.late = func(e traffic.Event) bool { return e.Err != nil || e.Began <= frozen }
	run.bitten()
	t.Logf("flows again after %v", run.Flow())
	old.Thaw()
	// Until it knows better it takes publications that nobody hears.
	client := old.Client()
	run.Until("the old master to be a replica", func() bool {
		role, err := client.Do(t.Context(), "role").Slice()
		return err == nil && role[0] == "slave"
	})
	span.End()
	run.finish("failover")
}

// Channels wander from node to node while everybody publishes. What comes before
// the subscriptions have followed is lost. A publish waits for the new node, and
// where that takes too long it says that nothing was published.
func TestSlotsOfAClusterMove(t *testing.T) {
	cluster := redistest.StartCluster(t, 3, 0, 2*hang)
	run := newFleetOf(t, redisbp.Config{URL: cluster.URL(), Partitions: 16}, traffic.Config{Bare: true, Channels: 8})
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
	run.disrupted()
	t.Logf("flows again after %v", span.End())
	report := run.settle()
	t.Logf("%d failed", len(report.Failed))
	for _, e := range report.Failed {
		if !errors.Is(e.Err, hub.ErrUnavailable) {
			t.Errorf("a publish while slots move: got %v, want nil or %v: a node that has not the slot any more did nothing",
				e, hub.ErrUnavailable)
		}
	}
}

// Hubs, not bare backplanes, on each kind of deployment.
func TestHubsGoOnAfterAFailover(t *testing.T) {
	cluster := redistest.StartCluster(t, 3, 1, deadAfter)
	run := newFleetOf(t, redisbp.Config{URL: cluster.URL()}, traffic.Config{Channels: 8})
	span := run.Begin("failover")
	busy(cluster).Kill()
	t.Logf("flows again after %v", span.End())
	run.Stop().Check()
}
