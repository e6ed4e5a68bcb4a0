package wrapped

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync/atomic"
	"testing"

	"forge.lthn.ai/core/go-ws/backplane/natsbp/tests/natstest"
	"forge.lthn.ai/core/go-ws/hub"
	"forge.lthn.ai/core/go-ws/hub/wire"
)

// Three hubs, whose clients reach each other by every way there is. Each message
// comes once to whom it is for, and passes the broker once: no hub publishes what
// it has heard.
func TestThreeHubsAreOneSystem(t *testing.T) { onEach(t, crossing) }

func crossing(t *testing.T, b *broker) {
	tap := startTap(t, b.join(t), hub.Topic(wire.ChannelTopic("news")), wire.TopicBroadcast)
	hubs := []*gateway{startGateway(t, b.join(t)), startGateway(t, b.join(t)), startGateway(t, b.join(t))}
	ann, bob, annToo := hubs[0].dial("ann"), hubs[1].dial("bob", "news"), hubs[2].dial("ann", "news")
	clients := []*client{ann, bob, annToo}

	for _, h := range hubs {
		wantCount(t, "three hubs' clients", h.CountClients, hub.Count{Clients: 3, Answered: 3, Known: 3})
		wantCount(t, "three hubs' subscribers", func(ctx context.Context) (hub.Count, error) {
			return h.CountSubscribers(ctx, "news")
		}, hub.Count{Clients: 2, Answered: 3, Known: 3})
	}

	want := make([]map[string]int, len(clients))
	for i := range want {
		want[i] = make(map[string]int)
	}
	published := int64(0)
	for round := range 2 { // what the second one says comes after all of the first
		for from, h := range hubs {
			say := func(text string, send func(m hub.Message) (hub.Result, error), to ...int) {
				t.Helper()
				text = fmt.Sprintf("%s, from hub %d, round %d", text, from, round)
				if _, err := send(hub.Message{Data: text}); err != nil {
					t.Fatalf("%s: got %v, want nil", text, err)
				}
				for _, i := range to {
					want[i][text] = 1
				}
			}
			ctx := t.Context()
			say("to all", func(m hub.Message) (hub.Result, error) { return h.Broadcast(ctx, m) }, 0, 1, 2)
			say("to news", func(m hub.Message) (hub.Result, error) { return h.SendToChannel(ctx, "news", m) }, 1, 2)
			say("to ann", func(m hub.Message) (hub.Result, error) { return h.SendToUser(ctx, "ann", m) }, 0, 2)
			say("to bob", func(m hub.Message) (hub.Result, error) { return h.SendToUser(ctx, "bob", m) }, 1)
			for i, c := range clients {
				say(fmt.Sprint("to client ", i), func(m hub.Message) (hub.Result, error) { return h.SendToClient(ctx, c.id, m) }, i)
			}
			published += 2 // a broadcast, and one on the channel
		}
	}
	for i, c := range clients {
		for text := range want[i] {
			c.hears(text)
		}
	}
	tap.await(t, published)

	here, err := hubs[1].DisconnectUser(t.Context(), "ann", 4500, "bye")
	if err != nil || here != 0 {
		t.Fatalf("DisconnectUser from a hub that has none of them: got %d and %v, want 0 and nil", here, err)
	}
	for _, c := range []*client{ann, annToo} {
		c.await("the end", func() bool { return c.end != nil })
		if end, ok := errors.AsType[*hub.CloseError](c.end); !ok || end.Code != 4500 || end.Reason != "bye" {
			t.Errorf("disconnected by another hub: got %v, want 4500 and its reason", c.end)
		}
	}
	for _, h := range hubs {
		wantCount(t, "the one that is left", h.CountClients, hub.Count{Clients: 1, Answered: 3, Known: 3})
	}

	// By now whatever came back would have come.
	for i, c := range clients {
		if got := c.all(); !maps.Equal(got, want[i]) {
			t.Errorf("client %d: got %v, want %v", i, got, want[i])
		}
	}
	if got := tap.count.Load(); got != published {
		t.Errorf("publications at the broker: got %d, want %d: each one once", got, published)
	}
	for i, h := range hubs {
		if s := h.Stats().Backplane; s.Duplicates+s.Missed+s.Malformed+s.PublishErrors+s.Disruptions+s.Foreign+s.ControlDropped != 0 {
			t.Errorf("hub %d: got %+v, want nothing doubled, missed or failed", i, s)
		}
	}
}

// tap counts what passes the broker.
type tap struct {
	count    atomic.Int64
	restored chan struct{}
}

func startTap(t *testing.T, bp hub.Backplane, topics ...hub.Topic) *tap {
	t.Helper()
	tap := &tap{restored: make(chan struct{}, 1)}
	t.Cleanup(func() {
		if err := bp.Close(); err != nil {
			t.Errorf("Close: got %v, want nil", err)
		}
	})
	ctx, cancel := within()
	defer cancel()
	if err := bp.Start(ctx, tap); err != nil {
		t.Fatalf("Start: got %v, want nil", err)
	}
	select {
	case <-tap.restored:
	case <-ctx.Done():
		t.Fatalf("got no Restored after %v", hang)
	}
	if err := bp.Subscribe(ctx, topics...); err != nil {
		t.Fatalf("Subscribe: got %v, want nil", err)
	}
	return tap
}

func (tap *tap) Deliver(hub.Delivery) { tap.count.Add(1) }
func (tap *tap) Disrupted(error)      {}

func (tap *tap) Restored() {
	select {
	case tap.restored <- struct{}{}:
	default:
	}
}

func (tap *tap) await(t *testing.T, n int64) {
	t.Helper()
	natstest.Eventually(t, fmt.Sprint(n, " publications at the broker"), func() error {
		if got := tap.count.Load(); got < n {
			return fmt.Errorf("%d", got)
		}
		return nil
	})
}
