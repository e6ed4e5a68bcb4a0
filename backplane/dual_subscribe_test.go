package backplane_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"forge.lthn.ai/core/go-ws/hub"
	"forge.lthn.ai/core/go-ws/hub/hubtest"
)

// refusing is a backplane whose broker refuses some topics.
type refusing struct {
	hub.Backplane
	refuses func(hub.Topic) bool
}

func refuse(bp hub.Backplane, topics ...hub.Topic) *refusing {
	return &refusing{bp, func(topic hub.Topic) bool { return slices.Contains(topics, topic) }}
}

var errRefused = errors.New("refused")

func (r *refusing) Subscribe(ctx context.Context, topics ...hub.Topic) error {
	failed := make(map[hub.Topic]error)
	var others []hub.Topic
	for _, topic := range topics {
		if r.refuses(topic) {
			failed[topic] = errRefused
		} else {
			others = append(others, topic)
		}
	}
	if err := r.Backplane.Subscribe(ctx, others...); err != nil || len(failed) == 0 {
		return err
	}
	return &hub.SubscribeError{Failed: failed}
}

func wantTopics(t *testing.T, what string, link *hubtest.Backplane, want ...hub.Topic) {
	t.Helper()
	if got := link.Topics(); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%s is subscribed to: got %q, want %q", what, got, want)
	}
}

// A topic is live where both sides have it. What one side alone has joined is
// left again, and what was live before stays.
func TestDualSubscribeNamesWhatOneSideRefuses(t *testing.T) {
	b := newBrokers()
	from, to := b.from.Join(), b.to.Join()
	d := newDual(t, refuse(from, "c:a", "c:both"), refuse(to, "c:b", "c:both"))
	one := listen(t, d, "c:old")
	err := d.Subscribe(t.Context(), "c:a", "c:b", "c:old", "c:both", "c:fine", "c:a")
	partial, ok := errors.AsType[*hub.SubscribeError](err)
	if !ok {
		t.Fatalf("Subscribe: got %v, want a *SubscribeError", err)
	}
	for topic, side := range map[hub.Topic]string{"c:a": "from: ", "c:b": "to: ", "c:both": "to: "} {
		if got := partial.Failed[topic]; !errors.Is(got, errRefused) || !strings.Contains(got.Error(), side) {
			t.Errorf("%s: got %v, want %v and %q in it", topic, got, errRefused, side)
		}
	}
	if len(partial.Failed) != 3 {
		t.Errorf("failed: got %v, want c:a, c:b and c:both", partial.Failed)
	}
	wantTopics(t, "from", from, "c:fine", "c:old")
	wantTopics(t, "to", to, "c:fine", "c:old")
	for _, topic := range []hub.Topic{"c:a", "c:b", "c:both", "c:old", "c:fine"} {
		b.from.Publish(topic, []byte("from "+topic))
		b.to.Publish(topic, []byte("to "+topic))
	}
	one.wants(t, "from c:old", "to c:old", "from c:fine", "to c:fine")
}

// Where one side fails as a whole nothing is live that was not, even if the
// other side names the topics that it lacks.
func TestDualSubscribeFailsAsAWholeWhereASideDoes(t *testing.T) {
	b := newBrokers()
	from, to := b.from.Join(), b.to.Join()
	d := newDual(t, refuse(from, "c:a"), to)
	listen(t, d, "c:old")
	b.to.Break()
	err := d.Subscribe(t.Context(), "c:a", "c:b", "c:old")
	if _, ok := errors.AsType[*hub.SubscribeError](err); ok || !errors.Is(err, hub.ErrUnavailable) {
		t.Errorf("Subscribe: got %v, want %v that names no topics", err, hub.ErrUnavailable)
	}
	wantTopics(t, "from", from, "c:old")
	wantTopics(t, "to", to, "c:old")
	if topics, stale := d.Topics(); topics != 1 || stale != 0 {
		t.Errorf("remembered: got %d topics and %d to leave, want 1 and 0", topics, stale)
	}
}

