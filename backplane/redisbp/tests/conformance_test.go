package tests

import (
	"testing"
	"time"

	"forge.lthn.ai/core/go-ws/backplane/redisbp"
	"forge.lthn.ai/core/go-ws/backplane/redisbp/tests/redistest"
	"forge.lthn.ai/core/go-ws/backplane/tests/netfault"
	"forge.lthn.ai/core/go-ws/hub"
	"forge.lthn.ai/core/go-ws/hub/hubtest"
)

const maxPayload = 1 << 20

// The suite runs once for each way in which a broker goes away.

func TestConformance(t *testing.T) {
	proxy := proxyTo(t, redistest.Start(t).Addr())
	hubtest.TestBackplane(t, hubtest.BackplaneHarness{
		New:      members(redisbp.Config{URL: "redis://" + proxy.Addr(), MaxPayload: maxPayload}),
		Break:    func(testing.TB) { proxy.RefuseNew(true); proxy.Reset() },
		Heal:     func(testing.TB) { proxy.RefuseNew(false) },
		Features: hubtest.BackplaneFeatures{MaxPayload: maxPayload},
	})
}

func TestConformanceWhenTheNetworkFallsSilent(t *testing.T) {
	proxy := proxyTo(t, redistest.Start(t).Addr())
	hubtest.TestBackplane(t, hubtest.BackplaneHarness{
		New:   members(redisbp.Config{URL: "redis://" + proxy.Addr(), ProbeInterval: time.Second}),
		Break: func(testing.TB) { proxy.Freeze(netfault.Swallow) },
		Heal:  func(testing.TB) { proxy.Thaw() },
	})
}

func TestConformanceWhenTheServerIsKilled(t *testing.T) {
	server := redistest.Start(t)
	hubtest.TestBackplane(t, hubtest.BackplaneHarness{
		New:   members(redisbp.Config{URL: "redis://" + server.Addr()}),
		Break: func(testing.TB) { server.Kill() },
		Heal:  func(testing.TB) { server.Restart() },
	})
}

func members(cfg redisbp.Config) func(testing.TB) hub.Backplane {
	cfg.Logger = quiet
	return func(t testing.TB) hub.Backplane {
		b, err := redisbp.New(cfg)
		if err != nil {
			t.Fatalf("New: got %v, want nil", err)
		}
		return b
	}
}

// The Sentinels are slow here, so that the master comes back before it is
// replaced: the suite says when the broker is away.
func TestConformanceBehindSentinels(t *testing.T) {
	set := redistest.StartSentinels(t, 1, 3, 2*hang)
	hubtest.TestBackplane(t, hubtest.BackplaneHarness{
		New:   members(redisbp.Config{URL: set.URL()}),
		Break: func(testing.TB) { set.Servers[0].Kill() },
		Heal:  func(testing.TB) { set.Servers[0].Restart() },
	})
}

func TestConformanceOnACluster(t *testing.T) {
	cluster := redistest.StartCluster(t, 3, 1, 2*hang)
	hubtest.TestBackplane(t, hubtest.BackplaneHarness{
		New:   members(redisbp.Config{URL: cluster.URL(), ProbeInterval: time.Second}),
		Break: func(testing.TB) { cluster.Freeze() },
		Heal:  func(testing.TB) { cluster.Thaw() },
	})
}

func TestConformanceOnAClusterWithoutSharding(t *testing.T) {
	cluster := redistest.StartCluster(t, 3, 0, 2*hang)
	hubtest.TestBackplane(t, hubtest.BackplaneHarness{
		New:   members(redisbp.Config{URL: cluster.URL(), NoSharding: true, ProbeInterval: time.Second}),
		Break: func(testing.TB) { cluster.Freeze() },
		Heal:  func(testing.TB) { cluster.Thaw() },
	})
}
