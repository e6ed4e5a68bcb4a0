package hubtest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"forge.lthn.ai/core/go-ws/hub"
)

const (
	// backplaneHang is when a check gives up waiting.
	backplaneHang = time.Minute
	// backplaneGrace is how long after its context's end a call may return. It
	// is generous: it must tell a call that obeys from one that does not, on a
	// machine that is busy. It is well below backplaneHang, which ends both.
	backplaneGrace = 20 * time.Second
	// backplaneProbe begins envelopes that are sent until one arrives.
	backplaneProbe = "probe:"
)

// backplaneEnv is what one check works with.
type backplaneEnv struct {
	testing.TB
	h      BackplaneHarness
	broken bool
	number int
}

func newBackplaneEnv(t testing.TB, h BackplaneHarness) *backplaneEnv {
	e := &backplaneEnv{TB: t, h: h}
	t.Cleanup(func() {
		if e.broken {
			e.h.Heal(t)
		}
	})
	return e
}

// next numbers what has to be unlike within a check.
func (e *backplaneEnv) next() int {
	e.number++
	return e.number
}

// breakAll and healAll cut and mend the deployment. What a check leaves broken
// is mended after it.
func (e *backplaneEnv) breakAll() {
	e.Helper()
	e.h.Break(e.TB)
	e.broken = true
}

func (e *backplaneEnv) healAll() {
	e.Helper()
	e.h.Heal(e.TB)
	e.broken = false
}

// within runs f, and fails where it does not return.
func (e *backplaneEnv) within(what string, f func()) {
	e.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	e.wait(what, done)
}

func (e *backplaneEnv) wait(what string, done <-chan struct{}) {
	e.Helper()
	hang := time.NewTimer(backplaneHang)
	defer hang.Stop()
	select {
	case <-done:
	case <-hang.C:
		e.Fatalf("%s: got nothing for %v, want it to be done", what, backplaneHang)
	}
}

// prompt runs a call with a context that ends after d and fails where the call
// outlives it.
func (e *backplaneEnv) prompt(what string, d time.Duration, call func(context.Context) error) error {
	e.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	var err error
	start := time.Now()
	e.within(what, func() { err = call(ctx) })
	if took := time.Since(start); took > d+backplaneGrace {
		e.Errorf("%s: returned after %v, want at the latest when its context ends after %v", what, took, d)
	}
	return err
}

// must is prompt for calls that have to succeed.
func (e *backplaneEnv) must(what string, call func(context.Context) error) {
	e.Helper()
	if err := e.prompt(what, backplaneHang/2, call); err != nil {
		e.Fatalf("%s: got %v, want nil", what, err)
	}
}

// eventually tries again until there is no error.
func (e *backplaneEnv) eventually(what string, try func() error) {
	e.Helper()
	end := time.Now().Add(backplaneHang)
	for {
		err := try()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			e.Fatalf("%s: got %v for %v, want it to succeed", what, err, backplaneHang)
		}
		pause := time.NewTimer(10 * time.Millisecond)
		<-pause.C
	}
}

// suiteMember is one member of the deployment and what it was told.
type suiteMember struct {
	*suiteReceiver
	e  *backplaneEnv
	bp hub.Backplane
}

// unstarted makes one that the check starts itself.
func (e *backplaneEnv) unstarted() *suiteMember {
	e.Helper()
	r := &suiteReceiver{e: e, changed: make(chan struct{}), envelopes: make(map[hub.Topic][]string)}
	m := &suiteMember{e: e, bp: e.h.New(e.TB), suiteReceiver: r}
	e.Cleanup(func() { e.within("Close", func() { m.bp.Close() }) })
	return m
}

// start must succeed, whether the broker is away or not.
func (m *suiteMember) start() {
	m.e.Helper()
	m.e.must("Start", func(ctx context.Context) error { return m.bp.Start(ctx, m.suiteReceiver) })
}

// connected makes a member and waits until it has its broker.
func (e *backplaneEnv) connected() *suiteMember {
	e.Helper()
	m := e.unstarted()
	m.connect()
	return m
}

func (m *suiteMember) connect() {
	m.e.Helper()
	m.start()
	m.await("Restored after Start", func(r *suiteReceiver) bool { return r.restored > 0 })
}

// pair is a subscriber of the topics, and another member that reaches it.
func (e *backplaneEnv) pair(topics ...hub.Topic) (sub, pub *suiteMember) {
	e.Helper()
	sub, pub = e.connected(), e.connected()
	sub.join(pub, topics...)
	return sub, pub
}

// join subscribes, and waits until pub reaches the topics.
func (m *suiteMember) join(pub *suiteMember, topics ...hub.Topic) {
	m.e.Helper()
	m.e.must("Subscribe", func(ctx context.Context) error { return m.bp.Subscribe(ctx, topics...) })
	m.reachable(pub, topics...)
}

// reachable waits until pub reaches topics that m is subscribed to, where that
// may take a while.
func (m *suiteMember) reachable(pub *suiteMember, topics ...hub.Topic) {
	m.e.Helper()
	if m.e.h.Features.EventualInterest {
		for _, topic := range topics {
			m.reachedBy(pub, topic)
		}
	}
}

// reachedBy publishes until something arrives, which is how a check waits for
// what takes a while without promising when. Probes may arrive late.
func (m *suiteMember) reachedBy(pub *suiteMember, topic hub.Topic) {
	m.e.Helper()
	end := time.Now().Add(backplaneHang)
	for {
		probe := fmt.Sprintf("%s%d", backplaneProbe, m.e.next())
		err := m.e.prompt("Publish", backplaneHang/2, func(ctx context.Context) error {
			return pub.try(ctx, topic, probe)
		})
		if err == nil && m.arrives(topic, probe, 100*time.Millisecond) {
			return
		}
		if time.Now().After(end) {
			m.e.Fatalf("topic %q: nothing arrived for %v; the last Publish returned %v", topic, backplaneHang, err)
		}
	}
}

