package hub_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"forge.lthn.ai/core/go-ws/hub"
	"forge.lthn.ai/core/go-ws/hub/hubtest"
)

// recordedBackplane is a member of a broker that remembers the calls about
// topics, and can be told to fail to leave.
type recordedBackplane struct {
	*hubtest.Backplane

	mu      sync.Mutex
	joins   [][]hub.Topic
	leaves  [][]hub.Topic
	failing func(ctx context.Context, topics []hub.Topic) error // of Unsubscribe
}

func (b *recordedBackplane) Subscribe(ctx context.Context, topics ...hub.Topic) error {
	b.mu.Lock()
	b.joins = append(b.joins, slices.Clone(topics))
	b.mu.Unlock()
	return b.Backplane.Subscribe(ctx, topics...)
}

func (b *recordedBackplane) Unsubscribe(ctx context.Context, topics ...hub.Topic) error {
	b.mu.Lock()
	b.leaves = append(b.leaves, slices.Clone(topics))
	failing := b.failing
	b.mu.Unlock()
	if failing != nil {
		if err := failing(ctx, topics); err != nil {
			return err
		}
	}
	return b.Backplane.Unsubscribe(ctx, topics...)
}

func (b *recordedBackplane) failLeaves(f func(ctx context.Context, topics []hub.Topic) error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.failing = f
}

// calls returns what was called since it was asked last.
func (b *recordedBackplane) calls() (joins, leaves [][]hub.Topic) {
	b.mu.Lock()
	defer b.mu.Unlock()
	joins, leaves = b.joins, b.leaves
	b.joins, b.leaves = nil, nil
	return joins, leaves
}

// interested makes a hub whose interest in topics is looked at, in a bubble. Its
// own topics are live.
func interested(t *testing.T) (*hub.Hub, *hubtest.Broker, *recordedBackplane) {
	t.Helper()
	broker := hubtest.NewBroker(hubtest.BrokerConfig{})
	b := &recordedBackplane{Backplane: broker.Join()}
	h := inBubble(t, hub.Config{Backplane: b})
	wantInterest(t, h, hub.Interest{Batch: hub.InterestBatch})
	b.calls()
	return h, broker, b
}

// ownTopics is how many topics a hub is on without a client: all clients', all
// hubs' and its own.
const ownTopics = 3

// wantInterest compares all but Batch and Backoff, unless they are wanted, and
// looks whether the counters are those of the topics. The hub's own topics have
// to be live, and are left out.
func wantInterest(t *testing.T, h *hub.Hub, want hub.Interest) {
	t.Helper()
	synctest.Wait()
	got := h.Interest()
	checkCounters(t, got)
	got.Topics -= ownTopics
	got.Live -= ownTopics
	if want.Batch == 0 {
		got.Batch = 0
	}
	if want.Backoff == 0 {
		got.Backoff = 0
	}
	got.Pending, got.LocalCounted, got.JoiningEntries, got.LingeringEntries = 0, 0, 0, 0
	if got != want {
		t.Errorf("got interest %+v, want %+v", got, want)
	}
}

func checkCounters(t *testing.T, s hub.Interest) {
	t.Helper()
	if want := s.Joining + s.Local + s.Leaving; s.Pending != want || s.LocalCounted != s.Local {
		t.Errorf("got counters pending %d, local %d; want %d and %d, as in %+v", s.Pending, s.LocalCounted, want, s.Local, s)
	}
}

// wantTopics compares what a member is subscribed to, beside the hub's own.
func wantTopics(t *testing.T, h *hub.Hub, b *recordedBackplane, want ...hub.Topic) {
	t.Helper()
	got := slices.DeleteFunc(b.Topics(), func(topic hub.Topic) bool {
		return topic == "b:" || topic == "a:" || topic == hub.Topic("h:"+h.ID())
	})
	slices.Sort(want)
	without := func(a, b []hub.Topic) []hub.Topic {
		a = slices.DeleteFunc(slices.Clone(a), func(topic hub.Topic) bool {
			_, ok := slices.BinarySearch(b, topic)
			return ok
		})
		return a[:min(len(a), 5)]
	}
	if !slices.Equal(got, want) {
		t.Errorf("got the broker's topics: %d of %d; too many: %v …, too few: %v …",
			len(got), len(want), without(got, want), without(want, got))
	}
}

