package hubtest_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"forge.lthn.ai/core/go-ws/hub"
	"forge.lthn.ai/core/go-ws/hub/hubtest"
)

// backplaneLifeFaults are those about outages, starting and closing.
var backplaneLifeFaults = []backplaneFault{
	{name: "publishing does not look at the context", breaks: "EndedContext", member: func(m *faulty) {
		m.publish = func(ctx context.Context, p hub.Publication) (hub.Published, error) {
			return m.Backplane.Publish(context.WithoutCancel(ctx), p)
		}
	}},
	{name: "subscribing does not look at the context", breaks: "EndedContext", member: func(m *faulty) {
		m.subscribe = func(ctx context.Context, topics []hub.Topic) error {
			return m.Backplane.Subscribe(context.WithoutCancel(ctx), topics...)
		}
	}},
	{name: "subscribing fails and subscribes", breaks: "EndedContext", member: func(m *faulty) {
		m.subscribe = func(ctx context.Context, topics []hub.Topic) error {
			return errors.Join(m.Backplane.Subscribe(context.WithoutCancel(ctx), topics...), ctx.Err())
		}
	}},
	{name: "the third loss is not reported", breaks: "BreakIsReported", member: func(m *faulty) {
		m.receive = func(r hub.BackplaneReceiver) hub.BackplaneReceiver {
			return relay{BackplaneReceiver: r, disrupted: func(err error) {
				if m.call() < 3 {
					r.Disrupted(err)
				}
			}}
		}
	}},
	{name: "the third healing is not reported", breaks: "BreakIsReported", member: func(m *faulty) {
		m.receive = func(r hub.BackplaneReceiver) hub.BackplaneReceiver {
			return relay{BackplaneReceiver: r, restored: func() {
				if m.call() < 4 {
					r.Restored()
				}
			}}
		}
	}},
	{name: "what is written before the loss is noticed counts as published", breaks: "PublishWhileBroken", member: func(m *faulty) {
		connected := false
		m.publish = func(ctx context.Context, p hub.Publication) (hub.Published, error) {
			out, err := m.Backplane.Publish(ctx, p)
			if connected && !m.isClosed() && errors.Is(err, hub.ErrUnavailable) && m.call() == 1 {
				err = nil
			}
			return out, err
		}
		m.receive = func(r hub.BackplaneReceiver) hub.BackplaneReceiver {
			return relay{BackplaneReceiver: r, restored: func() { connected = true; r.Restored() }}
		}
	}},
	{name: "publishing outlives its context", breaks: "PublishWhileBroken", also: []string{"UnavailablePublishesNothing", "StartWhileAway"}, member: func(m *faulty) {
		m.publish = func(ctx context.Context, p hub.Publication) (hub.Published, error) {
			out, err := m.Backplane.Publish(ctx, p)
			if m.w.isDown() {
				time.Sleep(time.Minute / 2)
			}
			return out, err
		}
	}},
	{name: "what was refused is published later", breaks: "UnavailablePublishesNothing", member: func(m *faulty) {
		var kept []hub.Publication // by one goroutine at a time
		m.publish = func(ctx context.Context, p hub.Publication) (hub.Published, error) {
			out, err := m.Backplane.Publish(ctx, p)
			if m.isStarted() && !m.isClosed() && errors.Is(err, hub.ErrUnavailable) {
				kept = append(kept, p)
			}
			return out, err
		}
		m.receive = func(r hub.BackplaneReceiver) hub.BackplaneReceiver {
			return relay{BackplaneReceiver: r, restored: func() {
				for _, p := range kept {
					m.w.broker.Publish(p.Topic, p.Envelope)
				}
				kept = nil
				r.Restored()
			}}
		}
	}},
	{name: "what could not be subscribed is subscribed later", breaks: "SubscribeWhileBroken", member: func(m *faulty) {
		var kept []hub.Topic
		m.subscribe = func(ctx context.Context, topics []hub.Topic) error {
			err := m.Backplane.Subscribe(ctx, topics...)
			if errors.Is(err, hub.ErrUnavailable) {
				kept = append(kept, topics...)
			}
			return err
		}
		m.receive = func(r hub.BackplaneReceiver) hub.BackplaneReceiver {
			return relay{BackplaneReceiver: r, restored: func() {
				_ = m.Backplane.Subscribe(context.Background(), kept...)
				r.Restored()
			}}
		}
	}},
	{name: "subscribing while broken is fine", breaks: "SubscribeWhileBroken", also: []string{"StartWhileAway"}, member: func(m *faulty) {
		m.subscribe = func(ctx context.Context, topics []hub.Topic) error {
			err := m.Backplane.Subscribe(ctx, topics...)
			if !m.isClosed() && errors.Is(err, hub.ErrUnavailable) {
				err = nil
			}
			return err
		}
	}},
	{name: "a subscribing that fails ends what was live", breaks: "SubscribeWhileBroken", also: []string{"SubscribeSome"}, member: func(m *faulty) {
		m.subscribe = func(ctx context.Context, topics []hub.Topic) error {
			err := m.Backplane.Subscribe(ctx, topics...)
			if err != nil {
				_ = m.Backplane.Unsubscribe(context.Background(), topics...)
			}
			return err
		}
	}},
	{name: "what was left while broken comes back", breaks: "UnsubscribeWhileBroken", member: func(m *faulty) {
		m.unsubscribe = func(ctx context.Context, topics []hub.Topic) error {
			if m.w.isDown() {
				return nil
			}
			return m.Backplane.Unsubscribe(ctx, topics...)
		}
	}},
	{name: "leaving outlives its context", breaks: "UnsubscribeWhileBroken", member: func(m *faulty) {
		m.unsubscribe = func(ctx context.Context, topics []hub.Topic) error {
			if m.w.isDown() {
				time.Sleep(time.Minute / 2)
			}
			return m.Backplane.Unsubscribe(ctx, topics...)
		}
	}},
	{name: "only 50 topics come back", breaks: "SubscriptionsComeBack", member: func(m *faulty) {
		m.receive = func(r hub.BackplaneReceiver) hub.BackplaneReceiver {
			return relay{BackplaneReceiver: r, restored: func() {
				if topics := m.Topics(); len(topics) > 50 {
					_ = m.Backplane.Unsubscribe(context.Background(), topics[50:]...)
				}
				r.Restored()
			}}
		}
	}},
	{name: "many topics come back after the word", breaks: "SubscriptionsComeBack", member: func(m *faulty) {
		m.receive = func(r hub.BackplaneReceiver) hub.BackplaneReceiver {
			return relay{BackplaneReceiver: r, restored: func() {
				if topics := m.Topics(); len(topics) > 50 {
					_ = m.Backplane.Unsubscribe(context.Background(), topics...)
					time.AfterFunc(time.Millisecond, func() { _ = m.Backplane.Subscribe(context.Background(), topics...) })
				}
				r.Restored()
			}}
		}
	}},

	{name: "two words at the start", breaks: "RestoredOnceAtStart", member: func(m *faulty) {
		m.start = func(ctx context.Context, r hub.BackplaneReceiver) error {
			err := m.Backplane.Start(ctx, r)
			if err == nil && !m.w.isDown() {
				r.Restored()
			}
			return err
		}
	}},
	{name: "no start without a broker", breaks: "StartWhileAway", also: []string{"CloseWhileBroken"}, member: func(m *faulty) {
		m.start = func(ctx context.Context, r hub.BackplaneReceiver) error {
			if m.w.isDown() {
				return errFault
			}
			return m.Backplane.Start(ctx, r)
		}
	}},
	{name: "a word at the start without a broker", breaks: "StartWhileAway", member: func(m *faulty) {
		m.start = func(ctx context.Context, r hub.BackplaneReceiver) error {
			if m.w.isDown() {
				r.Restored()
			}
			return m.Backplane.Start(ctx, r)
		}
	}},
	{name: "closing needs the broker", breaks: "CloseWhileBroken", member: func(m *faulty) {
		m.shut = func() error {
			err := m.Backplane.Close()
			if m.w.isDown() {
				err = errFault
			}
			return err
		}
	}},
	{name: "closing needs a start", breaks: "CloseBeforeStart", member: func(m *faulty) {
		m.shut = func() error {
			if err := m.Backplane.Close(); m.isStarted() {
				return err
			}
			return errFault
		}
	}},
	{name: "closing twice is an error", breaks: "CloseTwice", member: func(m *faulty) {
		m.shut = func() error {
			if err := m.Backplane.Close(); m.call() == 1 {
				return err
			}
			return errFault
		}
	}},
	{name: "closing disturbs the others", breaks: "CloseLeavesOthersAlone", member: func(m *faulty) {
		m.shut = func() error {
			for _, other := range m.w.others(m) {
				other.Disrupt(errFault)
			}
			return m.Backplane.Close()
		}
	}},
	{name: "closing ends the others' subscriptions", breaks: "CloseLeavesOthersAlone", also: []string{"NoCallAfterClose"}, member: func(m *faulty) {
		m.shut = func() error {
			for _, other := range m.w.others(m) {
				_ = other.Backplane.Unsubscribe(context.Background(), m.Topics()...)
			}
			return m.Backplane.Close()
		}
	}},
	{name: "the closed hear of healing", breaks: "NoCallAfterClose", deployment: func(w *world, h *hubtest.BackplaneHarness) {
		heal := h.Heal
		h.Heal = func(t testing.TB) {
			heal(t)
			for _, m := range w.others(nil) {
				if m.isStarted() && m.isClosed() {
					m.receiver.Restored()
				}
			}
		}
	}},
	{name: "the closed get what is published", breaks: "NoCallAfterClose", member: func(m *faulty) {
		m.publish = func(ctx context.Context, p hub.Publication) (hub.Published, error) {
			out, err := m.Backplane.Publish(ctx, p)
			for _, other := range m.w.others(m) {
				if err == nil && other.isStarted() && other.isClosed() {
					other.receiver.Deliver(hub.Delivery{Topic: p.Topic, Envelope: p.Envelope})
				}
			}
			return out, err
		}
	}},
	{name: "the closed publish", breaks: "UseAfterClose", member: func(m *faulty) {
		m.publish = func(ctx context.Context, p hub.Publication) (hub.Published, error) {
			if m.isClosed() {
				return hub.Published{}, nil
			}
			return m.Backplane.Publish(ctx, p)
		}
	}},
	{name: "the closed subscribe", breaks: "UseAfterClose", member: func(m *faulty) {
		m.subscribe = func(ctx context.Context, topics []hub.Topic) error {
			if m.isClosed() {
				return nil
			}
			return m.Backplane.Subscribe(ctx, topics...)
		}
	}},
	{name: "the closed start again", breaks: "UseAfterClose", also: []string{"CloseBeforeStart"}, member: func(m *faulty) {
		m.start = func(ctx context.Context, r hub.BackplaneReceiver) error {
			if m.isClosed() {
				return nil
			}
			return m.Backplane.Start(ctx, r)
		}
	}},
	{name: "a goroutine stays", breaks: "NoGoroutineLeft", member: func(m *faulty) {
		m.start = func(ctx context.Context, r hub.BackplaneReceiver) error {
			go func() { <-m.w.release }()
			return m.Backplane.Start(ctx, r)
		}
	}},
	{name: "an ability that comes with the start", breaks: "AbilitiesNeverChange", member: func(m *faulty) {
		m.abilities = func() hub.Abilities {
			if m.isStarted() {
				return hub.Abilities{History: &noHistory{}}
			}
			return hub.Abilities{}
		}
	}},
	{name: "an ability that is not declared", breaks: "AbilitiesNeverChange", member: func(m *faulty) {
		history := &noHistory{}
		m.abilities = func() hub.Abilities { return hub.Abilities{History: history} }
	}},
	{name: "an ability that is declared and lacks", breaks: "AbilitiesNeverChange", deployment: func(_ *world, h *hubtest.BackplaneHarness) {
		h.Features.History = true
	}},
}

// noHistory is an ability by name alone.
type noHistory struct{ hub.History }
