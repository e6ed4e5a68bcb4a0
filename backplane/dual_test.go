package backplane_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"forge.lthn.ai/core/go-ws/backplane"
	"forge.lthn.ai/core/go-ws/hub"
	"forge.lthn.ai/core/go-ws/hub/hubtest"
	"forge.lthn.ai/core/go-ws/hub/wire"
)

func newDual(t testing.TB, from, to hub.Backplane) *backplane.Dual {
	t.Helper()
	d, err := backplane.NewDual(backplane.DualConfig{From: from, To: to})
	if err != nil {
		t.Fatalf("NewDual: got %v, want nil", err)
	}
	return d
}

// brokers are two, which fail on demand.
type brokers struct{ from, to *hubtest.Broker }

func newBrokers() brokers {
	return brokers{hubtest.NewBroker(hubtest.BrokerConfig{}), hubtest.NewBroker(hubtest.BrokerConfig{})}
}

// listener is a started backplane that writes down what it gets.
type listener struct {
	hub.Backplane
	from, to *hubtest.Backplane // of a Dual

	mu      sync.Mutex
	got     []string
	signals []string
}

func (l *listener) Deliver(d hub.Delivery) {
	text := string(d.Envelope)
	if e, err := wire.ParseEnvelope(d.Envelope); err == nil {
		text = string(e.Payload)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.got = append(l.got, text)
}

func (l *listener) Disrupted(err error) { l.signal("down") }
func (l *listener) Restored()           { l.signal("up") }

func (l *listener) signal(s string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.signals = append(l.signals, s)
}

func (l *listener) wants(t testing.TB, want ...string) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	if fmt.Sprint(l.got) != fmt.Sprint(want) {
		t.Errorf("deliveries: got %v, want %v", l.got, want)
	}
	l.got = nil
}

func (l *listener) wantsSignals(t testing.TB, want ...string) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	if fmt.Sprint(l.signals) != fmt.Sprint(want) {
		t.Errorf("signals: got %v, want %v", l.signals, want)
	}
	l.signals = nil
}

func listen(t testing.TB, bp hub.Backplane, topics ...hub.Topic) *listener {
	t.Helper()
	l := &listener{Backplane: bp}
	start(t, bp, l, topics...)
	return l
}

func start(t testing.TB, bp hub.Backplane, r hub.BackplaneReceiver, topics ...hub.Topic) {
	t.Helper()
	if err := bp.Start(t.Context(), r); err != nil {
		t.Fatalf("Start: got %v, want nil", err)
	}
	t.Cleanup(func() { bp.Close() })
	if len(topics) == 0 {
		return
	}
	if err := bp.Subscribe(t.Context(), topics...); err != nil {
		t.Fatalf("Subscribe: got %v, want nil", err)
	}
}

// dual is on both brokers.
func (b brokers) dual(t testing.TB, topics ...hub.Topic) *listener {
	t.Helper()
	from, to := b.from.Join(), b.to.Join()
	l := listen(t, newDual(t, from, to), topics...)
	l.from, l.to = from, to
	return l
}

// envelope is one of a hub's.
func envelope(source string, number int) []byte {
	return wire.AppendEnvelope(nil, &wire.Envelope{
		Source: source, Sequence: uint64(number) + 1, MessageID: fmt.Sprint(number), Key: "k", Idempotent: true,
		Payload: fmt.Appendf(nil, "%s%d", source, number),
	})
}

func publish(t testing.TB, bp hub.Backplane, source string, number int) {
	t.Helper()
	if err := tryPublish(t.Context(), bp, envelope(source, number)); err != nil {
		t.Fatalf("Publish: got %v, want nil", err)
	}
}

func tryPublish(ctx context.Context, bp hub.Backplane, envelope []byte) error {
	_, err := bp.Publish(ctx, hub.Publication{Topic: "c:x", ID: "id", Envelope: envelope})
	return err
}

// In both of the steps that a fleet goes through everybody hears everybody
// once. The hubs on one broker alone know nothing of a Dual.
func TestDualHearsAndIsHeardOnceInEachStep(t *testing.T) {
	for name, alone := range map[string]func(brokers) hub.Backplane{
		"beside From alone": func(b brokers) hub.Backplane { return b.from.Join() },
		"beside To alone":   func(b brokers) hub.Backplane { return b.to.Join() },
	} {
		t.Run(name, func(t *testing.T) {
			b := newBrokers()
			one, two := b.dual(t, "c:x"), b.dual(t, "c:x")
			back := listen(t, newDual(t, b.to.Join(), b.from.Join()), "c:x") // on its way back
			single := listen(t, alone(b), "c:x")
			var want []string
			for i := range 3 {
				for who, l := range map[string]*listener{"one": one, "two": two, "back": back, "single": single} {
					publish(t, l, who, i)
					want = append(want, fmt.Sprint(who, i))
				}
			}
			for _, l := range []*listener{one, two, back, single} {
				l.wants(t, want...)
			}
			if got := one.Backplane.(*backplane.Dual).Stats().Copies; got != 9 {
				t.Errorf("copies: got %d, want 9: those of three Duals", got)
			}
		})
	}
}