// topicsNamed are n topics.
func topicsNamed(name string, n int) []hub.Topic {
	names := make([]hub.Topic, n)
	for i := range names {
		names[i] = hub.Topic(fmt.Sprintf("c:%s%d", name, i))
	}
	return names
}

func holdAll(h *hub.Hub, topics []hub.Topic) []*hub.Held {
	held := make([]*hub.Held, len(topics))
	for i, topic := range topics {
		held[i] = h.Hold(topic)
	}
	return held
}

func releaseAll(h *hub.Hub, held []*hub.Held) {
	for _, t := range held {
		h.Release(t)
	}
}

func TestJoinsAndLeavesAreToldManyAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, _, b := interested(t)
		var gate hubtest.Gate
		b.SetFaults(hubtest.BackplaneFaults{Subscribe: func(ctx context.Context, _ []hub.Topic) error { return gate.Wait(ctx) }})
		first := h.Hold("c:first")
		synctest.Wait()
		b.SetFaults(hubtest.BackplaneFaults{})
		names := topicsNamed("n", 2*hub.InterestBatch)
		held := holdAll(h, names)
		gate.Open()
		wantInterest(t, h, hub.Interest{Topics: 1 + len(names), Live: 1 + len(names)})
		if joins, _ := b.calls(); len(joins) != 3 || len(joins[0]) != 1 || len(joins[1]) != hub.InterestBatch {
			t.Errorf("joining 1 and then %d topics: got %d calls, want 3", len(names), len(joins))
		}
		wantTopics(t, h, b, append(slices.Clone(names), "c:first")...)

		releaseAll(h, held)
		h.Release(first)
		time.Sleep(hub.LingerTime - 1)
		wantInterest(t, h, hub.Interest{Topics: 1 + len(names), Lingering: 1 + len(names)})
		time.Sleep(time.Nanosecond)
		wantInterest(t, h, hub.Interest{})
		if _, leaves := b.calls(); len(leaves) != 3 {
			t.Errorf("leaving %d topics: got %d calls, want 3", 1+len(names), len(leaves))
		}
		wantTopics(t, h, b)
	})
}

func TestSeveralHoldersShareATopic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, _, b := interested(t)
		held := holdAll(h, []hub.Topic{"c:a", "c:a", "c:a"})
		wantInterest(t, h, hub.Interest{Topics: 1, Live: 1})
		releaseAll(h, held[1:])
		time.Sleep(time.Minute)
		wantInterest(t, h, hub.Interest{Topics: 1, Live: 1})
		if joins, leaves := b.calls(); len(joins) != 1 || len(leaves) != 0 {
			t.Errorf("got %d calls to join and %d to leave, want 1 and 0", len(joins), len(leaves))
		}
		h.Release(held[0])
		time.Sleep(hub.LingerTime)
		wantInterest(t, h, hub.Interest{})
	})
}

func TestAReloadedPageCostsTheBackplaneNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, _, b := interested(t)
		held := h.Hold("c:a")
		synctest.Wait()
		b.calls()
		for range 20 {
			h.Release(held)
			time.Sleep(hub.LingerTime - 1)
			held = h.Hold("c:a")
			if live, err := h.Await(t.Context(), held); !live || err != nil {
				t.Errorf("held again while it lingers: got live %v, %v; want true at once", live, err)
			}
		}
		if joins, leaves := b.calls(); len(joins)+len(leaves) != 0 {
			t.Errorf("got calls to join %v and to leave %v, want none", joins, leaves)
		}
		time.Sleep(time.Minute)
		wantInterest(t, h, hub.Interest{Topics: 1, Live: 1})
		if got := h.Interest().LingeringEntries; got != 0 {
			t.Errorf("got %d entries of topics that linger, want none", got)
		}
	})
}

// One topic that comes and goes must not keep those behind it.
func TestLingeringEndsInTimeWhateverOthersDo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, _, b := interested(t)
		busy, quiet := h.Hold("c:busy"), h.Hold("c:quiet")
		synctest.Wait()
		h.Release(busy)
		h.Release(quiet)
		for left := time.Duration(0); left < hub.LingerTime; left += hub.LingerTime / 4 {
			time.Sleep(hub.LingerTime / 4)
			busy = h.Hold("c:busy")
			h.Release(busy)
		}
		wantInterest(t, h, hub.Interest{Topics: 1, Lingering: 1})
		wantTopics(t, h, b, "c:busy")
		time.Sleep(hub.LingerTime)
		wantInterest(t, h, hub.Interest{})
	})
}

