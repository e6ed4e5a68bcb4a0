package hub

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"
)

// interest is what this hub listens to at the backplane, and the one goroutine
// that tells the backplane. Joins and leaves are gathered and told many at
// once, one call at a time, so a topic's joins and leaves can't overtake each
// other and a frozen broker holds up one goroutine only.
//
//	       hold            told                release             linger over
//	idle ───────▶ joining ───────▶ live ──────────────▶ lingering ────────────▶ leaving ─▶ idle
//	                │  ▲            ▲        hold          │                        │
//	         failed ▼  │ retry      └──────────────────────┘        hold: joining again
//	               local
//
// Whoever holds a topic waits for it outside of any lock. A topic that could
// not be joined is local: its clients hear this hub alone until a retry.
type interest struct {
	hub    *Hub
	bp     Backplane
	wake   chan struct{}
	cancel context.CancelFunc
	ctx    context.Context
	wait   sync.WaitGroup

	mu     sync.Mutex
	topics map[Topic]*topic
	// joining and lingering are the topics in those states, in order; entries
	// that have changed state since are passed over.
	joining   []*topic
	lingering []lingerer
	// retryAt is when topics that are local are joined again; zero: nothing to
	// retry.
	retryAt time.Time
	backoff time.Duration
	// restored: the adapter says that its subscriptions are live.
	restored bool
	// pending and local count the topics that are not live, and those of them
	// that have failed to become so.
	pending, local int
	// size is how many topics the next batch may have. It shrinks when a batch
	// fails, so that one topic that the broker refuses can't keep others away.
	size int
	// leaveAfter holds back leaving while it fails.
	leaveAfter time.Time
}

type topicState uint8

const (
	topicJoining topicState = iota
	topicLocal
	topicLive
	topicLingering
	topicLeaving
)

type topic struct {
	name  Topic
	state topicState
	refs  int
	// told: a call to the backplane about the topic is under way.
	told bool
	// failures counts the calls to join it that have failed.
	failures int
	// ready is closed when the first attempt to join has ended.
	ready chan struct{}
	// leaveAt is when a lingering topic is left.
	leaveAt time.Time
	// sources guards against what came twice; see sequence.go.
	sources sources
}

// lingerer is a topic that lingers until at, unless it was held since.
type lingerer struct {
	topic *topic
	at    time.Time
}

// stale reports whether the topic was held since.
func (l lingerer) stale() bool {
	return l.topic.state != topicLingering || !l.topic.leaveAt.Equal(l.at)
}

const (
	interestBatch    = 512
	lingerTime       = 2 * time.Second
	maxLingering     = 4096
	firstBackoff     = 100 * time.Millisecond
	maxBackoff       = 5 * time.Second
	leaveTellTimeout = 5 * time.Second
)

func newInterest(h *Hub, bp Backplane) *interest {
	ctx, cancel := context.WithCancel(context.Background())
	return &interest{
		hub: h, bp: bp, ctx: ctx, cancel: cancel,
		wake:   make(chan struct{}, 1),
		topics: make(map[Topic]*topic),
		size:   interestBatch,
	}
}

func (in *interest) start() { in.wait.Go(in.run) }

func (in *interest) stop() {
	in.cancel()
	in.wait.Wait()
}

// hold adds a holder to a topic. The topic is joined in the background.
func (in *interest) hold(name Topic) *topic {
	in.mu.Lock()
	defer in.mu.Unlock()
	t := in.topics[name]
	if t == nil {
		t = &topic{name: name}
		in.topics[name] = t
		in.joinLocked(t)
	}
	t.refs++
	if t.state == topicLingering {
		t.state = topicLive
	}
	return t
}

func (in *interest) joinLocked(t *topic) {
	t.state = topicJoining
	t.ready = make(chan struct{})
	in.joining = append(in.joining, t)
	in.pending++
	in.poke()
}

