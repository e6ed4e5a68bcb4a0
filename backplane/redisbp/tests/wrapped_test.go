package tests

import (
	"crypto/rand"
	"slices"
	"testing"
	"time"

	"forge.lthn.ai/core/go-ws/backplane"
	"forge.lthn.ai/core/go-ws/backplane/redisbp"
	"forge.lthn.ai/core/go-ws/backplane/redisbp/tests/redistest"
	"forge.lthn.ai/core/go-ws/backplane/tests/traffic"
	"forge.lthn.ai/core/go-ws/hub"
	"forge.lthn.ai/core/go-ws/hub/hubtest"
)

// maker makes members of a deployment.
type maker func(testing.TB) hub.Backplane

// encrypted makes members that encrypt, all with one key.
func encrypted(t testing.TB, inner maker) maker {
	key := make(backplane.Key, backplane.KeySize)
	if _, err := rand.Read(key); err != nil {
		t.Fatal(err)
	}
	return func(t testing.TB) hub.Backplane {
		t.Helper()
		e, err := backplane.NewEncrypted(inner(t), backplane.EncryptedConfig{Keys: []backplane.Key{key}, Logger: quiet})
		if err != nil {
			t.Fatalf("NewEncrypted: got %v, want nil", err)
		}
		return e
	}
}

// dual makes members of both.
func dual(from, to maker) maker {
	return func(t testing.TB) hub.Backplane {
		t.Helper()
		d, err := backplane.NewDual(backplane.DualConfig{From: from(t), To: to(t)})
		if err != nil {
			t.Fatalf("NewDual: got %v, want nil", err)
		}
		return d
	}
}

func onCluster(c *redistest.Cluster) maker {
	return members(redisbp.Config{URL: c.URL(), ProbeInterval: time.Second})
}

func TestConformanceOfEncryptedOnACluster(t *testing.T) {
	cluster := redistest.StartCluster(t, 3, 0, 2*hang)
	hubtest.TestBackplane(t, withRights(hubtest.BackplaneHarness{
		New:   encrypted(t, onCluster(cluster)),
		Break: func(testing.TB) { cluster.Freeze() },
		Heal:  func(testing.TB) { cluster.Thaw() },
	}, cluster.Nodes...))
}

// From a server in plain to a Cluster that sees nothing. An outage of either is an
// outage.
func TestConformanceOfDualWhenTheServerGoesAway(t *testing.T) {
	server, cluster := redistest.Start(t), redistest.StartCluster(t, 3, 0, 2*hang)
	hubtest.TestBackplane(t, withRights(hubtest.BackplaneHarness{
		New:   dual(members(redisbp.Config{URL: "redis://" + server.Addr()}), encrypted(t, onCluster(cluster))),
		Break: func(testing.TB) { server.Kill() },
		Heal:  func(testing.TB) { server.Restart() },
	}, server))
}

func TestConformanceOfDualWhenTheClusterGoesAway(t *testing.T) {
	server, cluster := redistest.Start(t), redistest.StartCluster(t, 3, 0, 2*hang)
	hubtest.TestBackplane(t, withRights(hubtest.BackplaneHarness{
		New:   dual(members(redisbp.Config{URL: "redis://" + server.Addr()}), encrypted(t, onCluster(cluster))),
		Break: func(testing.TB) { cluster.Freeze() },
		Heal:  func(testing.TB) { cluster.Thaw() },
	}, cluster.Nodes...))
}

// Both sides may be one server.
func TestConformanceOfDualOnOneServer(t *testing.T) {
	server := redistest.Start(t)
	proxy := proxyTo(t, server.Addr())
	url := "redis://" + proxy.Addr()
	hubtest.TestBackplane(t, withRights(hubtest.BackplaneHarness{
		New:   dual(members(redisbp.Config{URL: url, Prefix: "old"}), encrypted(t, members(redisbp.Config{URL: url, Prefix: "ws"}))),
		Break: func(testing.TB) { proxy.RefuseNew(true); proxy.Reset() },
		Heal:  func(testing.TB) { proxy.RefuseNew(false) },
	}, server))
}

// A broker dies while the fleet is between the two, some hubs on one alone and
// some on both. What is published meanwhile is lost or fails, nothing comes twice
// or out of order; when the broker is back the fleet goes on and moves.
func TestABrokerThatDiesInTheMiddleOfAMove(t *testing.T) {
	for _, c := range []struct {
		name  string
		first int // the step in which it dies: a third of the fleet has not made it yet
		dies  func(from, to *redistest.Server) *redistest.Server
	}{
		{"the old one, hubs still on it alone", 0, func(from, _ *redistest.Server) *redistest.Server { return from }},
		{"the new one, hubs still on the old one alone", 0, func(_, to *redistest.Server) *redistest.Server { return to }},
		{"the old one, hubs on the new one alone", 1, func(from, _ *redistest.Server) *redistest.Server { return from }},
		{"the new one, hubs on it alone", 1, func(_, to *redistest.Server) *redistest.Server { return to }},
	} {
		t.Run(c.name, func(t *testing.T) {
			from, to := redistest.Start(t), redistest.Start(t)
			onFrom := members(redisbp.Config{URL: "redis://" + from.Addr(), ProbeInterval: deadAfter})
			onTo := encrypted(t, members(redisbp.Config{URL: "redis://" + to.Addr(), ProbeInterval: deadAfter}))
			steps := []maker{onFrom, dual(onFrom, onTo), onTo}
			run := traffic.Start(t, traffic.Config{
				New: steps[c.first], Members: 3, Pace: 4 * time.Millisecond, PublishTimeout: lateAfter,
			})
			for _, old := range run.Members()[:2] {
				run.Join(steps[c.first+1](t))
				run.Leave(old)
			}
			span := run.Begin("outage")
			server := c.dies(from, to)
			server.Kill()
			run.Until("hubs that know, and publishes that fail", func() bool {
				for _, m := range run.Members() {
					if s := m.Hub().Stats().Backplane; !s.Healthy && s.PublishErrors > 0 {
						return true
					}
				}
				return false
			})
			server.Restart()
			// Much flows without the broker that was away. Publishing to both needs it.
			run.Until("hubs that are well", func() bool {
				return !slices.ContainsFunc(run.Members(), func(m *traffic.Member) bool { return !m.Hub().Stats().Backplane.Healthy })
			})
			t.Logf("flows again after %v", span.End())
			for _, next := range steps[c.first+1:] {
				for _, old := range run.Members() {
					run.Join(next(t))
					run.Leave(old)
				}
			}
			for _, m := range run.Members() {
				if s := m.Hub().Stats().Backplane; s.Duplicates != 0 || s.Malformed != 0 {
					t.Errorf("hub %d: got %+v, want no duplicates", m.ID(), s)
				}
			}
			report := run.Stop()
			report.Check()
			t.Logf("%d failed, %d lost", len(report.Failed), len(report.Lost))
		})
	}
}