// The one on To alone gets what the Dual published, but for a field that hubs
// skip.
func TestDualsCopyIsTheHubsEnvelope(t *testing.T) {
	b := newBrokers()
	one := b.dual(t)
	var got wire.Envelope
	single := b.to.Join()
	start(t, single, receiver{deliver: func(d hub.Delivery) {
		var err error
		if got, err = wire.ParseEnvelope(d.Envelope); err != nil {
			t.Errorf("ParseEnvelope: got %v, want nil", err)
		}
	}}, "c:x")
	before := envelope("hub", 1)
	sent := bytes.Clone(before)
	if err := tryPublish(t.Context(), one, sent); err != nil {
		t.Fatalf("Publish: got %v, want nil", err)
	}
	if !bytes.Equal(sent, before) {
		t.Errorf("the caller's envelope: got %x, want %x", sent, before)
	}
	want, err := wire.ParseEnvelope(before)
	if err != nil {
		t.Fatal(err)
	}
	if fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", want) {
		t.Errorf("on To: got %+v, want %+v", got, want)
	}
}

// Other programs publish on one broker, the same bytes again and again. Each
// comes once.
func TestDualTakesForeignPublicationsAsTheyCome(t *testing.T) {
	b := newBrokers()
	one := b.dual(t, "c:x")
	plain := []byte(`{"type":"event"}`)
	b.from.Publish("c:x", plain)
	b.from.Publish("c:x", plain)
	b.to.Publish("c:x", plain) // the program has moved
	b.to.Publish("c:x", plain)
	one.wants(t, string(plain), string(plain), string(plain), string(plain))
}

// One broker lags behind the other, or is ahead of it, or loses something on its
// way to one hub: what one publisher publishes comes in its order.
func TestDualKeepsOrderHoweverTheBrokersRun(t *testing.T) {
	for _, lagging := range []string{"from", "to"} {
		t.Run(lagging, func(t *testing.T) {
			b := newBrokers()
			one, two := b.dual(t, "c:x"), b.dual(t, "c:x")
			link := map[string]*hubtest.Backplane{"from": one.from, "to": one.to}[lagging]
			var kept []hub.Delivery
			n := 0
			link.SetFaults(hubtest.BackplaneFaults{Deliver: func(d hub.Delivery) []hub.Delivery {
				if n++; n == 3 {
					return nil // lost
				}
				if kept = append(kept, d); len(kept) < 4 {
					return nil
				}
				out := kept
				kept = nil
				return out
			}})
			for i := range 9 {
				publish(t, two, "two", i)
			}
			if lagging == "from" {
				one.wants(t, "two0", "two1", "two3", "two4", "two5", "two6", "two7", "two8")
			} else {
				one.wants(t, "two0", "two1", "two2", "two3", "two4", "two5", "two6", "two7", "two8")
			}
		})
	}
}

func TestDualPublishErrorsSayWhatIsTrue(t *testing.T) {
	odd := errors.New("no answer")
	for _, tc := range []struct {
		name                  string
		from, to              error // before anything is published
		unavailable, tooLarge bool
		other                 error
	}{
		{"from away", hub.ErrUnavailable, nil, false, false, nil},
		{"to away", nil, hub.ErrUnavailable, false, false, nil},
		{"both away", hub.ErrUnavailable, hub.ErrUnavailable, true, false, nil},
		{"too large for to", nil, hub.ErrTooLarge, false, false, nil},
		{"too large for both", hub.ErrTooLarge, hub.ErrTooLarge, false, true, nil},
		{"too large and away", hub.ErrTooLarge, hub.ErrUnavailable, true, true, nil},
		{"away and unknown", hub.ErrUnavailable, odd, false, false, odd},
		{"unknown and too large", odd, hub.ErrTooLarge, false, false, odd},
		{"unknown", nil, context.DeadlineExceeded, false, false, context.DeadlineExceeded},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := newBrokers()
			one := b.dual(t, "c:x")
			onFrom, onTo := listen(t, b.from.Join(), "c:x"), listen(t, b.to.Join(), "c:x")
			failing := func(err error) hubtest.BackplaneFaults {
				return hubtest.BackplaneFaults{Publish: func(context.Context, hub.Publication) error { return err }}
			}
			one.from.SetFaults(failing(tc.from))
			one.to.SetFaults(failing(tc.to))
			err := tryPublish(t.Context(), one, envelope("one", 1))
			if err == nil {
				t.Fatal("Publish: got nil, want an error")
			}
			if got := errors.Is(err, hub.ErrUnavailable); got != tc.unavailable {
				t.Errorf("Publish: got %v, which is ErrUnavailable: %t, want %t", err, got, tc.unavailable)
			}
			if got := errors.Is(err, hub.ErrTooLarge); got != tc.tooLarge {
				t.Errorf("Publish: got %v, which is ErrTooLarge: %t, want %t", err, got, tc.tooLarge)
			}
			if tc.other != nil && !errors.Is(err, tc.other) {
				t.Errorf("Publish: got %v, want %v in it", err, tc.other)
			}
			for side, failed := range map[string]error{"from: ": tc.from, "to: ": tc.to} {
				if failed != nil && !strings.Contains(err.Error(), side) {
					t.Errorf("Publish: got %v, want the side %q in it", err, side)
				}
			}
			// The other side has it all the same.
			for l, failed := range map[*listener]error{onFrom: tc.from, onTo: tc.to} {
				if failed == nil {
					l.wants(t, "one1")
				} else {
					l.wants(t)
				}
			}
		})
	}
}