// One side takes all the time that there was: what the other one has joined
// can't be left at once. It is not delivered, and is left with the next call.
func TestDualLeavesLaterWhatItCouldNotLeaveAtOnce(t *testing.T) {
	for _, next := range []string{"Subscribe", "Unsubscribe"} {
		synctest.Test(t, func(t *testing.T) {
			b := newBrokers()
			one := b.dual(t)
			d := one.Backplane
			var gate hubtest.Gate
			one.to.SetFaults(hubtest.BackplaneFaults{Subscribe: func(ctx context.Context, _ []hub.Topic) error { return gate.Wait(ctx) }})
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if err := d.Subscribe(ctx, "c:x", "c:again"); !errors.Is(err, context.DeadlineExceeded) {
				t.Fatalf("Subscribe: got %v, want %v", err, context.DeadlineExceeded)
			}
			wantTopics(t, "from", one.from, "c:again", "c:x")
			b.from.Publish("c:x", []byte("stray"))
			one.wants(t)
			gate.Open()
			var err error
			if next == "Subscribe" {
				err = d.Subscribe(t.Context(), "c:again")
			} else {
				err = errors.Join(d.Unsubscribe(t.Context(), "c:other"), d.Subscribe(t.Context(), "c:again"))
			}
			if err != nil {
				t.Fatalf("%s: got %v, want nil", next, err)
			}
			wantTopics(t, "from", one.from, "c:again")
			wantTopics(t, "to", one.to, "c:again")
			b.from.Publish("c:again", []byte("1"))
			one.wants(t, "1")
		})
	}
}

// stuck is a backplane that leaves no topic while it is stuck.
type stuck struct {
	hub.Backplane
	is bool
}

var errStuck = errors.New("stuck")

func (s *stuck) Unsubscribe(ctx context.Context, topics ...hub.Topic) error {
	if s.is {
		return errStuck
	}
	return s.Backplane.Unsubscribe(ctx, topics...)
}

// What one side refuses and the other does not let go is bounded, and all is well
// as soon as it does.
func TestDualJoinsNoMoreWhileTooMuchCanNotBeLeft(t *testing.T) {
	const batch, bound = 1000, 4096
	b := newBrokers()
	from, to := b.from.Join(), b.to.Join()
	refused := refuse(from)
	refused.refuses = func(topic hub.Topic) bool { return strings.HasPrefix(string(topic), "c:bad") }
	side := &stuck{Backplane: to, is: true}
	d := newDual(t, refused, side)
	one := listen(t, d, "c:old")
	var err error
	for i := 0; i < 10 && !errors.Is(err, errStuck); i++ {
		topics := make([]hub.Topic, batch)
		for j := range topics {
			topics[j] = hub.Topic(fmt.Sprint("c:bad", i, "-", j))
		}
		err = d.Subscribe(t.Context(), topics...)
	}
	if !errors.Is(err, errStuck) {
		t.Errorf("Subscribe to 10,000 topics that can't be left: got %v, want %v at last", err, errStuck)
	}
	if _, stale := d.Topics(); stale < bound || stale > bound+batch {
		t.Errorf("remembered: got %d topics to leave, want about %d", stale, bound)
	}
	b.to.Publish("c:old", []byte("1"))
	one.wants(t, "1")

	side.is = false
	if err := d.Subscribe(t.Context(), "c:new"); err != nil {
		t.Errorf("Subscribe when all can be left: got %v, want nil", err)
	}
	wantTopics(t, "to", to, "c:new", "c:old")
	if _, stale := d.Topics(); stale != 0 {
		t.Errorf("remembered: got %d topics to leave, want none", stale)
	}
}

func TestDualForgetsWhatIsLeft(t *testing.T) {
	b := newBrokers()
	d := newDual(t, b.from.Join(), b.to.Join())
	start(t, d, receiver{}, "c:x", "c:y")
	b.from.Publish("c:x", []byte("1"))
	if err := d.Unsubscribe(t.Context(), "c:x", "c:y", "c:unknown"); err != nil {
		t.Fatalf("Unsubscribe: got %v, want nil", err)
	}
	if topics, stale := d.Topics(); topics != 0 || stale != 0 {
		t.Errorf("remembered: got %d topics and %d to leave, want none", topics, stale)
	}
}

// While another call is under way, one waits no longer than its context.
func TestDualSubscribeWaitsNoLongerThanItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBrokers()
		one := b.dual(t)
		var gate hubtest.Gate
		one.from.SetFaults(hubtest.BackplaneFaults{Subscribe: func(ctx context.Context, _ []hub.Topic) error { return gate.Wait(ctx) }})
		first := make(chan error, 1)
		go func() { first <- one.Subscribe(t.Context(), "c:x") }()
		synctest.Wait()
		for what, call := range map[string]func(context.Context, ...hub.Topic) error{"Subscribe": one.Subscribe, "Unsubscribe": one.Unsubscribe} {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			began := time.Now()
			if err := call(ctx, "c:y"); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%s: got %v, want %v", what, err, context.DeadlineExceeded)
			}
			if took := time.Since(began); took != time.Second {
				t.Errorf("%s: took %v, want 1s", what, took)
			}
			cancel()
		}
		gate.Open()
		if err := <-first; err != nil {
			t.Errorf("the first Subscribe: got %v, want nil", err)
		}
	})
}
