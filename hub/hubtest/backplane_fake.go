package hubtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"forge.lthn.ai/core/go-ws/hub"
)

// BrokerConfig configures a Broker. The zero value is ready for use.
type BrokerConfig struct {
	// MaxPayload is the largest envelope that the broker takes, in bytes. Zero
	// means no limit.
	MaxPayload int
	// History gives the members a hub.History, whose logs live as long as the
	// Broker. Ids are known again for two minutes.
	History bool
}

// Broker is a broker within the process, for tests of what stands on a
// hub.Backplane. Its members do whatever the port promises, and whatever it
// does not promise when they are told to: see BackplaneFaults. There is no
// goroutine and no timer in it, so it works in testing/synctest bubbles.
//
// Programs that join the hubs of one process use package backplane instead.
type Broker struct {
	maxPayload int
	// turn holds a token for the one publication that is being delivered.
	turn chan struct{}
	// signals serialises Disrupted and Restored. It is taken before mu.
	signals sync.Mutex

	mu      sync.Mutex
	down    bool
	members []*Backplane // those started and not closed, oldest first
	refused map[hub.Topic]bool
	logs    *fakeLogs // nil where there is no history
}

// NewBroker makes a broker that is up.
func NewBroker(cfg BrokerConfig) *Broker {
	b := &Broker{maxPayload: cfg.MaxPayload, turn: make(chan struct{}, 1)}
	if cfg.History {
		b.logs = newFakeLogs()
	}
	return b
}

// Join makes another member, for one hub.
func (b *Broker) Join() *Backplane {
	return &Backplane{broker: b, topics: make(map[hub.Topic]bool), idle: make(chan struct{})}
}

// Break takes the broker down: publishing and subscribing fail with
// hub.ErrUnavailable, and every member is told Disrupted.
func (b *Broker) Break() { b.set(func() { b.down = true }) }

// Heal brings the broker back with all subscriptions, and tells every member
// that can reach it Restored.
func (b *Broker) Heal() { b.set(func() { b.down = false }) }

// Refuse makes Subscribe fail for these topics alone, with a
// *hub.SubscribeError, from now on: they are in a part of the broker that is
// away, or in an access list. Without topics nothing is refused any more. What is
// subscribed stays so.
func (b *Broker) Refuse(topics ...hub.Topic) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.refused = make(map[hub.Topic]bool)
	for _, topic := range topics {
		b.refused[topic] = true
	}
}

// Publish publishes as a program does that speaks to the broker itself, without
// a hub: the envelope may be plain JSON, or rubbish.
func (b *Broker) Publish(topic hub.Topic, envelope []byte) {
	b.turn <- struct{}{}
	defer func() { <-b.turn }()
	b.deliver(hub.Delivery{Topic: topic, Envelope: bytes.Clone(envelope)})
}

// deliver needs the turn.
func (b *Broker) deliver(d hub.Delivery) {
	b.mu.Lock()
	to := slices.DeleteFunc(slices.Clone(b.members), func(m *Backplane) bool {
		return !m.topics[d.Topic] || b.down || m.cut
	})
	b.mu.Unlock()
	for _, m := range to {
		m.deliver(d)
	}
}

// set changes what members can reach and tells them.
func (b *Broker) set(change func()) {
	b.signals.Lock()
	defer b.signals.Unlock()
	b.mu.Lock()
	change()
	down, members := b.down, slices.Clone(b.members)
	b.mu.Unlock()
	for _, m := range members {
		m.tell(down)
	}
}

// Backplane is a member of a Broker: a hub.Backplane that a test can tell to
// misbehave. Deliver is called on the goroutine of whoever publishes, and
// Publish returns when every receiver has been called.
type Backplane struct {
	broker *Broker

	// Guarded by broker.mu.
	topics   map[hub.Topic]bool
	cut      bool
	declared map[string]bool // the logs; nil before Declare

	mu       sync.Mutex
	receiver hub.BackplaneReceiver
	told     bool // the receiver's last word was Restored
	closed   bool
	calls    int           // calls of the receiver under way
	idle     chan struct{} // closed when closed is set and calls is zero
	faults   BackplaneFaults
}

var _ hub.Backplane = (*Backplane)(nil)

// Break cuts this one member's way to the broker. What is published meanwhile
// never reaches it.
func (m *Backplane) Break() { m.broker.set(func() { m.cut = true }) }

// Heal mends what Break cut.
func (m *Backplane) Heal() { m.broker.set(func() { m.cut = false }) }

// Topics are those that the member is subscribed to, sorted.
func (m *Backplane) Topics() []hub.Topic {
	m.broker.mu.Lock()
	defer m.broker.mu.Unlock()
	topics := make([]hub.Topic, 0, len(m.topics))
	for topic := range m.topics {
		topics = append(topics, topic)
	}
	slices.Sort(topics)
	return topics
}

// Start connects the member.
func (m *Backplane) Start(ctx context.Context, r hub.BackplaneReceiver) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("hubtest: start: %w", err)
	}
	if err := m.open(r); err != nil {
		return err
	}
	m.broker.set(func() { m.broker.members = append(m.broker.members, m) })
	return nil
}