func (m *suiteMember) try(ctx context.Context, topic hub.Topic, envelope string) error {
	_, err := m.bp.Publish(ctx, hub.Publication{Topic: topic, ID: "id", Envelope: []byte(envelope)})
	return err
}

// publish must succeed.
func (m *suiteMember) publish(topic hub.Topic, envelopes ...string) {
	m.e.Helper()
	for _, envelope := range envelopes {
		m.e.must("Publish", func(ctx context.Context) error { return m.try(ctx, topic, envelope) })
	}
}

// publishAgain publishes until the broker takes it, for the time just after it
// came back. What failed before may be delivered too.
func (m *suiteMember) publishAgain(topic hub.Topic, envelope string) {
	m.e.Helper()
	end := time.Now().Add(backplaneHang)
	for {
		err := m.e.prompt("Publish", backplaneHang/2, func(ctx context.Context) error { return m.try(ctx, topic, envelope) })
		if err == nil {
			return
		}
		if time.Now().After(end) {
			m.e.Fatalf("Publish after Heal: got %v for %v, want nil", err, backplaneHang)
		}
		pause := time.NewTimer(10 * time.Millisecond)
		<-pause.C
	}
}

// suiteReceiver writes down what a backplane tells it.
type suiteReceiver struct {
	e *backplaneEnv
	// on, if set, sees every delivery first. It is set before Start.
	on func(hub.Delivery)

	mu        sync.Mutex
	changed   chan struct{} // closed and replaced at every call
	total     int           // deliveries
	envelopes map[hub.Topic][]string
	restored  int
	disrupted int
	signals   []string
}

func (r *suiteReceiver) note(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f()
	close(r.changed)
	r.changed = make(chan struct{})
}

func (r *suiteReceiver) Deliver(d hub.Delivery) {
	if r.on != nil {
		r.on(d)
	}
	envelope := string(d.Envelope) // a copy: some backplane under test may change it
	r.note(func() {
		r.total++
		r.envelopes[d.Topic] = append(r.envelopes[d.Topic], envelope)
	})
}

func (r *suiteReceiver) Disrupted(err error) {
	r.note(func() { r.disrupted++; r.signals = append(r.signals, fmt.Sprintf("Disrupted(%v)", err)) })
}

func (r *suiteReceiver) Restored() {
	r.note(func() { r.restored++; r.signals = append(r.signals, "Restored") })
}

// await waits until the condition holds, which is called with r locked.
func (r *suiteReceiver) await(what string, condition func(*suiteReceiver) bool) {
	r.e.Helper()
	if !r.holds(condition, backplaneHang) {
		r.mu.Lock()
		got := fmt.Sprintf("%d deliveries, signals %q", r.total, r.signals)
		r.mu.Unlock()
		r.e.Fatalf("got %s after %v, want %s", got, backplaneHang, what)
	}
}

func (r *suiteReceiver) holds(condition func(*suiteReceiver) bool, patience time.Duration) bool {
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	for {
		r.mu.Lock()
		ok, changed := condition(r), r.changed
		r.mu.Unlock()
		if ok {
			return true
		}
		select {
		case <-changed:
		case <-timeout.C:
			return false
		}
	}
}

// arrives reports whether an envelope comes, or has come.
func (r *suiteReceiver) arrives(topic hub.Topic, envelope string, patience time.Duration) bool {
	seen := 0
	return r.holds(func(r *suiteReceiver) bool {
		from := seen
		seen = len(r.envelopes[topic])
		return slices.Contains(r.envelopes[topic][from:], envelope)
	}, patience)
}

// expect waits for the marker, which was published last, and compares all that
// the topic got before it. Probes are left out.
func (r *suiteReceiver) expect(topic hub.Topic, marker string, want ...string) {
	r.e.Helper()
	if !r.arrives(topic, marker, backplaneHang) {
		r.e.Fatalf("topic %q: got %q after %v, want %q at last", topic, r.only(topic), backplaneHang, marker)
	}
	want = append(slices.Clip(want), marker)
	if got := r.only(topic); !slices.Equal(got, want) {
		r.e.Errorf("topic %q: got %s, want %s", topic, brief(got), brief(want))
	}
}

// only is what one topic got, but for probes.
func (r *suiteReceiver) only(topic hub.Topic) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(r.envelopes[topic]), func(envelope string) bool {
		return strings.HasPrefix(envelope, backplaneProbe)
	})
}

// strangers are the topics of deliveries that are none of these.
func (r *suiteReceiver) strangers(topics ...hub.Topic) []hub.Topic {
	r.mu.Lock()
	defer r.mu.Unlock()
	var got []hub.Topic
	for topic := range r.envelopes {
		if !slices.Contains(topics, topic) {
			got = append(got, topic)
		}
	}
	return got
}

// count says how often an envelope came, on whatever topic.
func (r *suiteReceiver) count(envelope string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	for _, envelopes := range r.envelopes {
		for _, got := range envelopes {
			if got == envelope {
				n++
			}
		}
	}
	return n
}

func (r *suiteReceiver) disruptions() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.disrupted
}

func (r *suiteReceiver) restorations() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.restored
}

func (r *suiteReceiver) signalled() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.signals)
}

// called counts all calls.
func (r *suiteReceiver) called() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.total + len(r.signals)
}

func brief(envelopes []string) string {
	if len(envelopes) > 20 {
		return fmt.Sprintf("%.40q and %d more", envelopes[:20], len(envelopes)-20)
	}
	return fmt.Sprintf("%.40q", envelopes)
}
