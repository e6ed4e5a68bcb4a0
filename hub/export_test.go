package hub

import (
	"context"
	"net/http"
	"net/netip"
	"time"
)

// Inner parts, for the tests of each by itself.
type (
	Window    = window
	Sources   = sources
	Sequencer = sequencer
	Recent    = recent
	Seats     = seats
	RateLimit = rateLimit
	Held      = topic
)

const (
	WindowSize   = windowSize
	MaxOverdue   = maxOverdue
	MaxSources   = maxSources
	MaxSequenced = maxSequenced

	RecentTime = recentTime
	RecentMax  = recentMax

	RateAllowed = rateAllowed
	RateOver    = rateOver
	RateFlood   = rateFlood

	Appended         = appended
	AppendedSchedule = appendedSchedule
	AppendSealed     = appendSealed
	AppendOverflow   = appendOverflow

	InterestBatch = interestBatch
	LingerTime    = lingerTime
	MaxLingering  = maxLingering
	FirstBackoff  = firstBackoff
	MaxBackoff    = maxBackoff
)

func (h *Hub) OriginAllowed(r *http.Request) bool       { return h.originAllowed(r) }
func (h *Hub) ClientAddress(r *http.Request) netip.Addr { return h.clientAddress(r) }

// Effective is the configuration with its defaults.
func (h *Hub) Effective() Config { return h.cfg }

func (w *window) Check(seq uint64) (fresh bool, missed int64) { return w.check(seq) }

// Overdue is how many numbers the window remembers that have not come.
func (w *window) Overdue() int { return len(w.overdue) }

func (s *sources) Check(source string, seq uint64) (fresh bool, missed int64) {
	return s.check(source, seq)
}

func (s *sources) Len() int { return len(s.windows) }

func (s *sequencer) Next(t Topic) uint64 { return s.next(t) }

func (s *sequencer) Len() int { return len(s.last) }

func (r *recent) Add(t Topic, id string) bool { return r.add(t, id, time.Now()) }

func (r *recent) Remove(t Topic, id string) { r.remove(t, id) }

// Sizes are of the set and of its order: always the same.
func (r *recent) Sizes() (seen, order int) { return len(r.seen), len(r.order) }

func NewRateLimit(perSecond, burst int) *RateLimit {
	r := newRateLimit(&Config{MaxMessagesPerSecond: perSecond, MessageBurst: burst}, time.Now())
	return &r
}

func (r *rateLimit) Take() rateVerdict { return r.take(time.Now()) }

func (s *seats) Take(cfg Config, user string, a netip.Addr) (seat, RefusalCause) {
	return s.take(&cfg, user, a)
}

func (s *seats) Give(place seat) { s.give(place) }

// Occupied is how many clients there are, and how many users and networks are
// remembered for them.
func (s *seats) Occupied() (total, users, networks int) {
	return s.total, len(s.user), len(s.address)
}

// Outbox is an outbox and what it counts.
type Outbox struct {
	o   outbox
	cfg Config
	n   counters
}

func NewOutbox(cfg Config) *Outbox {
	b := &Outbox{cfg: cfg}
	b.o.drained = make(chan struct{})
	return b
}

func (b *Outbox) Append(f Frame, key string) appendOutcome { return b.o.append(&b.cfg, &b.n, f, key) }

func (b *Outbox) Take() []Frame { return b.o.take(nil) }

func (b *Outbox) Settle(taken, bytes int, blocked, failed bool) (again bool) {
	return b.o.settle(&b.cfg, &b.n, taken, bytes, blocked, failed)
}

func (b *Outbox) Wake() (schedule bool)                  { return b.o.wake() }
func (b *Outbox) Seal()                                  { b.o.seal() }
func (b *Outbox) Abandon()                               { b.o.abandon(&b.n) }
func (b *Outbox) BlockedFor(now time.Time) time.Duration { return b.o.blockedFor(now) }
func (b *Outbox) IsBlocked() bool                        { return b.o.isBlocked() }
func (b *Outbox) Dropped() (overflow, replaced, gone uint64) {
	return b.n.droppedOverflow.Load(), b.n.droppedReplaced.Load(), b.n.droppedGone.Load()
}

func (b *Outbox) Drained() bool {
	select {
	case <-b.o.drained:
		return true
	default:
		return false
	}
}

// Waiting is what the outbox believes to hold, and how many keys it remembers.
func (b *Outbox) Waiting() (messages, bytes, keys, capacity int) {
	b.o.mu.Lock()
	defer b.o.mu.Unlock()
	return len(b.o.queue), b.o.bytes, len(b.o.keys), cap(b.o.queue)
}

// Line is a flusher without workers.
type Line struct{ f *flusher }

func NewLine() Line { return Line{newFlusher(nil)} }

func (l Line) Push(c ...*Client) { l.f.push(c...) }

// Pop must not be called on an empty line.
func (l Line) Pop() *Client {
	c, _ := l.f.pop()
	return c
}

func (l Line) Cap() int { return cap(l.f.line) }

func (h *Hub) Hold(t Topic) *Held { return h.interest.hold(t) }

func (h *Hub) Await(ctx context.Context, t *Held) (live bool, err error) {
	return h.interest.await(ctx, t)
}

func (h *Hub) Release(t *Held) { h.interest.release(t) }

// Interest is the state of a hub's interest, its counters checked against a
// count of the topics.
type Interest struct {
	Topics, Live, Lingering, Local, Joining, Leaving int
	// Entries are of the lists of those that join and linger.
	JoiningEntries, LingeringEntries int
	Pending, LocalCounted            int
	Backoff                          time.Duration
	Batch                            int
}

func (h *Hub) Interest() Interest {
	in := h.interest
	in.mu.Lock()
	defer in.mu.Unlock()
	s := Interest{
		Topics: len(in.topics), JoiningEntries: len(in.joining), LingeringEntries: len(in.lingering),
		Pending: in.pending, LocalCounted: in.local, Backoff: in.backoff, Batch: in.size,
	}
	for _, t := range in.topics {
		switch t.state {
		case topicJoining:
			s.Joining++
		case topicLocal:
			s.Local++
		case topicLive:
			s.Live++
		case topicLingering:
			s.Lingering++
		case topicLeaving:
			s.Leaving++
		}
	}
	return s
}

// Watched is how many clients the clock watches for their full socket, and how
// many stand on its wheel.
func (h *Hub) Watched() (blocked, standing int) {
	b := h.heartbeat
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, slot := range b.slots {
		standing += len(slot)
	}
	return len(b.blocked), standing
}
