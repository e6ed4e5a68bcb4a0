package hub_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"forge.lthn.ai/core/go-ws/hub"
	"forge.lthn.ai/core/go-ws/hub/hubtest"
)

// churner joins and leaves topics at random and knows what it is on.
type churner struct {
	h    *hub.Hub
	r    *rand.Rand
	held map[hub.Topic]*hub.Held
}

func (c *churner) step() {
	topic := hub.Topic(fmt.Sprintf("c:%d", c.r.IntN(30)))
	if held, ok := c.held[topic]; ok {
		delete(c.held, topic)
		c.h.Release(held)
		return
	}
	held := c.h.Hold(topic)
	c.held[topic] = held
	if c.r.IntN(3) == 0 {
		// Some wait, and some of them not for long.
		ctx, cancel := context.WithTimeout(context.Background(), time.Duration(c.r.Int64N(int64(time.Second))))
		_, _ = c.h.Await(ctx, held)
		cancel()
	}
}

// At the end the broker's topics are exactly those that somebody is on,
// whatever came between: a broker that is slow, refuses, fails to leave, or is
// away for a while.
func TestChurnEndsWithExactlyWhatIsWanted(t *testing.T) {
	r := seeded(t)
	for range 15 {
		seed := r.Uint64()
		synctest.Test(t, func(t *testing.T) { churn(t, seed) })
		if t.Failed() {
			return
		}
	}
}

func churn(t *testing.T, seed uint64) {
	h, broker, b := interested(t)
	r := rand.New(rand.NewPCG(seed, 1))
	var mu sync.Mutex
	chance := func(n int) bool {
		mu.Lock()
		defer mu.Unlock()
		return r.IntN(n) == 0
	}
	faulty := func(ctx context.Context) error {
		switch {
		case chance(4):
			return errors.New("refused")
		case chance(3):
			select {
			case <-time.After(time.Second):
			case <-ctx.Done():
				return ctx.Err()
			}
		case chance(10):
			<-ctx.Done()
			return ctx.Err()
		}
		return nil
	}
	b.SetFaults(hubtest.BackplaneFaults{Subscribe: func(ctx context.Context, _ []hub.Topic) error { return faulty(ctx) }})
	b.failLeaves(func(ctx context.Context, _ []hub.Topic) error { return faulty(ctx) })

	churners := make([]*churner, 8)
	var wg sync.WaitGroup
	for i := range churners {
		c := &churner{h: h, r: rand.New(rand.NewPCG(seed, uint64(i+2))), held: map[hub.Topic]*hub.Held{}}
		churners[i] = c
		wg.Go(func() {
			for range 300 {
				c.step()
				if c.r.IntN(5) == 0 {
					time.Sleep(time.Duration(c.r.Int64N(int64(hub.LingerTime))))
				}
			}
		})
	}
	wg.Go(func() {
		for range 20 {
			time.Sleep(3 * time.Second)
			broker.Break()
			time.Sleep(2 * time.Second)
			broker.Heal()
			checkCounters(t, h.Interest())
		}
	})
	wg.Wait()
	checkCounters(t, h.Interest())

	b.SetFaults(hubtest.BackplaneFaults{})
	b.failLeaves(nil)
	time.Sleep(time.Minute)
	wanted := map[hub.Topic]bool{}
	for _, c := range churners {
		for topic := range c.held {
			wanted[topic] = true
		}
	}
	var topics []hub.Topic
	for topic := range wanted {
		topics = append(topics, topic)
	}
	wantTopics(t, h, b, topics...)
	wantInterest(t, h, hub.Interest{Topics: len(topics), Live: len(topics)})

	for _, c := range churners {
		for _, held := range c.held {
			h.Release(held)
		}
	}
	time.Sleep(2 * hub.LingerTime)
	wantTopics(t, h, b)
	wantInterest(t, h, hub.Interest{})
	if s := h.Interest(); s.JoiningEntries != 0 || s.LingeringEntries != 0 || s.Pending != 0 || s.LocalCounted != 0 {
		t.Errorf("at the end: got %+v, want nothing under way", s)
	}
}
