package hub_test

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"forge.lthn.ai/core/go-ws/hub"
	"forge.lthn.ai/core/go-ws/hub/hubtest"
)

// refusing makes a member refuse to join while f says so, and returns when it
// was asked.
func refusing(b *recordedBackplane, f func(topics []hub.Topic) bool) (asked func() []time.Time) {
	times := make(chan time.Time, 10_000)
	b.SetFaults(hubtest.BackplaneFaults{Subscribe: func(_ context.Context, topics []hub.Topic) error {
		times <- time.Now()
		if f(topics) {
			return errors.New("refused")
		}
		return nil
	}})
	return func() (all []time.Time) {
		for len(times) > 0 {
			all = append(all, <-times)
		}
		return all
	}
}

func always([]hub.Topic) bool { return true }

func TestWaitersAreLocalWhenTheBrokerRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, _, b := interested(t)
		refusing(b, always)
		held := holdAll(h, topicsNamed("n", 5))
		for _, topic := range held {
			if live, err := h.Await(t.Context(), topic); live || err != nil {
				t.Errorf("refused: got live %v, %v; want local at once", live, err)
			}
		}
		wantInterest(t, h, hub.Interest{Topics: 5, Local: 5})
		if s := h.Stats().Backplane; s.Healthy || s.Topics != ownTopics || s.TopicsPending != 5 {
			t.Errorf("got stats %+v, want unhealthy, its own topics and 5 pending", s)
		}
		releaseAll(h, held)
		wantInterest(t, h, hub.Interest{})
		if s := h.Stats().Backplane; !s.Healthy || s.TopicsPending != 0 {
			t.Errorf("when nobody holds them: got stats %+v, want healthy and none pending", s)
		}
	})
}

func TestWaitersAreLocalWhenTheBrokerIsFrozen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, _, b := interested(t)
		b.SetFaults(hubtest.BackplaneFaults{Subscribe: func(ctx context.Context, _ []hub.Topic) error {
			<-ctx.Done()
			return ctx.Err()
		}})
		began := time.Now()
		told := h.Hold("c:told")
		synctest.Wait()
		time.Sleep(time.Second)
		waits := h.Hold("c:waits")
		for _, topic := range []*hub.Held{told, waits} {
			if live, err := h.Await(t.Context(), topic); live || err != nil {
				t.Errorf("frozen: got live %v, %v; want local", live, err)
			}
		}
		if got, want := time.Since(began), h.Effective().BackplaneTimeout; got != want {
			t.Errorf("got local after %v, want after BackplaneTimeout, %v", got, want)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		late := h.Hold("c:late")
		if _, err := h.Await(ctx, late); err != nil && !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("waiting for a second: got %v, want the context's error", err)
		}
	})
}

func TestLocalTopicsAreJoinedAgainWithBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, _, b := interested(t)
		var refuse atomic.Bool
		refuse.Store(true)
		asked := refusing(b, func([]hub.Topic) bool { return refuse.Load() })
		h.Hold("c:a")
		time.Sleep(time.Minute)
		times := asked()
		want := hub.FirstBackoff
		for i := range times[1:] {
			if got := times[i+1].Sub(times[i]); got != want {
				t.Errorf("attempt %d: got %v after the one before, want %v", i+2, got, want)
			}
			want = min(2*want, hub.MaxBackoff)
		}
		if len(times) < 12 {
			t.Errorf("in a minute: got %d attempts, want one each 5 s at least", len(times))
		}
		refuse.Store(false)
		time.Sleep(hub.MaxBackoff)
		wantInterest(t, h, hub.Interest{Topics: 1, Live: 1})
		wantTopics(t, h, b, "c:a")
		if got := h.Interest().Backoff; got != 0 {
			t.Errorf("after all went well: got a backoff of %v, want none", got)
		}
	})
}

func TestLocalTopicsAreJoinedAtOnceWhenTheBrokerIsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, broker, b := interested(t)
		broker.Break()
		h.Hold("c:a")
		time.Sleep(time.Hour)
		wantInterest(t, h, hub.Interest{Topics: 1, Local: 1})
		healed := time.Now()
		broker.Heal()
		wantInterest(t, h, hub.Interest{Topics: 1, Live: 1})
		wantTopics(t, h, b, "c:a")
		if got := time.Since(healed); got != 0 {
			t.Errorf("got live %v after Restored, want at once", got)
		}
		if !h.Stats().Backplane.Healthy {
			t.Error("got unhealthy, want healthy")
		}
	})
}

