package traffic

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"forge.lthn.ai/core/go-ws/hub"
)

// hang is when waiting is given up.
const hang = time.Minute

// Config says what runs. Only New is required.
type Config struct {
	// New makes the backplane of one member, not started. It is called in Start,
	// once for each member.
	New func(t testing.TB) hub.Backplane
	// Members of the fleet. Default 2.
	Members int
	// Channels that every subscriber is on. Default 3.
	Channels int
	// Publishers of each member. Default 2.
	Publishers int
	// Bare leaves the hubs out: the members are backplanes alone, and a
	// subscriber sees what Deliver gets. Hubs drop what comes twice, bare
	// backplanes show it.
	Bare bool
	// Hub configures the hubs. Transport and Backplane are set here, and so are
	// outboxes that don't overflow, unless it sets them.
	Hub hub.Config
	// Pace is the time between two publications of one publisher. Default 2 ms.
	Pace time.Duration
	// PublishTimeout is the context's of each publish. Default a minute: one that
	// waits for a core of a busy machine is no failure.
	PublishTimeout time.Duration
	// Padding is how many bytes are added to each message.
	Padding int
	// LateAfterError accepts that a publication whose Publish has failed arrives
	// after later ones of its publisher: its outcome is unknown, and it may
	// still have been under way.
	LateAfterError bool
}

// Run is a fleet at work. Its methods are called from the test's goroutine.
type Run struct {
	t   testing.TB
	cfg Config
	ledger
	members []*Member
	nextPub int
}

// Start starts a fleet and returns when each subscriber hears each publisher on
// each channel. The test's end stops it.
func Start(t testing.TB, cfg Config) *Run {
	t.Helper()
	if cfg.New == nil {
		t.Fatal("traffic: a Config needs New")
	}
	for field, value := range map[*int]int{&cfg.Members: 2, &cfg.Channels: 3, &cfg.Publishers: 2} {
		if *field == 0 {
			*field = value
		}
	}
	if cfg.Pace == 0 {
		cfg.Pace = 2 * time.Millisecond
	}
	if cfg.PublishTimeout == 0 {
		cfg.PublishTimeout = hang
	}
	r := &Run{t: t, cfg: cfg}
	r.init()
	t.Cleanup(func() {
		for _, m := range r.members {
			m.end(t)
		}
	})
	for range cfg.Members {
		r.add(cfg.New(t))
	}
	r.flow(nil)
	for _, m := range r.members {
		r.begins(m.sub)
	}
	return r
}

// Members are those that have not left.
func (r *Run) Members() []*Member { return append([]*Member(nil), r.members...) }

// Join adds a member with a backplane of its own, and returns when it hears
// everybody and is heard by everybody.
func (r *Run) Join(bp hub.Backplane) *Member {
	r.t.Helper()
	m := r.add(bp)
	r.flow(nil)
	r.begins(m.sub)
	return m
}

// Leave takes a member out: its subscriber must have got everything until this
// call, and what it published counts at the others as before. The member is
// closed when Leave returns.
func (r *Run) Leave(m *Member) {
	r.t.Helper()
	at := r.now()
	r.flow(func(s *subscriber) bool { return s == m.sub })
	r.ends(m.sub, at)
	m.stopPublishing()
	r.retire(m.publishers)
	for i, other := range r.members {
		if other == m {
			r.members = append(r.members[:i:i], r.members[i+1:]...)
			break
		}
	}
	m.end(r.t)
}

// Flow waits until each subscriber has heard each publisher on each channel
// with something that was published after this call, and returns how long that
// took. It fails the test after a minute.
func (r *Run) Flow() time.Duration {
	r.t.Helper()
	at := r.now()
	r.flow(nil)
	return r.now() - at
}

// Until waits until a condition holds, which is asked after everything that
// happens. It fails the test after a minute.
func (r *Run) Until(what string, condition func() bool) {
	r.t.Helper()
	if err := r.wait(func() string {
		if condition() {
			return ""
		}
		return "the condition does not hold"
	}); err != nil {
		r.t.Fatalf("traffic: %s: %v", what, err)
	}
}