// await waits until a held topic's first attempt to join has ended, and reports
// whether the topic is live.
func (in *interest) await(ctx context.Context, t *topic) (live bool, err error) {
	for {
		in.mu.Lock()
		state, ready := t.state, t.ready
		in.mu.Unlock()
		switch state {
		case topicLive, topicLingering:
			return true, nil
		case topicLocal:
			return false, nil
		}
		select {
		case <-ready:
		case <-ctx.Done():
			return false, ctx.Err()
		case <-in.ctx.Done():
			return false, ErrNotRunning
		}
	}
}

// release takes a holder off a topic.
func (in *interest) release(t *topic) {
	in.mu.Lock()
	defer in.mu.Unlock()
	t.refs--
	switch {
	case t.refs > 0:
	case t.state == topicLive:
		in.lingerLocked(t)
	case t.state == topicLocal && !t.told:
		in.local--
		in.pending--
		delete(in.topics, t.name)
	}
}

// lingerLocked keeps a topic for a while, since people reload pages.
func (in *interest) lingerLocked(t *topic) {
	t.state = topicLingering
	t.leaveAt = time.Now().Add(lingerTime)
	in.lingering = append(in.lingering, lingerer{t, t.leaveAt})
	if len(in.lingering) == 1 || len(in.lingering) > maxLingering {
		in.poke()
	}
}

func (in *interest) poke() {
	select {
	case in.wake <- struct{}{}:
	default:
	}
}

// find returns a topic that this hub is on.
func (in *interest) find(name Topic) *topic {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.topics[name]
}

func (in *interest) healthy() bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.restored && in.local == 0
}

// counts returns how many topics are live, and how many wait to be.
func (in *interest) counts() (live, pending int) {
	in.mu.Lock()
	defer in.mu.Unlock()
	return len(in.topics) - in.pending, in.pending
}

// setRestored takes the adapter's word about its subscriptions.
func (in *interest) setRestored(restored bool) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.restored = restored
	if !restored {
		return
	}
	// A call that is under way may fail yet, of what was before.
	in.backoff = 0
	if !in.retryAt.IsZero() {
		in.retryAt = time.Now()
		in.poke()
	}
}

func (in *interest) run() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-in.ctx.Done():
			return
		case <-in.wake:
		case <-timer.C:
		}
		for in.step() {
		}
		if next, ok := in.nextDue(); ok {
			timer.Reset(max(time.Until(next), 0))
		}
	}
}

// step tells the backplane one batch of joins and one of leaves. It reports
// whether there was anything to tell.
func (in *interest) step() bool {
	if in.ctx.Err() != nil {
		return false
	}
	joins := in.takeJoins()
	if len(joins) > 0 {
		in.settleJoins(joins, in.tell(in.bp.Subscribe, in.hub.cfg.BackplaneTimeout, joins))
	}
	leaves := in.takeLeaves()
	if len(leaves) > 0 {
		in.settleLeaves(leaves, in.tell(in.bp.Unsubscribe, leaveTellTimeout, leaves))
	}
	return len(joins)+len(leaves) > 0
}

func (in *interest) tell(call func(context.Context, ...Topic) error, timeout time.Duration, topics []*topic) error {
	ctx, cancel := context.WithTimeout(in.ctx, timeout)
	defer cancel()
	names := make([]Topic, len(topics))
	for i, t := range topics {
		names[i] = t.name
	}
	return call(ctx, names...)
}

// takeJoins returns the next topics to join, those due for a retry included.
func (in *interest) takeJoins() []*topic {
	in.mu.Lock()
	defer in.mu.Unlock()
	if !in.retryAt.IsZero() && !time.Now().Before(in.retryAt) {
		in.retryAt = time.Time{}
		in.retryLocked()
	}
	var batch []*topic
	for len(in.joining) > 0 && len(batch) < in.size {
		t := in.joining[0]
		if in.joining = in.joining[1:]; len(in.joining) == 0 {
			in.joining = nil
		}
		if in.topics[t.name] == t {
			t.told = true
			batch = append(batch, t)
		}
	}
	return batch
}

