package backplane

import (
	"fmt"
	"sync"

	"forge.lthn.ai/core/go-ws/hub"
)

// side is one of a Dual's two.
type side int

const (
	fromSide side = iota
	toSide
)

func (s side) String() string { return [...]string{"from", "to"}[s] }

// dualReceiver is what one side calls.
type dualReceiver struct {
	dual     *Dual
	receiver hub.BackplaneReceiver
	side     side
}

// Deliver hands on what is no copy, one at a time for each topic.
func (r *dualReceiver) Deliver(d hub.Delivery) {
	if isCopy(d.Envelope) {
		r.dual.copies.Add(1)
		return
	}
	if r.side == toSide {
		d.Position, d.Previous = hub.Position{}, hub.Position{}
	}
	t := r.dual.topics.hold(d.Topic)
	if t == nil {
		return
	}
	defer r.dual.topics.release(d.Topic, t)
	t.turn <- struct{}{}
	defer func() { <-t.turn }()
	r.receiver.Deliver(d)
}

// Disrupted hands on the loss of either side.
func (r *dualReceiver) Disrupted(err error) {
	r.dual.signal.disrupted(r.side, fmt.Errorf("backplane: dual: %v: %w", r.side, err))
}

// Restored is handed on when both sides are up.
func (r *dualReceiver) Restored() { r.dual.signal.restored(r.side) }

// dualSignals makes one state of two.
type dualSignals struct {
	// mu is held while the receiver is told, so that the last word is how things
	// are. Nothing else is locked meanwhile, and the receiver does not block.
	mu       sync.Mutex
	receiver hub.BackplaneReceiver
	up       [2]bool
	told     bool // the receiver's last word was Restored
}

func (s *dualSignals) set(r hub.BackplaneReceiver) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.receiver == nil {
		s.receiver = r
	}
}

func (s *dualSignals) disrupted(side side, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.up[side], s.told = false, false
	s.receiver.Disrupted(err)
}

func (s *dualSignals) restored(side side) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.up[side] = true
	if s.up[fromSide] && s.up[toSide] && !s.told {
		s.told = true
		s.receiver.Restored()
	}
}

// dualTopics are the topics that are subscribed, and those on which something is
// being delivered.
type dualTopics struct {
	mu  sync.Mutex
	all map[hub.Topic]*dualTopic
}

// dualTopic must not be replaced by another one while something is delivered:
// its turn is what keeps the two sides apart.
type dualTopic struct {
	// turn holds one token, which a side has while it calls the receiver.
	turn chan struct{}

	// Guarded by dualTopics.mu.
	subscribed bool
	holders    int // deliveries
}

// hold finds a topic for a delivery; nil where nobody is subscribed.
func (ts *dualTopics) hold(name hub.Topic) *dualTopic {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	t := ts.all[name]
	if t == nil || !t.subscribed {
		return nil
	}
	t.holders++
	return t
}

func (ts *dualTopics) release(name hub.Topic, t *dualTopic) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	t.holders--
	ts.dropLocked(name, t)
}

func (ts *dualTopics) dropLocked(name hub.Topic, t *dualTopic) {
	if !t.subscribed && t.holders == 0 {
		delete(ts.all, name)
	}
}

// add subscribes topics and returns those that were not.
func (ts *dualTopics) add(topics []hub.Topic) (fresh map[hub.Topic]bool) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	fresh = make(map[hub.Topic]bool)
	for _, name := range topics {
		t := ts.all[name]
		if t == nil {
			t = &dualTopic{turn: make(chan struct{}, 1)}
			ts.all[name] = t
		}
		if !t.subscribed {
			t.subscribed, fresh[name] = true, true
		}
	}
	return fresh
}

func (ts *dualTopics) remove(topics []hub.Topic) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	for _, name := range topics {
		if t := ts.all[name]; t != nil {
			t.subscribed = false
			ts.dropLocked(name, t)
		}
	}
}

func (ts *dualTopics) len() int {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	return len(ts.all)
}