// Begin begins a span in which publications may fail and be lost, those that
// are under way at this moment included. It is called before the fault.
func (r *Run) Begin(name string) *Span {
	s := &Span{run: r, name: name, began: r.now(), ended: forever}
	r.addSpan(s)
	return s
}

// Span is a time in which something is wrong.
type Span struct {
	run          *Run
	name         string
	began, ended time.Duration // ended is guarded by the ledger's mu
}

// End waits until everything flows again, as Flow does, and ends the span. It
// returns how long that took.
func (s *Span) End() time.Duration {
	s.run.t.Helper()
	took := s.run.Flow()
	s.run.endSpan(s)
	return took
}

// Stop waits until everything flows, stops the fleet and reports. What is
// published while it stops counts no more.
func (r *Run) Stop() *Report {
	r.t.Helper()
	at := r.now()
	r.flow(nil)
	for _, m := range r.members {
		r.ends(m.sub, at)
	}
	for _, m := range r.members {
		m.stopPublishing()
	}
	for _, m := range r.members {
		m.end(r.t)
	}
	return r.report(at)
}

// add starts a member with its publishers.
func (r *Run) add(bp hub.Backplane) *Member {
	r.t.Helper()
	m := &Member{id: r.countMembers(), bp: bp, stop: make(chan struct{}), run: r}
	m.sub = r.addSubscriber(m.id)
	r.members = append(r.members, m)
	var err error
	if r.cfg.Bare {
		err = m.startBare()
	} else {
		err = m.startHub()
	}
	if err != nil {
		r.t.Fatalf("traffic: member %d: %v", m.id, err)
	}
	for range r.cfg.Publishers {
		id := r.nextPub
		r.nextPub++
		r.addPublisher(id, r.cfg.Channels)
		m.publishers = append(m.publishers, id)
		m.work.Go(func() { m.publishOn(id) })
	}
	return m
}

// flow waits until the subscribers that which chooses have heard what is
// published from now on. Nil chooses all.
func (r *Run) flow(which func(*subscriber) bool) {
	r.t.Helper()
	at := r.now()
	if err := r.wait(func() string { return r.silence(at, which) }); err != nil {
		r.t.Fatalf("traffic: waiting until everything flows: %v", err)
	}
}

func channelName(i int) string { return fmt.Sprintf("traffic-%d", i) }

// publishOn is one publisher.
func (m *Member) publishOn(id int) {
	pace := time.NewTicker(m.run.cfg.Pace)
	defer pace.Stop()
	for turn := 0; ; turn++ {
		select {
		case <-m.stop:
			return
		case <-pace.C:
		}
		s := stream{publisher: id, channel: turn % m.run.cfg.Channels}
		number := m.run.publishing(s)
		ctx, cancel := context.WithTimeout(context.Background(), m.run.cfg.PublishTimeout)
		err := m.publish(ctx, channelName(s.channel), encode(s, number, m.run.cfg.Padding))
		cancel()
		m.run.published(s, number, err)
	}
}

// stopPublishing waits for the publishers.
func (m *Member) stopPublishing() {
	m.once.Do(func() { close(m.stop) })
	m.work.Wait()
}

// Member is a hub or a bare backplane with a subscriber and publishers.
type Member struct {
	run        *Run
	id         int
	bp         hub.Backplane
	hub        *hub.Hub
	sub        *subscriber
	publishers []int

	once    sync.Once
	stop    chan struct{}
	work    sync.WaitGroup // publishers
	publish func(ctx context.Context, channel, text string) error
	close   func(t testing.TB)
	closed  sync.Once
}

// ID counts members from zero, in the order in which they came.
func (m *Member) ID() int { return m.id }

// Hub is the member's hub; nil where backplanes are bare.
func (m *Member) Hub() *hub.Hub { return m.hub }

// Signals says how often a bare member's receiver was told Disrupted and
// Restored.
func (m *Member) Signals() (disrupted, restored int) { return m.run.countSignals(m.id) }

func (m *Member) end(t testing.TB) {
	m.stopPublishing()
	m.closed.Do(func() {
		if m.close != nil {
			m.close(t)
		}
	})
}