// retryLocked joins all local topics again. Their waiters have gone on: they stay
// local until they are live. Those that took part in the fewest failures come
// first: where the broker refuses one topic, those beside it come away from it.
func (in *interest) retryLocked() {
	for _, t := range in.topics {
		if t.state == topicLocal {
			in.joining = append(in.joining, t)
		}
	}
	slices.SortFunc(in.joining, func(a, b *topic) int { return cmp.Compare(a.failures, b.failures) })
}

func (in *interest) settleJoins(batch []*topic, err error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if err == nil {
		in.backoff = 0
		in.size = min(2*in.size, interestBatch)
	} else {
		if !errors.Is(err, context.Canceled) {
			in.hub.cfg.Logger.Debug("joining topics failed", slog.Int("topics", len(batch)), slog.Any("error", err))
		}
		in.backoff = min(max(2*in.backoff, firstBackoff), maxBackoff)
		in.retryAt = time.Now().Add(in.backoff)
		in.size = max(in.size/2, 1)
		for _, t := range batch {
			t.failures++
		}
		// Those that have not been told would wait just as long.
		batch = append(batch, in.joining...)
		in.joining = nil
	}
	for _, t := range batch {
		t.told = false
		if in.topics[t.name] == t {
			in.settleJoinLocked(t, err == nil)
		}
	}
}

func (in *interest) settleJoinLocked(t *topic, joined bool) {
	switch t.state {
	case topicJoining:
		close(t.ready)
		in.local++
	case topicLocal:
	default:
		return
	}
	t.state = topicLocal
	switch {
	case joined:
		in.local--
		in.pending--
		t.state, t.failures = topicLive, 0
		if t.refs == 0 {
			in.lingerLocked(t)
		}
	case t.refs == 0:
		in.local--
		in.pending--
		delete(in.topics, t.name)
	}
}

// takeLeaves returns the next topics that have lingered for long enough.
func (in *interest) takeLeaves() []*topic {
	in.mu.Lock()
	defer in.mu.Unlock()
	now := time.Now()
	if now.Before(in.leaveAfter) {
		return nil
	}
	var batch []*topic
	for len(in.lingering) > 0 && len(batch) < interestBatch {
		first := in.lingering[0]
		if !first.stale() {
			if first.at.After(now) && len(in.lingering) <= maxLingering {
				break
			}
			first.topic.state = topicLeaving
			first.topic.ready = make(chan struct{})
			in.pending++
			batch = append(batch, first.topic)
		}
		in.lingering[0] = lingerer{}
		if in.lingering = in.lingering[1:]; len(in.lingering) == 0 {
			in.lingering = nil
		}
	}
	return batch
}

func (in *interest) settleLeaves(batch []*topic, err error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if err != nil {
		in.hub.cfg.Logger.Debug("leaving topics failed", slog.Int("topics", len(batch)), slog.Any("error", err))
		in.leaveAfter = time.Now().Add(lingerTime)
	}
	for _, t := range batch {
		in.pending--
		close(t.ready)
		switch {
		case t.refs > 0:
			in.joinLocked(t)
		case err != nil && len(in.lingering) < maxLingering:
			in.lingerLocked(t)
		default:
			// Past the bound a topic that can't be left is forgotten: what
			// still arrives on it is dropped.
			delete(in.topics, t.name)
		}
	}
}

// nextDue is when run has something to do by itself.
func (in *interest) nextDue() (time.Time, bool) {
	in.mu.Lock()
	defer in.mu.Unlock()
	at := in.retryAt
	if len(in.lingering) > 0 {
		leave := in.lingering[0].at
		if leave.Before(in.leaveAfter) {
			leave = in.leaveAfter
		}
		at = earlier(at, leave)
	}
	return at, !at.IsZero()
}
