package hub

import (
	"context"
	"net/http"
	"net/netip"
	"slices"
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

	MaxPeers     = maxPeers
	AskBurst     = askBurst
	AnswerBurst  = answerBurst
	MaxGathering = maxGathering
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
	o     outbox
	cfg   Config
	n     counters
	batch []Frame
}

func NewOutbox(cfg Config) *Outbox {
	b := &Outbox{cfg: cfg}
	b.o.drained = make(chan struct{})
	return b
}

func (b *Outbox) Append(f Frame, key string) appendOutcome {
	return b.o.append(&b.cfg, &b.n, f, key, source{})
}

func (b *Outbox) Take() []Frame {
	b.batch, _ = b.o.take(nil)
	return b.batch
}

func (b *Outbox) Settle(taken, bytes int, blocked, failed bool) (again bool) {
	return b.o.settle(&b.cfg, &b.n, b.batch[taken:], bytes, blocked, failed)
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
	messages, bytes = b.o.waiting()
	return messages, bytes, len(b.o.keys), cap(b.o.queue)
}

func (o *outbox) waiting() (messages, bytes int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.cleared {
		return 0, 0
	}
	messages, bytes = o.inFlight+len(o.queue), o.bytes
	if o.follows != nil {
		s := &o.follows.channel.stream
		messages += len(s.frames) - o.place.index
		bytes += s.bytes - o.place.bytes
	}
	return messages, bytes
}

// Crowd is clients on channels, without connections and without workers.
type Crowd struct {
	h       *Hub
	clients []*Client
	subs    []map[string]*subscription
	batches [][]Frame
}

func NewCrowd(h *Hub, clients int) *Crowd {
	c := &Crowd{h: h, batches: make([][]Frame, clients)}
	for range clients {
		client := &Client{hub: h}
		client.out.drained = make(chan struct{})
		c.clients = append(c.clients, client)
		c.subs = append(c.subs, make(map[string]*subscription))
	}
	return c
}

func (c *Crowd) Join(i int, channel string) {
	c.subs[i][channel] = c.h.channels.add(channel, c.clients[i], nil)
}

func (c *Crowd) Leave(i int, channel string) {
	c.h.channels.remove(c.subs[i][channel])
	delete(c.subs[i], channel)
}

// Publish puts a message into the outboxes of a channel's clients and returns
// for how many, and which clients were to be scheduled, and ended.
func (c *Crowd) Publish(channel string, frame Frame, key string) (queued int, scheduled, overflowed []int) {
	var f fanOut
	if ch := c.h.channels.find(channel); ch != nil {
		ch.mu.Lock()
		ch.deliverLocked(c.h, &f, frame, key)
		ch.mu.Unlock()
	}
	return c.outcome(&f)
}

// Send puts a message into one client's outbox.
func (c *Crowd) Send(i int, frame Frame, key string) (queued int, scheduled, overflowed []int) {
	var f fanOut
	f.add(c.h, c.clients[i], frame, key, source{})
	return c.outcome(&f)
}

func (c *Crowd) outcome(f *fanOut) (queued int, scheduled, overflowed []int) {
	for _, client := range f.scheduled[:f.n] {
		scheduled = append(scheduled, slices.Index(c.clients, client))
	}
	for _, client := range f.overflowed {
		overflowed = append(overflowed, slices.Index(c.clients, client))
	}
	slices.Sort(scheduled)
	slices.Sort(overflowed)
	return f.queued, scheduled, overflowed
}

func (c *Crowd) Take(i int) []Frame {
	c.batches[i], _ = c.clients[i].out.take(nil)
	return c.batches[i]
}

func (c *Crowd) Settle(i, taken, bytes int, blocked, failed bool) (again bool) {
	return c.clients[i].out.settle(&c.h.cfg, &c.h.count, c.batches[i][taken:], bytes, blocked, failed)
}

func (c *Crowd) Wake(i int) (schedule bool)          { return c.clients[i].out.wake() }
func (c *Crowd) Seal(i int)                          { c.clients[i].out.seal() }
func (c *Crowd) Abandon(i int)                       { c.clients[i].out.abandon(&c.h.count) }
func (c *Crowd) Waiting(i int) (messages, bytes int) { return c.clients[i].out.waiting() }
func (c *Crowd) Follows(i int) bool                  { return c.clients[i].out.follows != nil }

// Stream is what a channel's stream holds: its messages, and how much of its
// lists is in use.
func (c *Crowd) Stream(channel string) (messages, bytes, followers, apart, left, capacity int) {
	ch := c.h.channels.find(channel)
	if ch == nil {
		return
	}
	s := &ch.stream
	return len(s.frames), s.bytes, s.followers, len(s.apart), s.left, cap(s.frames)
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
