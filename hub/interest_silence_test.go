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

// frozen makes every call that joins or leaves last as long as it may.
func frozen(b *recordedBackplane) {
	b.SetFaults(hubtest.BackplaneFaults{Subscribe: func(ctx context.Context, _ []hub.Topic) error {
		<-ctx.Done()
		return ctx.Err()
	}})
	b.failLeaves(func(ctx context.Context, _ []hub.Topic) error {
		<-ctx.Done()
		return ctx.Err()
	})
}

func thawed(b *recordedBackplane) {
	b.SetFaults(hubtest.BackplaneFaults{})
	b.failLeaves(nil)
}

func TestNobodyWaitsLongerThanOneCallForASilentBroker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, _, b := interested(t)
		held := h.Hold("c:left")
		synctest.Wait()
		frozen(b)
		h.Release(held)
		time.Sleep(hub.LingerTime)
		// The call that leaves has begun, and these stand behind it.
		began := time.Now()
		first := h.Hold("c:first")
		if live, err := h.Await(t.Context(), first); live || err != nil {
			t.Errorf("got live %v, %v; want local", live, err)
		}
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("the first waited %v, want the time of the call before it at most", took)
		}
		for range 20 {
			began = time.Now()
			if live, err := h.Await(t.Context(), h.Hold(hub.Topic("c:"+time.Now().String()))); live || err != nil || time.Since(began) != 0 {
				t.Errorf("got live %v, %v after %v; want local at once", live, err, time.Since(began))
			}
			time.Sleep(time.Second)
		}
		thawed(b)
		time.Sleep(hub.MaxBackoff + 5*time.Second)
		wantInterest(t, h, hub.Interest{Topics: 21, Live: 21})
		if live, err := h.Await(t.Context(), h.Hold("c:after")); !live || err != nil {
			t.Errorf("after the thaw: got live %v, %v; want live", live, err)
		}
	})
}

func TestATopicWhoseLeavingFailedIsJoinedAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, _, b := interested(t)
		held := h.Hold("c:a")
		synctest.Wait()
		// The broker did leave it; the answer was lost.
		b.failLeaves(func(ctx context.Context, topics []hub.Topic) error {
			if err := b.Backplane.Unsubscribe(ctx, topics...); err != nil {
				t.Error(err)
			}
			return context.DeadlineExceeded
		})
		h.Release(held)
		time.Sleep(hub.LingerTime)
		synctest.Wait()
		b.failLeaves(nil)
		time.Sleep(hub.MaxBackoff)
		held = h.Hold("c:a")
		if live, err := h.Await(t.Context(), held); !live || err != nil {
			t.Errorf("got live %v, %v; want live", live, err)
		}
		wantTopics(t, h, b, "c:a")
		h.Release(held)
		time.Sleep(2 * hub.LingerTime)
		wantInterest(t, h, hub.Interest{})
	})
}

func TestChannelsThatAreJoinedAgainAndAgainAreNotLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, _, b := interested(t)
		names := topicsNamed("hot", 500)
		releaseAll(h, holdAll(h, names))
		synctest.Wait()
		b.calls()
		for range 100 {
			releaseAll(h, holdAll(h, names))
			time.Sleep(100 * time.Millisecond)
		}
		if joins, leaves := b.calls(); len(joins)+len(leaves) != 0 {
			t.Errorf("got %d joins and %d leaves of channels that were wanted all the time, want none", len(joins), len(leaves))
		}
		time.Sleep(2 * hub.LingerTime)
		wantInterest(t, h, hub.Interest{})
	})
}

func TestAChannelThatIsJoinedAgainAndAgainHoldsNoOtherUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, _, b := interested(t)
		h.Release(h.Hold("c:hot"))
		h.Release(h.Hold("c:quiet"))
		for range 30 {
			time.Sleep(hub.LingerTime / 10)
			h.Release(h.Hold("c:hot"))
		}
		synctest.Wait()
		wantTopics(t, h, b, "c:hot")
	})
}

// partedBackplane is one whose broker has a part that does not answer.
type partedBackplane struct {
	*hubtest.Backplane
	silent atomic.Pointer[hub.Topic]
}

func (b *partedBackplane) Subscribe(ctx context.Context, topics ...hub.Topic) error {
	silent := b.silent.Load()
	sound := slices.DeleteFunc(slices.Clone(topics), func(topic hub.Topic) bool { return silent != nil && topic == *silent })
	if err := b.Backplane.Subscribe(ctx, sound...); err != nil {
		return err
	}
	if len(sound) < len(topics) {
		return fmt.Errorf("one part: %w", &hub.SubscribeError{Failed: map[hub.Topic]error{*silent: context.DeadlineExceeded}})
	}
	return nil
}

func TestABackplaneMayJoinSomeTopicsAndNotOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &partedBackplane{Backplane: hubtest.NewBroker(hubtest.BrokerConfig{}).Join()}
		h := inBubble(t, hub.Config{Backplane: b})
		silentTopic := hub.Topic("c:silent")
		b.silent.Store(&silentTopic)
		silent, sound := h.Hold(silentTopic), h.Hold("c:sound")
		if live, err := h.Await(t.Context(), sound); !live || err != nil {
			t.Errorf("the sound topic: got live %v, %v; want live", live, err)
		}
		if live, err := h.Await(t.Context(), silent); live || err != nil {
			t.Errorf("the silent topic: got live %v, %v; want local", live, err)
		}
		if live, err := h.Await(t.Context(), h.Hold("c:new")); !live || err != nil {
			t.Errorf("a newcomer: got live %v, %v; want live", live, err)
		}
		b.silent.Store(nil)
		time.Sleep(hub.MaxBackoff)
		wantInterest(t, h, hub.Interest{Topics: 3, Live: 3})
		err := error(&hub.SubscribeError{Failed: map[hub.Topic]error{"c:x": errors.New("why")}})
		if got := err.Error(); got != `hub: 1 topics not subscribed, among them "c:x": why` {
			t.Errorf("got %q", got)
		}
	})
}
