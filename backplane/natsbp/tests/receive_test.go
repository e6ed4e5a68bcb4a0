package tests

import (
	"fmt"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"forge.lthn.ai/core/go-ws/backplane/natsbp"
)

// The hub is stuck. What does not fit is dropped and counted, each one, and the
// hub hears of it; once it is quick again it is told that all is well.
func TestWhatAHubCannotTakeIsDroppedAndCounted(t *testing.T) {
	s := startServer(t, server.Options{})
	for name, cfg := range map[string]natsbp.Config{
		"messages": {PendingMessages: 100},
		"bytes":    {PendingBytes: 100 * (1000 + 256 + len("ws.c:flood"))},
	} {
		t.Run(name, func(t *testing.T) {
			cfg.URL, cfg.Prefix = urlOf(address(s)), "ws"
			sub := newMember(t, cfg)
			sub.block = make(chan struct{})
			sub.start()
			sub.join("c:flood")
			pub := connected(t, natsbp.Config{URL: urlOf(address(s))})
			const many = 1000
			for i := range many {
				pub.publish("c:flood", fmt.Sprintf("%01000d", i))
			}
			sub.await("Disrupted", func(m *member) bool { return m.disrupted > 0 })
			eventually(t, "900 dropped, or one less that Deliver has", func() bool { return sub.Stats().Dropped >= many-101 })
			if said := strings.Join(sub.said(), "; "); !strings.Contains(said, "dropped") {
				t.Errorf("signals: got %s, want one that speaks of drops", said)
			}
			close(sub.block)
			sub.await("Restored", func(m *member) bool { return m.signals[len(m.signals)-1] == "Restored" })
			pub.publish("c:flood", "end")
			sub.arrives("c:flood", "end")
			delivered, dropped := len(sub.got("c:flood"))-1, sub.Stats().Dropped
			if uint64(delivered)+dropped != many {
				t.Errorf("delivered and dropped: got %d and %d, want %d together", delivered, dropped, many)
			}
			t.Logf("%d delivered, %d dropped", delivered, dropped)
		})
	}
}

// The server answers every PING and delivers nothing: only something that must
// come back finds that out.
func TestASubscriptionThatIsSilentlyDeadIsFoundAndMended(t *testing.T) {
	s := startServer(t, server.Options{})
	tap := &tap{}
	sub := connected(t, natsbp.Config{URL: urlOf(address(s)), Options: []nats.Option{tap.option()}})
	pub := connected(t, natsbp.Config{URL: urlOf(address(s))})
	sub.join("c:x")
	tap.mute.Store(true)
	pub.publish("c:x", "lost")
	sub.await("Disrupted", func(m *member) bool { return m.disrupted > 0 })
	tap.mute.Store(false)
	sub.await("Restored again", func(m *member) bool { return m.restored > 1 })
	pub.publish("c:x", "end")
	sub.arrives("c:x", "end")
	if tap.swallowed.Load() == 0 || tap.conns.Load() < 2 {
		t.Errorf("got %d deliveries swallowed and %d connections, want some and two", tap.swallowed.Load(), tap.conns.Load())
	}
}
