package hub_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"forge.lthn.ai/core/go-ws/hub"
	"forge.lthn.ai/core/go-ws/hub/hubtest"
)

// What nobody holds any more when a retry of it succeeds is left again.
func TestATopicReleasedDuringItsRetryIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, _, b := interested(t)
		refusing(b, always)
		held := h.Hold("c:a")
		synctest.Wait()
		var gate hubtest.Gate
		b.SetFaults(hubtest.BackplaneFaults{Subscribe: func(ctx context.Context, _ []hub.Topic) error { return gate.Wait(ctx) }})
		time.Sleep(hub.FirstBackoff)
		h.Release(held)
		gate.Open()
		synctest.Wait()
		checkCounters(t, h.Interest())
		time.Sleep(hub.LingerTime)
		wantInterest(t, h, hub.Interest{})
		wantTopics(t, h, b)
	})
}

// What nobody holds any more when its turn comes is not joined at all, and one
// of the same name that came since is.
func TestATopicReleasedBeforeItsRetryIsNotJoined(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, _, b := interested(t)
		var refuse atomic.Bool
		refuse.Store(true)
		var gate hubtest.Gate
		var waiting atomic.Bool
		b.SetFaults(hubtest.BackplaneFaults{Subscribe: func(ctx context.Context, _ []hub.Topic) error {
			if refuse.Load() {
				return errors.New("refused")
			}
			waiting.Store(true)
			return gate.Wait(ctx)
		}})
		names := topicsNamed("n", 20)
		held := holdAll(h, names)
		for h.Interest().Batch > 1 {
			time.Sleep(hub.FirstBackoff)
		}
		refuse.Store(false)
		for !waiting.Load() {
			time.Sleep(hub.FirstBackoff)
		}
		b.calls()
		// One is being joined, 19 stand behind it.
		synctest.Wait()
		releaseAll(h, held)
		again := h.Hold(names[7])
		gate.Open()
		synctest.Wait()
		joins, _ := b.calls()
		if told := slices.Concat(joins...); len(told) > 1 || len(told) == 1 && told[0] != names[7] {
			t.Errorf("after all but one were released: got %v joined, want that one", told)
		}
		time.Sleep(time.Minute)
		wantTopics(t, h, b, names[7])
		h.Release(again)
		time.Sleep(hub.LingerTime)
		wantInterest(t, h, hub.Interest{})
		wantTopics(t, h, b)
	})
}

func TestLeavingThatFailsIsNotTriedForEachTopicAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, _, b := interested(t)
		held := holdAll(h, topicsNamed("n", 100))
		synctest.Wait()
		b.failLeaves(func(context.Context, []hub.Topic) error { return errors.New("refused") })
		b.calls()
		for _, topic := range held {
			h.Release(topic)
			time.Sleep(hub.LingerTime / 50)
		}
		time.Sleep(time.Minute)
		if _, leaves := b.calls(); len(leaves) > 40 {
			t.Errorf("100 topics one after another, for a minute: got %d calls to leave, want about one each %v", len(leaves), hub.LingerTime)
		}
	})
}

// Several topics that are refused, each in company: all others become live.
func TestSeveralRefusedTopicsKeepNoOthersAway(t *testing.T) {
	for round := range 5 {
		synctest.Test(t, func(t *testing.T) {
			h, _, b := interested(t)
			bad := []hub.Topic{"c:bad0", "c:bad1", "c:bad2"}
			refusing(b, func(topics []hub.Topic) bool {
				return slices.ContainsFunc(topics, func(topic hub.Topic) bool { return slices.Contains(bad, topic) })
			})
			names := topicsNamed(fmt.Sprint("r", round, "n"), 500)
			holdAll(h, append(slices.Clone(bad), names...))
			began := time.Now()
			synctest.Wait()
			for h.Interest().Pending != len(bad) && time.Since(began) < time.Hour {
				time.Sleep(hub.FirstBackoff)
			}
			if got := time.Since(began); got > time.Minute {
				t.Errorf("got all others live after %v, want within a minute", got)
			}
			wantTopics(t, h, b, names...)
		})
	}
}

// A broker that is slow and refuses one topic: those that wait for their turn
// stand in line once, however often a retry falls due meanwhile.
func TestTopicsThatAreJoinedSlowlyDoNotPileUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &recordedBackplane{Backplane: hubtest.NewBroker(hubtest.BrokerConfig{}).Join()}
		h := inBubble(t, hub.Config{Backplane: b, BackplaneTimeout: time.Minute})
		var calls atomic.Int32
		b.SetFaults(hubtest.BackplaneFaults{Subscribe: func(ctx context.Context, topics []hub.Topic) error {
			select {
			case <-time.After(hub.MaxBackoff + time.Second):
			case <-ctx.Done():
				return ctx.Err()
			}
			if len(topics) > 1 || calls.Add(1)%2 == 0 {
				return errors.New("refused")
			}
			return nil
		}})
		names := topicsNamed("n", 100)
		holdAll(h, names)
		for range 120 {
			time.Sleep(10 * time.Second)
			s := h.Interest()
			checkCounters(t, s)
			if s.JoiningEntries > len(names) {
				t.Fatalf("got %d entries of topics that join, want at most %d, one for each", s.JoiningEntries, len(names))
			}
		}
		b.SetFaults(hubtest.BackplaneFaults{})
		time.Sleep(time.Minute)
		wantInterest(t, h, hub.Interest{Topics: 100, Live: 100})
		wantTopics(t, h, b, names...)
	})
}
