package tests

import (
	"strings"
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
	server := redistest.Start(t)
	proxy := proxyTo(t, server.Addr())
	hubtest.TestBackplane(t, withRights(hubtest.BackplaneHarness{
		New:      members(redisbp.Config{URL: "redis://" + proxy.Addr(), MaxPayload: maxPayload}),
		Break:    func(testing.TB) { proxy.RefuseNew(true); proxy.Reset() },
		Heal:     func(testing.TB) { proxy.RefuseNew(false) },
		Features: hubtest.BackplaneFeatures{MaxPayload: maxPayload},
	}, server))
}

func TestConformanceWhenTheNetworkFallsSilent(t *testing.T) {
	server := redistest.Start(t)
	proxy := proxyTo(t, server.Addr())
	hubtest.TestBackplane(t, withRights(hubtest.BackplaneHarness{
		New:   members(redisbp.Config{URL: "redis://" + proxy.Addr(), ProbeInterval: time.Second}),
		Break: func(testing.TB) { proxy.Freeze(netfault.Swallow) },
		Heal:  func(testing.TB) { proxy.Thaw() },
	}, server))
}

func TestConformanceWhenTheServerIsKilled(t *testing.T) {
	server := redistest.Start(t)
	hubtest.TestBackplane(t, withRights(hubtest.BackplaneHarness{
		New:   members(redisbp.Config{URL: "redis://" + server.Addr()}),
		Break: func(testing.TB) { server.Kill() },
		Heal:  func(testing.TB) { server.Restart() },
	}, server))
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

// withRights lets the servers' access lists forbid some of the topics that the
// suite asks for.
func withRights(h hubtest.BackplaneHarness, servers ...*redistest.Server) hubtest.BackplaneHarness {
	set := func(t testing.TB, rules []any) {
		t.Helper()
		for _, s := range servers {
			if err := s.Client().Do(t.Context(), append([]any{"acl", "setuser", "default"}, rules...)...).Err(); err != nil {
				t.Fatalf("rights: %v", err)
			}
		}
	}
	h.Features.PartialSubscribe = true
	h.FailSome = func(t testing.TB, topics []hub.Topic) (failed []hub.Topic) {
		rules := []any{"resetchannels", "&*:$probe:*"}
		for i, topic := range topics {
			if i%3 == 1 {
				failed = append(failed, topic)
			} else {
				rules = append(rules, "&*:"+string(topic))
			}
		}
		set(t, rules)
		return failed
	}
	h.FailNone = func(t testing.TB) { set(t, []any{"allchannels"}) }
	h.OtherGoroutine = func(stack string) bool { return strings.Contains(stack, "/netfault.") }
	return h
}

// The Sentinels are slow here, so that the master comes back before it is
// replaced: the suite says when the broker is away.
func TestConformanceBehindSentinels(t *testing.T) {
	set := redistest.StartSentinels(t, 1, 3, 2*hang)
	hubtest.TestBackplane(t, withRights(hubtest.BackplaneHarness{
		New:   members(redisbp.Config{URL: set.URL()}),
		Break: func(testing.TB) { set.Servers[0].Kill() },
		Heal:  func(testing.TB) { set.Servers[0].Restart() },
	}, set.Servers...))
}

func TestConformanceOnACluster(t *testing.T) {
	cluster := redistest.StartCluster(t, 3, 1, 2*hang)
	hubtest.TestBackplane(t, withRights(hubtest.BackplaneHarness{
		New:   members(redisbp.Config{URL: cluster.URL(), ProbeInterval: time.Second}),
		Break: func(testing.TB) { cluster.Freeze() },
		Heal:  func(testing.TB) { cluster.Thaw() },
	}, cluster.Nodes...))
}

func TestConformanceOnAClusterWithoutSharding(t *testing.T) {
	cluster := redistest.StartCluster(t, 3, 0, 2*hang)
	hubtest.TestBackplane(t, withRights(hubtest.BackplaneHarness{
		New:   members(redisbp.Config{URL: cluster.URL(), NoSharding: true, ProbeInterval: time.Second}),
		Break: func(testing.TB) { cluster.Freeze() },
		Heal:  func(testing.TB) { cluster.Thaw() },
	}, cluster.Nodes...))
}
