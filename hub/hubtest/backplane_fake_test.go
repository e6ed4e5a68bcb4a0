package hubtest_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"forge.lthn.ai/core/go-ws/hub"
	"forge.lthn.ai/core/go-ws/hub/hubtest"
)

// notes is a hub.BackplaneReceiver that writes down what it is told.
type notes struct {
	mu   sync.Mutex
	list []string
}

func (n *notes) add(s string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.list = append(n.list, s)
}

func (n *notes) Deliver(d hub.Delivery) { n.add(string(d.Envelope)) }
func (n *notes) Disrupted(err error)    { n.add("disrupted") }
func (n *notes) Restored()              { n.add("restored") }

func (n *notes) expect(t *testing.T, want ...string) {
	t.Helper()
	n.mu.Lock()
	defer n.mu.Unlock()
	if !slices.Equal(n.list, want) {
		t.Errorf("receiver: got %q, want %q", n.list, want)
	}
	n.list = nil
}

func fakeMember(t *testing.T, b *hubtest.Broker, topics ...hub.Topic) (*hubtest.Backplane, *notes) {
	t.Helper()
	m, n := b.Join(), &notes{}
	if err := m.Start(t.Context(), n); err != nil {
		t.Fatalf("Start: got %v, want nil", err)
	}
	t.Cleanup(func() { m.Close() })
	if err := m.Subscribe(t.Context(), topics...); err != nil {
		t.Fatalf("Subscribe: got %v, want nil", err)
	}
	n.expect(t, "restored")
	return m, n
}

func fakePublish(t *testing.T, m *hubtest.Backplane, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if _, err := m.Publish(t.Context(), hub.Publication{Topic: "c:x", Envelope: []byte(text)}); err != nil {
			t.Errorf("Publish %q: got %v, want nil", text, err)
		}
	}
}

func TestBackplaneFaultsInDelivery(t *testing.T) {
	m, n := fakeMember(t, hubtest.NewBroker(hubtest.BrokerConfig{}), "c:x")
	m.SetFaults(hubtest.BackplaneFaults{Deliver: hubtest.DropNext(1)})
	fakePublish(t, m, "1", "2")
	n.expect(t, "2")
	m.SetFaults(hubtest.BackplaneFaults{Deliver: hubtest.Duplicate})
	fakePublish(t, m, "3")
	n.expect(t, "3", "3")
	m.SetFaults(hubtest.BackplaneFaults{Deliver: hubtest.SwapNext()})
	fakePublish(t, m, "4", "5", "6")
	n.expect(t, "5", "4", "6")
	m.SetFaults(hubtest.BackplaneFaults{})
	fakePublish(t, m, "7")
	n.expect(t, "7")
	m.Deliver(hub.Delivery{Topic: "c:elsewhere", Envelope: []byte("8")})
	m.Disrupt(errors.New("too slow"))
	n.expect(t, "8", "disrupted", "restored")
}

func TestBackplaneFaultsInCalls(t *testing.T) {
	m, n := fakeMember(t, hubtest.NewBroker(hubtest.BrokerConfig{}), "c:x")
	lost := errors.New("lost")
	m.SetFaults(hubtest.BackplaneFaults{
		Publish:   func(context.Context, hub.Publication) error { return lost },
		Subscribe: func(context.Context, []hub.Topic) error { return lost },
	})
	if _, err := m.Publish(t.Context(), hub.Publication{Topic: "c:x"}); !errors.Is(err, lost) {
		t.Errorf("Publish: got %v, want %v", err, lost)
	}
	if err := m.Subscribe(t.Context(), "c:y"); !errors.Is(err, lost) {
		t.Errorf("Subscribe: got %v, want %v", err, lost)
	}
	if got, want := fmt.Sprint(m.Topics()), "[c:x]"; got != want {
		t.Errorf("Topics: got %s, want %s", got, want)
	}
	n.expect(t)
	m.SetFaults(hubtest.BackplaneFaults{Acknowledge: func(context.Context, hub.Publication) error { return lost }})
	if _, err := m.Publish(t.Context(), hub.Publication{Topic: "c:x", Envelope: []byte("1")}); !errors.Is(err, lost) {
		t.Errorf("Publish: got %v, want %v", err, lost)
	}
	n.expect(t, "1")
}

func TestBackplaneGateDelaysSubscribe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, _ := fakeMember(t, hubtest.NewBroker(hubtest.BrokerConfig{}))
		var gate hubtest.Gate
		m.SetFaults(hubtest.BackplaneFaults{Subscribe: func(ctx context.Context, _ []hub.Topic) error { return gate.Wait(ctx) }})
		var calls sync.WaitGroup
		calls.Go(func() {
			if err := m.Subscribe(t.Context(), "c:x"); err != nil {
				t.Errorf("Subscribe: got %v, want nil", err)
			}
		})
		synctest.Wait()
		if got := m.Topics(); len(got) != 0 {
			t.Errorf("Topics while the gate is shut: got %q, want none", got)
		}
		ctx, cancel := context.WithCancel(t.Context())
		calls.Go(func() {
			if err := m.Subscribe(ctx, "c:y"); !errors.Is(err, context.Canceled) {
				t.Errorf("Subscribe: got %v, want %v", err, context.Canceled)
			}
		})
		synctest.Wait()
		cancel()
		synctest.Wait()
		gate.Open()
		gate.Open()
		calls.Wait()
		if got, want := fmt.Sprint(m.Topics()), "[c:x]"; got != want {
			t.Errorf("Topics: got %s, want %s", got, want)
		}
	})
}

func TestBackplaneOfOneMemberIsCutOff(t *testing.T) {
	broker := hubtest.NewBroker(hubtest.BrokerConfig{})
	a, an := fakeMember(t, broker, "c:x")
	_, bn := fakeMember(t, broker, "c:x")
	a.Break()
	an.expect(t, "disrupted")
	if _, err := a.Publish(t.Context(), hub.Publication{Topic: "c:x"}); !errors.Is(err, hub.ErrUnavailable) {
		t.Errorf("Publish: got %v, want %v", err, hub.ErrUnavailable)
	}
	broker.Publish("c:x", []byte("1"))
	an.expect(t)
	bn.expect(t, "1")
	broker.Break() // a knows already that it is cut off
	a.Heal()
	an.expect(t)
	bn.expect(t, "disrupted")
	broker.Heal()
	an.expect(t, "restored")
	bn.expect(t, "restored")
	broker.Publish("c:x", []byte("2"))
	an.expect(t, "2")
	bn.expect(t, "2")
}