func TestLingeringIsBoundedInNumber(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, _, b := interested(t)
		names := topicsNamed("n", hub.MaxLingering+700)
		held := holdAll(h, names)
		synctest.Wait()
		releaseAll(h, held)
		wantInterest(t, h, hub.Interest{Topics: hub.MaxLingering, Lingering: hub.MaxLingering})
		// Those that have lingered longest went first.
		wantTopics(t, h, b, slices.Clone(names[700:])...)
		time.Sleep(hub.LingerTime)
		wantInterest(t, h, hub.Interest{})
	})
}

func TestLeavingWhileJoining(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, _, b := interested(t)
		var gate hubtest.Gate
		b.SetFaults(hubtest.BackplaneFaults{Subscribe: func(ctx context.Context, _ []hub.Topic) error { return gate.Wait(ctx) }})
		gone := h.Hold("c:gone")
		synctest.Wait()
		waits := h.Hold("c:waits") // behind the call that is under way
		h.Release(gone)
		h.Release(waits)
		wantInterest(t, h, hub.Interest{Topics: 2, Joining: 2})
		gate.Open()
		wantInterest(t, h, hub.Interest{Topics: 2, Lingering: 2})
		time.Sleep(hub.LingerTime)
		wantInterest(t, h, hub.Interest{})
		wantTopics(t, h, b)
	})
}

func TestJoiningWhileLeaving(t *testing.T) {
	for _, fails := range []error{nil, errors.New("no")} {
		synctest.Test(t, func(t *testing.T) {
			h, _, b := interested(t)
			held := h.Hold("c:a")
			synctest.Wait()
			var gate hubtest.Gate
			b.failLeaves(func(ctx context.Context, _ []hub.Topic) error {
				return errors.Join(gate.Wait(ctx), fails)
			})
			h.Release(held)
			time.Sleep(hub.LingerTime)
			wantInterest(t, h, hub.Interest{Topics: 1, Leaving: 1})
			held = h.Hold("c:a")
			done := make(chan bool, 1)
			go func() {
				live, err := h.Await(t.Context(), held)
				done <- live && err == nil
			}()
			synctest.Wait()
			if len(done) > 0 {
				t.Error("while it is being left: got live, want to wait")
			}
			gate.Open()
			if !<-done {
				t.Error("held while it was being left: got not live, want it joined again")
			}
			wantInterest(t, h, hub.Interest{Topics: 1, Live: 1})
			wantTopics(t, h, b, "c:a")
			time.Sleep(time.Minute)
			wantTopics(t, h, b, "c:a")
		})
	}
}

func TestStopLeavesNoTopicAndReleasesWaiters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broker := hubtest.NewBroker(hubtest.BrokerConfig{})
		b := broker.Join()
		var gate hubtest.Gate
		b.SetFaults(hubtest.BackplaneFaults{Subscribe: func(ctx context.Context, _ []hub.Topic) error { return gate.Wait(ctx) }})
		h := built(t, hub.Config{Backplane: b, BackplaneTimeout: time.Hour})
		ctx, cancel := context.WithCancel(t.Context())
		ran := make(chan error, 1)
		go func() { ran <- h.Run(ctx) }()
		synctest.Wait()
		held := h.Hold("c:a")
		waited := make(chan error, 1)
		go func() {
			_, err := h.Await(context.Background(), held)
			waited <- err
		}()
		synctest.Wait()
		cancel()
		if err := <-ran; err != nil {
			t.Errorf("Run with a frozen broker: got %v, want nil", err)
		}
		if err := <-waited; err != nil && !errors.Is(err, hub.ErrNotRunning) {
			t.Errorf("waiting while the hub ended: got %v, want ErrNotRunning or a topic that is local", err)
		}
		if got := b.Topics(); len(got) != 0 {
			t.Errorf("after Run: got the broker's topics %v, want none", got)
		}
	})
}