// A side that hangs harms those alone who are served by it.
func TestDualsFrozenSideHoldsUpNoDeliveriesOfTheOther(t *testing.T) {
	for _, frozen := range []string{"from", "to"} {
		synctest.Test(t, func(t *testing.T) {
			b := newBrokers()
			one := b.dual(t)
			onFrom, onTo := listen(t, b.from.Join(), "c:x"), listen(t, b.to.Join(), "c:x")
			var gate hubtest.Gate
			link, other := one.from, onTo
			if frozen == "to" {
				link, other = one.to, onFrom
			}
			link.SetFaults(hubtest.BackplaneFaults{Publish: func(ctx context.Context, _ hub.Publication) error { return gate.Wait(ctx) }})
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			began := time.Now()
			result := make(chan error, 1)
			go func() { result <- tryPublish(ctx, one, envelope("one", 1)) }()
			synctest.Wait()
			other.wants(t, "one1")
			if err := <-result; !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("Publish: got %v, want %v", err, context.DeadlineExceeded)
			}
			if took := time.Since(began); took != time.Second {
				t.Errorf("Publish: took %v, want 1s", took)
			}
		})
	}
}

// The two brokers deliver side by side; the receiver is called by one at a time
// for one topic, and at once for another.
func TestDualDeliversOneAtATimePerTopic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBrokers()
		goOn := make(chan struct{})
		var mu sync.Mutex
		var got []string
		r := receiver{deliver: func(d hub.Delivery) {
			if string(d.Envelope) == "slow" {
				<-goOn
			}
			mu.Lock()
			defer mu.Unlock()
			got = append(got, string(d.Envelope))
		}}
		d := newDual(t, b.from.Join(), b.to.Join())
		start(t, d, r, "c:x", "c:y")
		var all sync.WaitGroup
		all.Go(func() { b.from.Publish("c:x", []byte("slow")) })
		synctest.Wait()
		// Left and joined meanwhile: it is the same topic still.
		if err := d.Unsubscribe(t.Context(), "c:x"); err != nil {
			t.Errorf("Unsubscribe: got %v, want nil", err)
		}
		if err := d.Subscribe(t.Context(), "c:x"); err != nil {
			t.Errorf("Subscribe: got %v, want nil", err)
		}
		b.to.Publish("c:y", []byte("other topic"))
		all.Go(func() { b.to.Publish("c:x", []byte("behind")) })
		synctest.Wait()
		mu.Lock()
		if g, want := fmt.Sprint(got), "[other topic]"; g != want {
			t.Errorf("while a delivery is under way: got %s, want %s", g, want)
		}
		mu.Unlock()
		close(goOn)
		all.Wait()
		if g, want := fmt.Sprint(got), "[other topic slow behind]"; g != want {
			t.Errorf("deliveries: got %s, want %s", g, want)
		}
	})
}

func TestDualIsUpWhenBothSidesAre(t *testing.T) {
	b := newBrokers()
	b.to.Break()
	from, to := b.from.Join(), b.to.Join()
	one := listen(t, newDual(t, from, to))
	one.wantsSignals(t)
	b.to.Heal()
	one.wantsSignals(t, "up")
	b.from.Break()
	b.to.Break()
	b.from.Heal()
	one.wantsSignals(t, "down", "down")
	b.to.Heal()
	one.wantsSignals(t, "up")
	to.Disrupt(errors.New("dropped something"))
	from.Disrupt(errors.New("dropped something"))
	one.wantsSignals(t, "down", "up", "down", "up")
	var err error
	two := newDual(t, b.from.Join(), b.to.Join())
	start(t, two, receiver{disrupted: func(got error) { err = got }})
	b.to.Break()
	if !errors.Is(err, hub.ErrUnavailable) || !strings.Contains(err.Error(), "to: ") {
		t.Errorf("Disrupted: got %v, want %v and the side in it", err, hub.ErrUnavailable)
	}
}

func TestDualNeedsBothSides(t *testing.T) {
	member := backplane.NewMemory(backplane.MemoryConfig{}).Join()
	for field, cfg := range map[string]backplane.DualConfig{"From": {To: member}, "To": {From: member}} {
		if _, err := backplane.NewDual(cfg); err == nil || !strings.Contains(err.Error(), "DualConfig."+field) {
			t.Errorf("NewDual without %s: got %v, want an error that names it", field, err)
		}
	}
	if err := newDual(t, member, member).Start(t.Context(), nil); err == nil {
		t.Error("Start without a receiver: got nil, want an error")
	}
}
