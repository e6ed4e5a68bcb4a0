package wrapped

import (
	"testing"
	"time"

	"forge.lthn.ai/core/go-ws/backplane/tests/netfault"
	"forge.lthn.ai/core/go-ws/backplane/tests/traffic"
	"forge.lthn.ai/core/go-ws/hub"
)

// Three hubs move from Redis to NATS, one after the other, while all of them
// publish, and back again. No client loses a message, gets one twice or out of
// order. Each step is over when no connection to the broker that it leaves is
// there any more, and none is missing to the other.
func TestAFleetMovesFromRedisToNATSUnderLoadAndLosesNothing(t *testing.T) {
	redis, nats := startRedis(t), startNATS(t)
	onRedis := func() hub.Backplane { return redis.join(t) }
	onNATS := func() hub.Backplane { return nats.encrypted(t) }
	onBoth := func() hub.Backplane { return dual(t, onRedis(), onNATS()) }
	backToRedis := func() hub.Backplane { return dual(t, onNATS(), onRedis()) }

	run := traffic.Start(t, traffic.Config{
		New: func(testing.TB) hub.Backplane { return onRedis() },
		// A publish that waits for a core is no failure.
		Members: 3, Pace: 4 * time.Millisecond, Padding: 200, PublishTimeout: hang,
	})
	for _, step := range []struct {
		name        string
		next        func() hub.Backplane
		redis, nats bool // who carries the fleet afterwards
	}{
		{"from Redis to both", onBoth, true, true},
		{"from both to NATS", onNATS, false, true},
		{"from NATS to both", backToRedis, true, true},
		{"from both to Redis", onRedis, true, false},
	} {
		run.Replace(step.next)
		carries(t, run, step.name+": Redis", redis, step.redis)
		carries(t, run, step.name+": NATS", nats, step.nats)
	}
	for _, member := range run.Members() {
		member.CheckHub()
	}
	report := run.Stop()
	report.Check()
	if lost, failed := len(report.Lost), len(report.Failed); lost+failed > 0 {
		t.Errorf("with no outage: got %d lost and %d failed, want none", lost, failed)
	}
	if report.Published < 100 {
		t.Errorf("got %d published, want a fleet at work", report.Published)
	}
}

// carries shows by the bytes that pass whether a broker has the fleet.
func carries(t *testing.T, run *traffic.Run, what string, b *broker, want bool) {
	t.Helper()
	ctx, cancel := within()
	defer cancel()
	if !want {
		// The members that left have closed their connections.
		if err := b.Wait(ctx, func(s netfault.Stats) bool { return s.Open == 0 }); err != nil {
			t.Fatalf("%s: got %d connections, want none: %v", what, b.Stats().Open, err)
		}
		return
	}
	const flow = 20 << 10 // more than probes and announcements take meanwhile
	before := b.Stats()
	if err := b.Wait(ctx, func(s netfault.Stats) bool { return s.Up > before.Up+flow && s.Down > before.Down+flow }); err != nil {
		t.Fatalf("%s: got no traffic, want the fleet's: %v", what, err)
	}
	run.Flow()
	s := b.Stats()
	t.Logf("%s: %d connections, %d KiB up, %d KiB down", what, s.Open, (s.Up-before.Up)>>10, (s.Down-before.Down)>>10)
}
