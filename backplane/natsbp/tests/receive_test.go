package tests

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"forge.lthn.ai/core/go-ws/backplane/natsbp"
	"forge.lthn.ai/core/go-ws/backplane/natsbp/tests/natstest"
)

// The hub is stuck. What does not fit is dropped and counted, each one, and the
// hub hears of it; once it is quick again it is told that all is well.
func TestWhatAHubCannotTakeIsDroppedAndCounted(t *testing.T) {
	s := natstest.Start(t, server.Options{})
	for name, cfg := range map[string]natsbp.Config{
		"messages": {PendingMessages: 100},
		"bytes":    {PendingBytes: 100 * (1000 + 256 + len("ws.c:flood"))},
	} {
		t.Run(name, func(t *testing.T) {
			cfg.URL, cfg.Prefix = natstest.URL(natstest.Addr(s)), "ws"
			sub := newMember(t, cfg)
			sub.block = make(chan struct{})
			sub.start()
			sub.join("c:flood")
			pub := connected(t, natsbp.Config{URL: natstest.URL(natstest.Addr(s))})
			const many = 1000
			for i := range many {
				pub.publish("c:flood", fmt.Sprintf("%01000d", i))
			}
			sub.await("Disrupted", func(m *member) bool { return m.disrupted > 0 })
			natstest.Eventually(t, "900 dropped, or one less that Deliver has", func() error {
				if got := sub.Stats().Dropped; got < many-101 {
					return fmt.Errorf("%d", got)
				}
				return nil
			})
			if said := strings.Join(sub.said(), "; "); !strings.Contains(said, "dropped") {
				t.Errorf("signals: got %s, want one that speaks of drops", said)
			}
			close(sub.block)
			sub.await("Restored", func(m *member) bool { return m.signals[len(m.signals)-1] == "Restored" })
			pub.publish("c:flood", "end")
			sub.arrives("c:flood", "end")
			delivered := len(sub.got("c:flood")) - 1
			sub.accounts(delivered, many)
		})
	}
}

// accounts waits until what was not delivered is counted as dropped.
func (m *member) accounts(delivered, published int) {
	m.t.Helper()
	natstest.Eventually(m.t, fmt.Sprintf("%d delivered and dropped together", published), func() error {
		dropped := m.Stats().Dropped
		if uint64(delivered)+dropped != uint64(published) {
			return fmt.Errorf("%d delivered and %d dropped", delivered, dropped)
		}
		m.t.Logf("%d delivered, %d dropped", delivered, dropped)
		return nil
	})
}

// The client itself has no room for what comes in, and throws it away: each one is
// counted all the same, and the hub hears of it.
func TestWhatTheClientThrowsAwayIsCountedAndReported(t *testing.T) {
	at := natstest.Addr(natstest.Start(t, server.Options{}))
	var slow atomic.Int64
	nc := connect(t, at, nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
		if errors.Is(err, nats.ErrSlowConsumer) {
			slow.Add(1)
		}
	}))
	// The one place in the client must not be a probe's.
	sub := connected(t, natsbp.Config{Conn: nc, PendingMessages: 1, ProbeInterval: -1})
	sub.join("c:flood")
	program := connect(t, at)
	published := 0
	natstest.Eventually(t, "a burst that the client has no room for", func() error {
		for range 10_000 {
			if err := program.Publish("ws.c:flood", []byte("x")); err != nil {
				t.Fatal(err)
			}
			published++
		}
		if err := program.FlushTimeout(natstest.Hang); err != nil {
			t.Fatal(err)
		}
		// The server has handed out what was before.
		sub.publish("c:nobody", "x")
		if slow.Load() == 0 {
			return errors.New("none")
		}
		return nil
	})
	sub.await("Disrupted", func(m *member) bool { return m.disrupted > 0 })
	if said := strings.Join(sub.said(), "; "); !strings.Contains(said, "dropped") {
		t.Errorf("signals: got %s, want one that speaks of drops", said)
	}
	natstest.Eventually(t, "that each is accounted for", func() error {
		if delivered, dropped := len(sub.got("c:flood")), sub.Stats().Dropped; uint64(delivered)+dropped != uint64(published) {
			return fmt.Errorf("%d delivered and %d dropped of %d", delivered, dropped, published)
		}
		return nil
	})
	sub.await("Restored", func(m *member) bool { return m.signals[len(m.signals)-1] == "Restored" })
	t.Logf("%d delivered, %d dropped", len(sub.got("c:flood")), sub.Stats().Dropped)
}

// The server answers every PING and delivers nothing: only something that must
// come back finds that out.
func TestASubscriptionThatIsSilentlyDeadIsFoundAndMended(t *testing.T) {
	s := natstest.Start(t, server.Options{})
	tap := &tap{}
	sub := connected(t, natsbp.Config{URL: natstest.URL(natstest.Addr(s)), ProbeTimeout: silence, Options: []nats.Option{tap.option()}})
	pub := connected(t, natsbp.Config{URL: natstest.URL(natstest.Addr(s))})
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
