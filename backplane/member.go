package backplane

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"

	"forge.lthn.ai/core/go-ws/hub"
)

// member is one hub's way to the bus.
type member struct {
	bus *Memory
	// topics that the member is on; guarded by bus.mu.
	topics map[hub.Topic]struct{}

	mu       sync.Mutex
	receiver hub.BackplaneReceiver // nil until Start
	declared map[string]bool       // the logs; nil until Declare
	closed   bool
	calls    int           // calls of the receiver that are under way
	idle     chan struct{} // closed when closed is set and calls is zero
}

// Start makes the member a part of the bus.
func (m *member) Start(ctx context.Context, r hub.BackplaneReceiver) error {
	if r == nil {
		return errors.New("backplane: start: no receiver")
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("backplane: start: %w", err)
	}
	b := m.bus
	b.signals.Lock()
	defer b.signals.Unlock()
	if err := m.open(r); err != nil {
		return err
	}
	b.started[m] = struct{}{}
	b.mu.RLock()
	broken := b.broken
	b.mu.RUnlock()
	if !broken {
		m.call(hub.BackplaneReceiver.Restored)
	}
	return nil
}

func (m *member) open(r hub.BackplaneReceiver) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.closed:
		return errors.New("backplane: start: closed")
	case m.receiver != nil:
		return errors.New("backplane: start: started before")
	}
	m.receiver = r
	return nil
}

// Publish delivers to everyone who is subscribed. See the package's comment.
func (m *member) Publish(ctx context.Context, p hub.Publication) (hub.Published, error) {
	if err := ctx.Err(); err != nil {
		return hub.Published{}, fmt.Errorf("backplane: publish: %w", err)
	}
	if err := m.usable(); err != nil {
		return hub.Published{}, err
	}
	if limit := m.bus.maxPayload; limit > 0 && len(p.Envelope) > limit {
		return hub.Published{}, fmt.Errorf("backplane: publish %d bytes, at most %d: %w", len(p.Envelope), limit, hub.ErrTooLarge)
	}
	hold := m.bus.hold
	if p.Log != "" {
		if err := m.knows(p.Log); err != nil {
			return hub.Published{}, err
		}
		hold = m.bus.holdLogged
	}
	t, err := hold(p.Topic)
	if t == nil {
		return hub.Published{}, err
	}
	defer m.bus.release(p.Topic, t)
	select {
	case t.turn <- struct{}{}:
	case <-ctx.Done():
		return hub.Published{}, fmt.Errorf("backplane: publish: %w", ctx.Err())
	}
	defer func() { <-t.turn }()
	// The caller may use its bytes again, receivers may keep theirs: one copy
	// for all of them.
	d := hub.Delivery{Topic: p.Topic, Envelope: bytes.Clone(p.Envelope)}
	if p.Log != "" {
		var double bool
		if d, double = m.bus.logs.append(p.Log, p.ID, d); double {
			return hub.Published{Position: d.Position, Duplicate: true}, nil
		}
	}
	for _, to := range t.list() {
		to.deliver(d)
	}
	return hub.Published{Position: d.Position}, nil
}

// Subscribe joins topics. It waits for nothing.
func (m *member) Subscribe(ctx context.Context, topics ...hub.Topic) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("backplane: subscribe: %w", err)
	}
	return m.bus.subscribe(m, topics)
}

// Unsubscribe leaves topics. It waits for nothing, so the context does not
// matter, and works while the bus is down.
func (m *member) Unsubscribe(_ context.Context, topics ...hub.Topic) error {
	if err := m.usable(); err != nil {
		return err
	}
	m.bus.unsubscribe(m, topics)
	return nil
}

// Abilities of the memory backplane: a History.
func (m *member) Abilities() hub.Abilities { return hub.Abilities{History: (*memberHistory)(m)} }

// Close leaves the bus and waits until the receiver is let alone.
func (m *member) Close() error {
	if m.shut() {
		m.bus.leave(m)
		m.bus.signals.Lock()
		delete(m.bus.started, m)
		m.bus.signals.Unlock()
	}
	<-m.idle
	return nil
}

// shut lets no further call of the receiver begin.
func (m *member) shut() (first bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return false
	}
	m.closed = true
	if m.calls == 0 {
		close(m.idle)
	}
	return true
}

// usable says what keeps the member from being used, if anything does.
func (m *member) usable() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.closed:
		return fmt.Errorf("backplane: closed: %w", hub.ErrUnavailable)
	case m.receiver == nil:
		return fmt.Errorf("backplane: not started: %w", hub.ErrUnavailable)
	}
	return nil
}

func (m *member) deliver(d hub.Delivery) {
	if r := m.enter(); r != nil {
		defer m.exit()
		r.Deliver(d)
	}
}

func (m *member) call(f func(hub.BackplaneReceiver)) {
	if r := m.enter(); r != nil {
		defer m.exit()
		f(r)
	}
}

// enter begins a call of the receiver; nil means that there must be none.
func (m *member) enter() hub.BackplaneReceiver {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed || m.receiver == nil {
		return nil
	}
	m.calls++
	return m.receiver
}

func (m *member) exit() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.calls--
	if m.closed && m.calls == 0 {
		close(m.idle)
	}
}
