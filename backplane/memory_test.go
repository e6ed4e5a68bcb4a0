package backplane_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"forge.lthn.ai/core/go-ws/backplane"
	"forge.lthn.ai/core/go-ws/hub"
)

// receiver is a hub.BackplaneReceiver made of functions; nil ones do nothing.
type receiver struct {
	deliver   func(hub.Delivery)
	disrupted func(error)
	restored  func()
}

func (r receiver) Deliver(d hub.Delivery) {
	if r.deliver != nil {
		r.deliver(d)
	}
}

func (r receiver) Disrupted(err error) {
	if r.disrupted != nil {
		r.disrupted(err)
	}
}

func (r receiver) Restored() {
	if r.restored != nil {
		r.restored()
	}
}

func join(t testing.TB, bus *backplane.Memory, r receiver, topics ...hub.Topic) hub.Backplane {
	t.Helper()
	m := bus.Join()
	if err := m.Start(t.Context(), r); err != nil {
		t.Fatalf("Start: got %v, want nil", err)
	}
	t.Cleanup(func() { m.Close() })
	if err := m.Subscribe(t.Context(), topics...); err != nil {
		t.Fatalf("Subscribe: got %v, want nil", err)
	}
	return m
}

func TestMemoryDeliversBeforePublishReturns(t *testing.T) {
	bus := backplane.NewMemory(backplane.MemoryConfig{})
	var got []string
	note := func(name string) receiver {
		return receiver{deliver: func(d hub.Delivery) { got = append(got, name+" "+string(d.Envelope)) }}
	}
	a := join(t, bus, note("a"), "c:x")
	join(t, bus, note("b"), "c:x")
	join(t, bus, note("c"), "c:y")
	if _, err := a.Publish(t.Context(), hub.Publication{Topic: "c:x", Envelope: []byte("1")}); err != nil {
		t.Fatalf("Publish: got %v, want nil", err)
	}
	if g, want := fmt.Sprint(got), "[a 1 b 1]"; g != want {
		t.Errorf("deliveries: got %s, want %s", g, want)
	}
}

// A receiver that is stuck harms the publisher that serves it; every other one
// leaves when its context ends, and other topics go on.
func TestMemoryPublishWaitsNoLongerThanItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bus := backplane.NewMemory(backplane.MemoryConfig{})
		stuck := make(chan struct{})
		m := join(t, bus, receiver{deliver: func(d hub.Delivery) {
			if d.Topic == "c:stuck" {
				<-stuck
			}
		}}, "c:stuck", "c:fine")
		var first sync.WaitGroup
		first.Go(func() {
			if _, err := m.Publish(context.Background(), hub.Publication{Topic: "c:stuck"}); err != nil {
				t.Errorf("first Publish: got %v, want nil", err)
			}
		})
		synctest.Wait()

		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		if _, err := m.Publish(ctx, hub.Publication{Topic: "c:stuck"}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("second Publish: got %v, want %v", err, context.DeadlineExceeded)
		}
		if got := time.Since(start); got != time.Second {
			t.Errorf("second Publish: took %v, want 1s", got)
		}
		if _, err := m.Publish(t.Context(), hub.Publication{Topic: "c:fine"}); err != nil {
			t.Errorf("Publish on another topic: got %v, want nil", err)
		}
		if err := m.Subscribe(t.Context(), "c:more"); err != nil {
			t.Errorf("Subscribe: got %v, want nil", err)
		}
		close(stuck)
		first.Wait()
	})
}

// No lock is held while a receiver is called: another goroutine, and the
// receiver's own on another topic, may use the member meanwhile.
func TestMemoryIsUsableFromWithinADelivery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bus := backplane.NewMemory(backplane.MemoryConfig{})
		var m hub.Backplane
		var got []hub.Topic
		m = join(t, bus, receiver{deliver: func(d hub.Delivery) {
			got = append(got, d.Topic)
			if d.Topic != "c:x" {
				return
			}
			var other sync.WaitGroup
			other.Go(func() {
				if err := m.Unsubscribe(t.Context(), "c:x"); err != nil {
					t.Errorf("Unsubscribe: got %v, want nil", err)
				}
				if err := m.Subscribe(t.Context(), "c:x", "c:y"); err != nil {
					t.Errorf("Subscribe: got %v, want nil", err)
				}
			})
			other.Wait()
			if _, err := m.Publish(t.Context(), hub.Publication{Topic: "c:y"}); err != nil {
				t.Errorf("Publish: got %v, want nil", err)
			}
		}}, "c:x")
		if _, err := m.Publish(t.Context(), hub.Publication{Topic: "c:x"}); err != nil {
			t.Errorf("Publish: got %v, want nil", err)
		}
		if g, want := fmt.Sprint(got), "[c:x c:y]"; g != want {
			t.Errorf("deliveries: got %s, want %s", g, want)
		}
	})
}

