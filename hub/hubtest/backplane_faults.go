package hubtest

import (
	"context"
	"fmt"
	"sync"

	"forge.lthn.ai/core/go-ws/hub"
)

// BackplaneFaults is what a Backplane does wrong: hooks that it calls on its
// way, on the goroutine of the caller or of the publisher. A nil hook does no
// harm. Hooks may block, for as long as the context allows, which is how a test
// delays; they may be called concurrently, Deliver one at a time.
type BackplaneFaults struct {
	// Publish is called before anything is published. Its error is returned and
	// nothing is published.
	Publish func(ctx context.Context, p hub.Publication) error
	// Acknowledge is called after everything was delivered. Its error is
	// returned, as when the broker's answer is lost on its way.
	Acknowledge func(ctx context.Context, p hub.Publication) error
	// Subscribe is called before the topics are joined. Its error is returned
	// and none of them is.
	Subscribe func(ctx context.Context, topics []hub.Topic) error
	// Deliver gets what is to be delivered to this member, and returns what is
	// delivered instead, in that order: nothing to drop, twice the same to
	// duplicate, one kept back and handed out after a later one to reorder. See
	// DropNext, Duplicate and SwapNext.
	Deliver func(d hub.Delivery) []hub.Delivery
}

// SetFaults makes the member misbehave from now on, in place of what it was
// told before. Calls under way keep to the old faults.
func (m *Backplane) SetFaults(f BackplaneFaults) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.faults = f
}

// Disrupt reports a loss to the receiver, as when the broker dropped something
// of a slow reader, and that all is well again.
func (m *Backplane) Disrupt(err error) {
	m.broker.signals.Lock()
	defer m.broker.signals.Unlock()
	m.call(func(r hub.BackplaneReceiver) {
		r.Disrupted(err)
		r.Restored()
	})
}

// Deliver hands a delivery to the receiver past the broker and past the faults,
// whether the member is subscribed or not: what a test kept back, or what no
// broker would send. It waits for the publication that is being delivered, so
// that no two deliveries overlap, and is not called from a hook.
func (m *Backplane) Deliver(d hub.Delivery) {
	m.broker.turn <- struct{}{}
	defer func() { <-m.broker.turn }()
	m.call(func(r hub.BackplaneReceiver) { r.Deliver(d) })
}

// DropNext is a Deliver hook that loses the next n deliveries.
func DropNext(n int) func(hub.Delivery) []hub.Delivery {
	return func(d hub.Delivery) []hub.Delivery {
		if n > 0 {
			n--
			return nil
		}
		return []hub.Delivery{d}
	}
}

// Duplicate is a Deliver hook that delivers everything twice.
func Duplicate(d hub.Delivery) []hub.Delivery { return []hub.Delivery{d, d} }

// SwapNext is a Deliver hook that delivers the next one after the one behind
// it; those that follow come as they are.
func SwapNext() func(hub.Delivery) []hub.Delivery {
	seen := 0
	var kept hub.Delivery
	return func(d hub.Delivery) []hub.Delivery {
		seen++
		switch seen {
		case 1:
			kept = d
			return nil
		case 2:
			return []hub.Delivery{d, kept}
		}
		return []hub.Delivery{d}
	}
}

// Gate holds calls back: its Wait is for the hooks of BackplaneFaults, and
// stands for a broker that is frozen. The zero value is shut.
type Gate struct {
	once sync.Once
	mu   sync.Mutex
	open chan struct{}
}

// Wait returns when the gate is open, or with the context's error.
func (g *Gate) Wait(ctx context.Context) error {
	select {
	case <-g.opened():
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Open lets everybody through who waits or comes. It may be called twice.
func (g *Gate) Open() {
	opened := g.opened()
	g.once.Do(func() { close(opened) })
}

func (g *Gate) opened() chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.open == nil {
		g.open = make(chan struct{})
	}
	return g.open
}

// deliver needs the broker's turn.
func (m *Backplane) deliver(d hub.Delivery) {
	m.mu.Lock()
	hook := m.faults.Deliver
	m.mu.Unlock()
	deliveries := []hub.Delivery{d}
	if hook != nil {
		deliveries = hook(d)
	}
	for _, d := range deliveries {
		m.call(func(r hub.BackplaneReceiver) { r.Deliver(d) })
	}
}

// tell tells the receiver how things stand, unless it knows. It needs the
// broker's signals.
func (m *Backplane) tell(down bool) {
	up := !down && m.reachable()
	m.mu.Lock()
	change := m.told != up
	m.told = up
	m.mu.Unlock()
	switch {
	case change && up:
		m.call(hub.BackplaneReceiver.Restored)
	case change:
		m.call(func(r hub.BackplaneReceiver) {
			r.Disrupted(fmt.Errorf("hubtest: the broker is away: %w", hub.ErrUnavailable))
		})
	}
}

// call calls the receiver, unless the member is closed.
func (m *Backplane) call(f func(hub.BackplaneReceiver)) {
	m.mu.Lock()
	if m.closed || m.receiver == nil {
		m.mu.Unlock()
		return
	}
	m.calls++
	r := m.receiver
	m.mu.Unlock()
	defer func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.calls--
		if m.closed && m.calls == 0 {
			close(m.idle)
		}
	}()
	f(r)
}
