package tests

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"forge.lthn.ai/core/go-ws/backplane/natsbp"
	"forge.lthn.ai/core/go-ws/backplane/natsbp/tests/natstest"
	"forge.lthn.ai/core/go-ws/hub"
)

// member is a backplane and what it told its receiver.
type member struct {
	*natsbp.Backplane
	t testing.TB

	mu        sync.Mutex
	changed   chan struct{} // closed and replaced at every call
	envelopes map[hub.Topic][]string
	total     int
	signals   []string
	restored  int
	disrupted int
	block     chan struct{}        // Deliver waits for it, if set
	hooks     map[hub.Topic]func() // called by Deliver, instead of keeping the envelope
}

func (m *member) note(f func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f()
	close(m.changed)
	m.changed = make(chan struct{})
}

func (m *member) Deliver(d hub.Delivery) {
	m.mu.Lock()
	block, hook := m.block, m.hooks[d.Topic]
	m.mu.Unlock()
	if hook != nil {
		hook()
		return
	}
	m.note(func() { m.total++; m.envelopes[d.Topic] = append(m.envelopes[d.Topic], string(d.Envelope)) })
	if block != nil {
		<-block
	}
}

func (m *member) Disrupted(err error) {
	m.note(func() { m.disrupted++; m.signals = append(m.signals, fmt.Sprintf("Disrupted(%v)", err)) })
}

func (m *member) Restored() {
	m.note(func() { m.restored++; m.signals = append(m.signals, "Restored") })
}

// await waits until the condition holds, which is called with m locked.
func (m *member) await(what string, condition func(*member) bool) {
	m.t.Helper()
	timeout := time.NewTimer(natstest.Hang)
	defer timeout.Stop()
	for {
		m.mu.Lock()
		ok, changed := condition(m), m.changed
		got := fmt.Sprintf("%d deliveries, signals %q", m.total, m.signals)
		m.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-changed:
		case <-timeout.C:
			m.t.Fatalf("got %s after %v, want %s", got, natstest.Hang, what)
		}
	}
}

// arrives waits for an envelope.
func (m *member) arrives(topic hub.Topic, envelope string) {
	m.t.Helper()
	m.await(fmt.Sprintf("%q on %q", envelope, topic), func(m *member) bool {
		for _, e := range m.envelopes[topic] {
			if e == envelope {
				return true
			}
		}
		return false
	})
}

// on calls f for each delivery on a topic.
func (m *member) on(topic hub.Topic, f func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.hooks = map[hub.Topic]func(){topic: f}
}

// got are the envelopes that came on a topic, but for probes of the test.
func (m *member) got(topic hub.Topic) []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var got []string
	for _, e := range m.envelopes[topic] {
		if !strings.HasPrefix(e, "probe ") {
			got = append(got, e)
		}
	}
	return got
}

func (m *member) said() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]string(nil), m.signals...)
}

func (m *member) disruptions() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.disrupted
}

// newMember makes one that is closed when the test ends.
func newMember(t testing.TB, cfg natsbp.Config) *member {
	t.Helper()
	m := &member{Backplane: mustNew(t, cfg), t: t, changed: make(chan struct{}), envelopes: make(map[hub.Topic][]string)}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Errorf("Close: got %v, want nil", err)
		}
	})
	return m
}

// connected makes one that has its server.
func connected(t testing.TB, cfg natsbp.Config) *member {
	t.Helper()
	m := newMember(t, cfg)
	m.start()
	m.await("Restored", func(m *member) bool { return m.restored > 0 })
	return m
}

func (m *member) start() {
	m.t.Helper()
	if err := m.Start(within(m.t, natstest.Hang), m); err != nil {
		m.t.Fatalf("Start: got %v, want nil", err)
	}
}

func (m *member) join(topics ...hub.Topic) {
	m.t.Helper()
	if err := m.Subscribe(within(m.t, natstest.Hang), topics...); err != nil {
		m.t.Fatalf("Subscribe: got %v, want nil", err)
	}
}

func (m *member) try(ctx context.Context, topic hub.Topic, envelope string) error {
	_, err := m.Publish(ctx, hub.Publication{Topic: topic, ID: "id", Envelope: []byte(envelope)})
	return err
}

func (m *member) publish(topic hub.Topic, envelopes ...string) {
	m.t.Helper()
	for _, e := range envelopes {
		if err := m.try(within(m.t, natstest.Hang), topic, e); err != nil {
			m.t.Fatalf("Publish %.40q: got %v, want nil", e, err)
		}
	}
}

// within is a context that ends with the test, or after d.
func within(t testing.TB, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

// logged is a logger, and what it wrote.
type logged struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func (l *logged) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}))
}