// While a delivery is under way its topic is left by all and joined again: the
// next publisher must wait all the same.
func TestMemoryTopicKeepsItsTurnWhileItIsLeftAndJoined(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bus := backplane.NewMemory(backplane.MemoryConfig{})
		goOn := make(chan struct{})
		var got []string
		m := join(t, bus, receiver{deliver: func(d hub.Delivery) {
			if string(d.Envelope) == "1" {
				<-goOn
			}
			got = append(got, string(d.Envelope))
		}}, "c:x")
		publish := func(text string) func() {
			return func() {
				if _, err := m.Publish(context.Background(), hub.Publication{Topic: "c:x", Envelope: []byte(text)}); err != nil {
					t.Errorf("Publish: got %v, want nil", err)
				}
			}
		}
		var publishers sync.WaitGroup
		publishers.Go(publish("1"))
		synctest.Wait()
		if err := m.Unsubscribe(t.Context(), "c:x"); err != nil {
			t.Fatalf("Unsubscribe: got %v, want nil", err)
		}
		if err := m.Subscribe(t.Context(), "c:x"); err != nil {
			t.Fatalf("Subscribe: got %v, want nil", err)
		}
		publishers.Go(publish("2"))
		synctest.Wait()
		close(goOn)
		publishers.Wait()
		if g, want := fmt.Sprint(got), "[1 2]"; g != want {
			t.Errorf("deliveries: got %s, want %s", g, want)
		}
	})
}

func TestMemoryCloseWaitsForTheDeliveryUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bus := backplane.NewMemory(backplane.MemoryConfig{})
		goOn, done := make(chan struct{}), false
		m := join(t, bus, receiver{deliver: func(hub.Delivery) { <-goOn; done = true }}, "c:x")
		other := join(t, bus, receiver{})
		var all sync.WaitGroup
		all.Go(func() {
			if _, err := other.Publish(context.Background(), hub.Publication{Topic: "c:x"}); err != nil {
				t.Errorf("Publish: got %v, want nil", err)
			}
		})
		synctest.Wait()
		for range 2 {
			all.Go(func() {
				if err := m.Close(); err != nil {
					t.Errorf("Close: got %v, want nil", err)
				}
				if !done {
					t.Error("Close returned while the receiver was called")
				}
			})
		}
		synctest.Wait()
		close(goOn)
		all.Wait()
	})
}

// A member that is closed while a publication is on its way to it, behind
// another member that is slow, does not get it.
func TestMemoryClosedMemberIsPassedOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bus := backplane.NewMemory(backplane.MemoryConfig{})
		goOn := make(chan struct{})
		slow := join(t, bus, receiver{deliver: func(hub.Delivery) { <-goOn }}, "c:x")
		late := join(t, bus, receiver{deliver: func(hub.Delivery) { t.Error("Deliver after Close: got a call, want none") }}, "c:x")
		var publisher sync.WaitGroup
		publisher.Go(func() {
			if _, err := slow.Publish(context.Background(), hub.Publication{Topic: "c:x"}); err != nil {
				t.Errorf("Publish: got %v, want nil", err)
			}
		})
		synctest.Wait()
		if err := late.Close(); err != nil {
			t.Errorf("Close: got %v, want nil", err)
		}
		close(goOn)
		publisher.Wait()
	})
}

// A member that leaves in the midst of a delivery changes nothing for those
// behind it.
func TestMemoryLeavingDuringADeliverySkipsNobody(t *testing.T) {
	bus := backplane.NewMemory(backplane.MemoryConfig{})
	var got []string
	var first hub.Backplane
	first = join(t, bus, receiver{deliver: func(hub.Delivery) {
		got = append(got, "first")
		if err := first.Unsubscribe(t.Context(), "c:x"); err != nil {
			t.Errorf("Unsubscribe: got %v, want nil", err)
		}
	}}, "c:x")
	for _, name := range []string{"second", "third"} {
		join(t, bus, receiver{deliver: func(hub.Delivery) { got = append(got, name) }}, "c:x")
	}
	for range 2 {
		if _, err := first.Publish(t.Context(), hub.Publication{Topic: "c:x"}); err != nil {
			t.Errorf("Publish: got %v, want nil", err)
		}
	}
	if g, want := fmt.Sprint(got), "[first second third second third]"; g != want {
		t.Errorf("deliveries: got %s, want %s", g, want)
	}
}

// Breaking what is broken, and healing what is up, is no news.
func TestMemorySignalsOnlyChanges(t *testing.T) {
	bus := backplane.NewMemory(backplane.MemoryConfig{})
	var got []string
	join(t, bus, receiver{
		disrupted: func(err error) { got = append(got, fmt.Sprint("down ", errors.Is(err, hub.ErrUnavailable))) },
		restored:  func() { got = append(got, "up") },
	})
	bus.Heal()
	bus.Break()
	bus.Break()
	bus.Heal()
	bus.Heal()
	if g, want := fmt.Sprint(got), "[up down true up]"; g != want {
		t.Errorf("signals: got %s, want %s", g, want)
	}
}