// A call that has begun during the outage fails after the broker is back, and
// must not cost the backoff of the outage.
func TestACallThatFailsAfterTheBrokerIsBackIsRepeatedSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, broker, b := interested(t)
		broker.Break()
		h.Hold("c:a")
		time.Sleep(time.Hour)
		b.SetFaults(hubtest.BackplaneFaults{Subscribe: func(ctx context.Context, _ []hub.Topic) error {
			<-ctx.Done()
			return ctx.Err()
		}})
		time.Sleep(hub.MaxBackoff) // a retry is under way
		b.SetFaults(hubtest.BackplaneFaults{})
		broker.Heal()
		time.Sleep(h.Effective().BackplaneTimeout + hub.FirstBackoff)
		wantInterest(t, h, hub.Interest{Topics: 1, Live: 1})
		wantTopics(t, h, b, "c:a")
	})
}

func TestATopicThatTheBrokerRefusesKeepsNoOthersAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, _, b := interested(t)
		refusing(b, func(topics []hub.Topic) bool { return slices.Contains(topics, "c:poison") })
		names := topicsNamed("n", 2000)
		began := time.Now()
		holdAll(h, append([]hub.Topic{"c:poison"}, names...))
		synctest.Wait()
		for h.Interest().Pending != 1 {
			time.Sleep(hub.FirstBackoff)
		}
		if got := time.Since(began); got > 30*time.Second {
			t.Errorf("got all others live after %v, want within 30 s", got)
		}
		wantInterest(t, h, hub.Interest{Topics: 2001, Live: 2000, Local: 1})
		wantTopics(t, h, b, names...)
		// A newcomer does not wait for the poison's turn.
		began = time.Now()
		if live, err := h.Await(t.Context(), h.Hold("c:new")); !live || err != nil || time.Since(began) != 0 {
			t.Errorf("a newcomer: got live %v, %v after %v; want live at once", live, err, time.Since(began))
		}
	})
}

func TestLeavingThatFailsIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, _, b := interested(t)
		names := topicsNamed("n", 10)
		held := holdAll(h, names)
		synctest.Wait()
		var failing atomic.Bool
		failing.Store(true)
		b.failLeaves(func(context.Context, []hub.Topic) error {
			if failing.Load() {
				return errors.New("refused")
			}
			return nil
		})
		b.calls()
		releaseAll(h, held)
		time.Sleep(time.Minute)
		wantInterest(t, h, hub.Interest{Topics: 10, Lingering: 10})
		if _, leaves := b.calls(); len(leaves) < 20 || len(leaves) > 31 {
			t.Errorf("in a minute: got %d calls to leave, want one each %v", len(leaves), hub.LingerTime)
		}
		failing.Store(false)
		time.Sleep(2 * hub.LingerTime)
		wantInterest(t, h, hub.Interest{})
		wantTopics(t, h, b)
	})
}

func TestTopicsThatCanNotBeLeftAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, _, b := interested(t)
		b.failLeaves(func(context.Context, []hub.Topic) error { return errors.New("refused") })
		for range 3 {
			held := holdAll(h, topicsNamed("n", hub.MaxLingering))
			more := holdAll(h, topicsNamed("m", hub.MaxLingering))
			synctest.Wait()
			releaseAll(h, held)
			releaseAll(h, more)
			time.Sleep(time.Minute)
			s := h.Interest()
			checkCounters(t, s)
			if s.Lingering > hub.MaxLingering || s.LingeringEntries > hub.MaxLingering || s.Topics > ownTopics+hub.MaxLingering {
				t.Errorf("got interest %+v, want at most %d topics that linger", s, hub.MaxLingering)
			}
		}
		b.failLeaves(nil)
		time.Sleep(time.Minute)
		wantInterest(t, h, hub.Interest{})
	})
}

func TestALongOutageRemembersOnlyWhatIsHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, broker, b := interested(t)
		kept := h.Hold("c:kept")
		synctest.Wait()
		broker.Break()
		for hour := range 8 {
			for range 50 {
				held := holdAll(h, topicsNamed("n", 20))
				for _, topic := range held {
					if live, err := h.Await(t.Context(), topic); live || err != nil {
						t.Fatalf("hour %d: got live %v, %v; want local", hour, live, err)
					}
				}
				time.Sleep(time.Second)
				releaseAll(h, held)
			}
			time.Sleep(time.Hour)
			wantInterest(t, h, hub.Interest{Topics: 1, Live: 1})
			if s := h.Interest(); s.JoiningEntries != 0 || s.LingeringEntries != 0 {
				t.Errorf("hour %d: got %d, %d entries of topics that join or linger; want none", hour, s.JoiningEntries, s.LingeringEntries)
			}
		}
		broker.Heal()
		wantInterest(t, h, hub.Interest{Topics: 1, Live: 1})
		wantTopics(t, h, b, "c:kept")
		h.Release(kept)
	})
}
