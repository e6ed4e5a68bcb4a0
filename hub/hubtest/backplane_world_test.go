package hubtest_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"forge.lthn.ai/core/go-ws/hub"
	"forge.lthn.ai/core/go-ws/hub/hubtest"
)

// world is the deployment of one run of one check, and what its faults share.
type world struct {
	broker  *hubtest.Broker
	release chan struct{} // closed when the check is over
	mended  []func()      // the check's goroutine's

	mu       sync.Mutex
	down     bool
	members  []*faulty
	current  *faulty // the one that publishes, where publishing is serial
	envelope []byte  // and its bytes
	got      int     // members that have got what it publishes
	inFlight int

	positionIDs sync.Map // id of a position by the one that it is told as, for faults
}

func newWorld() *world {
	return &world{
		broker:  hubtest.NewBroker(hubtest.BrokerConfig{MaxPayload: fakeMaxPayload}),
		release: make(chan struct{}),
	}
}

// harness makes members that sabotage prepares.
func (w *world) harness(sabotage func(*faulty)) hubtest.BackplaneHarness {
	return hubtest.BackplaneHarness{
		New: func(testing.TB) hub.Backplane {
			m := newFaulty(w)
			sabotage(m)
			w.mu.Lock()
			defer w.mu.Unlock()
			w.members = append(w.members, m)
			return m
		},
		Break:    func(testing.TB) { w.setDown(true); w.broker.Break() },
		Heal:     func(testing.TB) { w.setDown(false); w.broker.Heal() },
		FailSome: w.failSome,
		FailNone: func(testing.TB) { w.mend() },
		Features: hubtest.BackplaneFeatures{MaxPayload: fakeMaxPayload, PartialSubscribe: true},
	}
}

func (w *world) mend() {
	w.broker.Refuse()
	for _, f := range w.mended {
		f()
	}
}

// onMend is called for each member when nothing is refused any more.
func (w *world) onMend(f func()) { w.mended = append(w.mended, f) }

// failSome refuses every third topic.
func (w *world) failSome(_ testing.TB, topics []hub.Topic) (failed []hub.Topic) {
	for i := 0; i < len(topics); i += 3 {
		failed = append(failed, topics[i])
	}
	w.broker.Refuse(failed...)
	return failed
}

func (w *world) setDown(down bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.down = down
}

func (w *world) isDown() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.down
}

func (w *world) others(than *faulty) (others []*faulty) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, m := range w.members {
		if m != than {
			others = append(others, m)
		}
	}
	return others
}

// faulty is a member of the fake broker whose methods a fault replaces. Those
// that it does not replace do the right thing.
type faulty struct {
	*hubtest.Backplane
	w *world

	start       func(context.Context, hub.BackplaneReceiver) error
	publish     func(context.Context, hub.Publication) (hub.Published, error)
	subscribe   func(context.Context, []hub.Topic) error
	unsubscribe func(context.Context, []hub.Topic) error
	abilities   func() hub.Abilities
	shut        func() error

	// receive, if set, stands between the fake and the suite's receiver.
	receive func(hub.BackplaneReceiver) hub.BackplaneReceiver

	mu       sync.Mutex
	receiver hub.BackplaneReceiver // the suite's
	started  bool
	closed   bool
	calls    int // for faults that count
	counts   map[hub.Topic]int
}

func newFaulty(w *world) *faulty {
	m := &faulty{Backplane: w.broker.Join(), w: w, counts: make(map[hub.Topic]int)}
	m.start = m.Backplane.Start
	m.publish = m.Backplane.Publish
	m.subscribe = func(ctx context.Context, topics []hub.Topic) error { return m.Backplane.Subscribe(ctx, topics...) }
	m.unsubscribe = func(ctx context.Context, topics []hub.Topic) error { return m.Backplane.Unsubscribe(ctx, topics...) }
	m.abilities = m.Backplane.Abilities
	m.shut = m.Backplane.Close
	return m
}

func (m *faulty) Start(ctx context.Context, r hub.BackplaneReceiver) error {
	m.mu.Lock()
	m.receiver, m.started = r, true
	m.mu.Unlock()
	if m.receive != nil {
		r = m.receive(r)
	}
	return m.start(ctx, r)
}

func (m *faulty) Publish(ctx context.Context, p hub.Publication) (hub.Published, error) {
	return m.publish(ctx, p)
}
func (m *faulty) Subscribe(ctx context.Context, topics ...hub.Topic) error {
	return m.subscribe(ctx, topics)
}
func (m *faulty) Unsubscribe(ctx context.Context, topics ...hub.Topic) error {
	return m.unsubscribe(ctx, topics)
}
func (m *faulty) Abilities() hub.Abilities { return m.abilities() }

func (m *faulty) Close() error {
	err := m.shut()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	return err
}

func (m *faulty) isClosed() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.closed
}

func (m *faulty) isStarted() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.started
}

// count is how often it was called with the topic.
func (m *faulty) count(topic hub.Topic) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.counts[topic]++
	return m.counts[topic]
}

func (m *faulty) call() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.calls++
	return m.calls
}

// delivering replaces what is delivered to the member.
func (m *faulty) delivering(f func(hub.Delivery) []hub.Delivery) {
	m.SetFaults(hubtest.BackplaneFaults{Deliver: f})
}

// serially lets one member of the world publish at a time, so that a fault in
// delivery knows whose publication it handles.
func (m *faulty) serially() {
	m.publish = func(ctx context.Context, p hub.Publication) (hub.Published, error) {
		m.w.mu.Lock()
		defer m.w.mu.Unlock()
		m.w.current, m.w.envelope, m.w.got = m, p.Envelope, 0
		return m.Backplane.Publish(ctx, p)
	}
}

// publishing replaces publications.
func (m *faulty) publishing(f func(*hub.Publication)) {
	m.publish = func(ctx context.Context, p hub.Publication) (hub.Published, error) {
		f(&p)
		return m.Backplane.Publish(ctx, p)
	}
}

// liveAfter makes every nth Subscribe, or all of them for 0, return before it
// has taken effect.
func (m *faulty) liveAfter(milliseconds, nth int) {
	m.subscribe = func(ctx context.Context, topics []hub.Topic) error {
		if err := m.Backplane.Subscribe(ctx); err != nil || nth > 0 && m.call()%nth != 0 {
			return errors.Join(err, m.Backplane.Subscribe(ctx, topics...))
		}
		time.AfterFunc(time.Duration(milliseconds)*time.Millisecond, func() {
			// It may be closed by now.
			_ = m.Backplane.Subscribe(context.Background(), topics...)
		})
		return nil
	}
}

// relay is a receiver that a fault puts in between; nil functions hand on.
type relay struct {
	hub.BackplaneReceiver
	deliver   func(hub.Delivery)
	disrupted func(error)
	restored  func()
}

func (r relay) Deliver(d hub.Delivery) {
	if r.deliver != nil {
		r.deliver(d)
		return
	}
	r.BackplaneReceiver.Deliver(d)
}

func (r relay) Disrupted(err error) {
	if r.disrupted != nil {
		r.disrupted(err)
		return
	}
	r.BackplaneReceiver.Disrupted(err)
}

func (r relay) Restored() {
	if r.restored != nil {
		r.restored()
		return
	}
	r.BackplaneReceiver.Restored()
}