// The last word that a receiver hears is how the bus is.
func TestMemorySignalsEndWithTheBusState(t *testing.T) {
	bus := backplane.NewMemory(backplane.MemoryConfig{})
	up := false // the port lets signals come one after the other only
	join(t, bus, receiver{disrupted: func(error) { up = false }, restored: func() { up = true }})
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 200 {
				bus.Break()
				bus.Heal()
			}
		})
	}
	all.Wait()
	if !up {
		t.Error("after the last Heal: got down, want up")
	}
	bus.Break()
	if up {
		t.Error("after Break: got up, want down")
	}
}

// Topics that everybody has left, and members that are closed, leave no trace,
// whoever is the last to let go: a subscriber or a publisher.
func TestMemoryForgetsWhatIsLeft(t *testing.T) {
	bus := backplane.NewMemory(backplane.MemoryConfig{})
	var m hub.Backplane
	leave := false
	m = join(t, bus, receiver{deliver: func(d hub.Delivery) {
		if !leave {
			return
		}
		if err := m.Unsubscribe(t.Context(), d.Topic); err != nil {
			t.Errorf("Unsubscribe: got %v, want nil", err)
		}
	}}, "c:x", "c:y", "c:z")
	other := join(t, bus, receiver{}, "c:y")
	for _, topic := range []hub.Topic{"c:x", "c:nobody"} {
		if _, err := other.Publish(t.Context(), hub.Publication{Topic: topic}); err != nil {
			t.Fatalf("Publish: got %v, want nil", err)
		}
	}
	if got, want := bus.Topics(), 3; got != want {
		t.Errorf("topics: got %d, want %d", got, want)
	}
	if err := m.Unsubscribe(t.Context(), "c:z"); err != nil {
		t.Fatalf("Unsubscribe: got %v, want nil", err)
	}
	leave = true
	if _, err := other.Publish(t.Context(), hub.Publication{Topic: "c:x"}); err != nil {
		t.Fatalf("Publish: got %v, want nil", err)
	}
	if got, want := bus.Topics(), 1; got != want {
		t.Errorf("topics when two were left: got %d, want %d", got, want)
	}
	for _, m := range []hub.Backplane{m, other} {
		if err := m.Close(); err != nil {
			t.Errorf("Close: got %v, want nil", err)
		}
	}
	if topics, members := bus.Topics(), bus.Members(); topics != 0 || members != 0 {
		t.Errorf("after Close: got %d topics and %d members, want none", topics, members)
	}
}

func TestMemoryRefusesASecondStart(t *testing.T) {
	m := join(t, backplane.NewMemory(backplane.MemoryConfig{}), receiver{})
	if err := m.Start(t.Context(), receiver{}); err == nil {
		t.Error("second Start: got nil, want an error")
	}
	if err := m.Close(); err != nil {
		t.Errorf("Close: got %v, want nil", err)
	}
	if err := m.Start(t.Context(), receiver{}); err == nil {
		t.Error("Start after Close: got nil, want an error")
	}
}

func TestMemoryUseBeforeStartIsUnavailable(t *testing.T) {
	m := backplane.NewMemory(backplane.MemoryConfig{}).Join()
	if _, err := m.Publish(t.Context(), hub.Publication{Topic: "c:x"}); !errors.Is(err, hub.ErrUnavailable) {
		t.Errorf("Publish: got %v, want %v", err, hub.ErrUnavailable)
	}
	if err := m.Subscribe(t.Context(), "c:x"); !errors.Is(err, hub.ErrUnavailable) {
		t.Errorf("Subscribe: got %v, want %v", err, hub.ErrUnavailable)
	}
	if err := m.Unsubscribe(t.Context(), "c:x"); !errors.Is(err, hub.ErrUnavailable) {
		t.Errorf("Unsubscribe: got %v, want %v", err, hub.ErrUnavailable)
	}
	if err := m.Start(t.Context(), nil); err == nil {
		t.Error("Start without a receiver: got nil, want an error")
	}
}

func BenchmarkMemoryPublish(b *testing.B) {
	for _, members := range []int{1, 10} {
		b.Run(fmt.Sprintf("members=%d", members), func(b *testing.B) {
			bus := backplane.NewMemory(backplane.MemoryConfig{})
			var m hub.Backplane
			for range members {
				m = join(b, bus, receiver{}, "c:x")
			}
			p := hub.Publication{Topic: "c:x", ID: "1", Envelope: make([]byte, 512)}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := m.Publish(b.Context(), p); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