func (m *Backplane) open(r hub.BackplaneReceiver) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case r == nil:
		return errors.New("hubtest: start: no receiver")
	case m.closed:
		return errors.New("hubtest: start: closed")
	case m.receiver != nil:
		return errors.New("hubtest: start: started before")
	}
	m.receiver = r
	return nil
}

// Publish delivers to every member that is subscribed.
func (m *Backplane) Publish(ctx context.Context, p hub.Publication) (hub.Published, error) {
	faults, err := m.ready(ctx)
	if err == nil && faults.Publish != nil {
		err = faults.Publish(ctx, p)
	}
	var published hub.Published
	if err == nil {
		published, err = m.publish(ctx, p)
	}
	if err == nil && faults.Acknowledge != nil {
		err = faults.Acknowledge(ctx, p)
	}
	if err != nil {
		return hub.Published{}, fmt.Errorf("hubtest: publish: %w", err)
	}
	return published, nil
}

func (m *Backplane) publish(ctx context.Context, p hub.Publication) (hub.Published, error) {
	b := m.broker
	if b.maxPayload > 0 && len(p.Envelope) > b.maxPayload {
		return hub.Published{}, hub.ErrTooLarge
	}
	select {
	case b.turn <- struct{}{}:
	case <-ctx.Done():
		return hub.Published{}, ctx.Err()
	}
	defer func() { <-b.turn }()
	if !m.reachable() {
		return hub.Published{}, hub.ErrUnavailable
	}
	d := hub.Delivery{Topic: p.Topic, Envelope: bytes.Clone(p.Envelope)}
	if p.Log == "" || b.logs == nil {
		b.deliver(d)
		return hub.Published{}, nil
	}
	d, double, err := m.append(p.Log, p.ID, d)
	if err == nil && !double {
		b.deliver(d)
	}
	return hub.Published{Position: d.Position, Duplicate: double}, err
}

// Subscribe joins topics at once. Its error is a *hub.SubscribeError where the
// broker refuses some of them.
func (m *Backplane) Subscribe(ctx context.Context, topics ...hub.Topic) error {
	faults, err := m.ready(ctx)
	if err == nil && faults.Subscribe != nil {
		err = faults.Subscribe(ctx, topics)
	}
	if err == nil && !m.reachable() {
		err = hub.ErrUnavailable
	}
	if err != nil {
		return fmt.Errorf("hubtest: subscribe: %w", err)
	}
	if failed := m.join(topics); len(failed) > 0 {
		return fmt.Errorf("hubtest: subscribe: %w", &hub.SubscribeError{Failed: failed})
	}
	return nil
}

// join joins the topics that the broker does not refuse.
func (m *Backplane) join(topics []hub.Topic) (failed map[hub.Topic]error) {
	m.broker.mu.Lock()
	defer m.broker.mu.Unlock()
	failed = make(map[hub.Topic]error)
	for _, topic := range topics {
		if m.broker.refused[topic] && !m.topics[topic] {
			failed[topic] = errors.New("refused")
			continue
		}
		m.topics[topic] = true
	}
	return failed
}

// Unsubscribe leaves topics at once; the broker may be down.
func (m *Backplane) Unsubscribe(ctx context.Context, topics ...hub.Topic) error {
	if _, err := m.ready(ctx); err != nil {
		return fmt.Errorf("hubtest: unsubscribe: %w", err)
	}
	m.broker.mu.Lock()
	defer m.broker.mu.Unlock()
	for _, topic := range topics {
		delete(m.topics, topic)
	}
	return nil
}

// Abilities are a History, where the broker has one.
func (m *Backplane) Abilities() hub.Abilities {
	if m.broker.logs == nil {
		return hub.Abilities{}
	}
	return hub.Abilities{History: (*fakeHistory)(m)}
}

// Close leaves the broker and waits for calls of the receiver that are under
// way.
func (m *Backplane) Close() error {
	m.shut()
	m.broker.set(func() {
		clear(m.topics)
		m.broker.members = slices.DeleteFunc(m.broker.members, func(other *Backplane) bool { return other == m })
	})
	<-m.idle
	return nil
}

func (m *Backplane) shut() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.closed && m.calls == 0 {
		close(m.idle)
	}
	m.closed = true
}

// ready says whether the member can be used, and what is to go wrong.
func (m *Backplane) ready(ctx context.Context) (BackplaneFaults, error) {
	if err := ctx.Err(); err != nil {
		return BackplaneFaults{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.closed:
		return BackplaneFaults{}, fmt.Errorf("closed: %w", hub.ErrUnavailable)
	case m.receiver == nil:
		return BackplaneFaults{}, fmt.Errorf("not started: %w", hub.ErrUnavailable)
	}
	return m.faults, nil
}

func (m *Backplane) reachable() bool {
	m.broker.mu.Lock()
	defer m.broker.mu.Unlock()
	return !m.broker.down && !m.cut
}
