package hub

import (
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
// not be joined is local: its clients hear this hub alone until a retry. When
// the broker is silent or away, everybody who waits is answered so, and so is, at
// once, whoever comes before the next call that succeeds: nobody waits for
// longer than one call.
type interest struct {
	hub    *Hub
	bp     Backplane
	wake   chan struct{}
	cancel context.CancelFunc
	ctx    context.Context
	wait   sync.WaitGroup

	mu     sync.Mutex
	topics map[Topic]*topic
	// joining are the topics that wait to be told, in order.
	joining []*topic
	// lingering are the topics that linger, and some that were held again
	// since: each at most once. lingerers counts those that do linger.
	lingering []*topic
	lingerers int
	// retryAt is when topics that are local are joined again; zero: nothing to
	// retry.
	retryAt time.Time
	backoff time.Duration
	// restored: the adapter says that its subscriptions are live. disrupted: it
	// said so once, and that they are not any more.
	restored, disrupted bool
	// pending and local count the topics that are not live, and those of them
	// that have failed to become so.
	pending, local int
	// size is how many topics the next batch may have. It shrinks when a batch
	// fails, so that one topic that the broker refuses can't keep others away.
	size int
	// silent: the last call found the broker silent or away. It means nothing
	// after silentUntil, unless topics wait for a retry.
	silent      bool
	silentUntil time.Time
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
	// unsure: a call to leave it has failed, so that it may be subscribed though
	// it is not live.
	unsure bool
	// ready is closed when the first attempt to join has ended.
	ready chan struct{}
	// leaveAt is when a lingering topic is left. listed: it stands in
	// interest.lingering.
	leaveAt time.Time
	listed  bool
	// listedFor is leaveAt as it was when the topic was listed.
	listedFor time.Time
	// sources guards against what came twice; see sequence.go.
	sources sources
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
		in.lingerers--
	}
	return t
}

func (in *interest) joinLocked(t *topic) {
	in.pending++
	if in.silent && (in.local > 0 || time.Now().Before(in.silentUntil)) {
		// It is joined with the next retry.
		t.state = topicLocal
		in.local++
		in.retryLaterLocked()
		in.poke()
		return
	}
	t.state = topicJoining
	t.ready = make(chan struct{})
	in.joining = append(in.joining, t)
	in.poke()
}

// await waits until a held topic's first attempt to join has ended, and reports
// whether the topic is live.
func (in *interest) await(ctx context.Context, t *topic) (live bool, err error) {
	for {
		in.mu.Lock()
		state, ready, disrupted := t.state, t.ready, in.disrupted
		in.mu.Unlock()
		switch state {
		case topicLive, topicLingering:
			// The adapter brings it back by itself.
			return !disrupted, nil
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
		in.dropLocalLocked(t)
	}
}

// dropLocalLocked forgets a local topic that nobody holds.
func (in *interest) dropLocalLocked(t *topic) {
	in.local--
	in.pending--
	if t.unsure {
		in.lingerLocked(t)
		return
	}
	delete(in.topics, t.name)
}

// lingerLocked keeps a topic for a while, since people reload pages.
func (in *interest) lingerLocked(t *topic) {
	t.state = topicLingering
	t.leaveAt = time.Now().Add(lingerTime)
	in.lingerers++
	if !t.listed {
		in.listLocked(t)
	}
	if len(in.lingering) == 1 || in.lingerers > maxLingering {
		in.poke()
	}
}

func (in *interest) listLocked(t *topic) {
	t.listed, t.listedFor = true, t.leaveAt
	in.lingering = append(in.lingering, t)
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
	in.restored, in.disrupted = restored, !restored
	if !restored {
		return
	}
	// A call that is under way may fail yet, of what was before.
	in.backoff, in.silent = 0, false
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
// local until they are live. They come in another order each time: where the
// broker refuses one topic, those beside it come away from it.
func (in *interest) retryLocked() {
	// Some may stand in line since the retry before.
	in.joining = slices.DeleteFunc(in.joining, func(t *topic) bool { return t.state != topicJoining })
	for _, t := range in.topics {
		if t.state == topicLocal {
			in.joining = append(in.joining, t)
		}
	}
}

func (in *interest) settleJoins(batch []*topic, err error) {
	if err != nil {
		in.hub.cfg.Logger.Debug("joining topics failed", slog.Int("topics", len(batch)), slog.Any("error", err))
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	// Where the backplane says which topics have failed, the others are live.
	partial, named := errors.AsType[*SubscribeError](err)
	failed := func(t *topic) bool { return err != nil && (!named || partial.Failed[t.name] != nil) }
	if err == nil {
		in.backoff = 0
	} else {
		in.backoff = min(max(2*in.backoff, firstBackoff), maxBackoff)
		in.retryAt = time.Now().Add(in.backoff)
	}
	if err == nil || named {
		in.silent = false
		in.size = min(2*in.size, interestBatch)
	} else {
		in.size = max(in.size/2, 1)
	}
	for _, t := range batch {
		t.told = false
		if in.topics[t.name] == t {
			in.settleJoinLocked(t, !failed(t))
		}
	}
	if silence(err) {
		in.fallSilentLocked()
	}
}

// silence reports whether an error of the backplane's says that the broker is
// silent or away, and not that it refused these topics.
func silence(err error) bool {
	_, named := errors.AsType[*SubscribeError](err)
	return !named && (errors.Is(err, context.DeadlineExceeded) || errors.Is(err, ErrUnavailable))
}

// fallSilentLocked answers everybody who waits for a topic that the backplane
// has not been told of yet.
func (in *interest) fallSilentLocked() {
	in.silent, in.silentUntil = true, time.Now().Add(maxBackoff)
	for _, t := range in.joining {
		if in.topics[t.name] == t {
			in.settleJoinLocked(t, false)
		}
	}
	in.joining = nil
	in.retryLaterLocked()
}

// retryLaterLocked makes sure that topics that are local are joined again.
func (in *interest) retryLaterLocked() {
	if in.local > 0 && in.retryAt.IsZero() {
		in.backoff = min(max(2*in.backoff, firstBackoff), maxBackoff)
		in.retryAt = time.Now().Add(in.backoff)
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
		t.state, t.unsure = topicLive, false
		if t.refs == 0 {
			in.lingerLocked(t)
		}
	case t.refs == 0:
		in.dropLocalLocked(t)
	}
}

// takeLeaves returns the next topics that have lingered for long enough, and
// the oldest ones past the bound.
func (in *interest) takeLeaves() []*topic {
	in.mu.Lock()
	defer in.mu.Unlock()
	now := time.Now()
	if now.Before(in.leaveAfter) {
		return nil
	}
	var batch []*topic
	for len(in.lingering) > 0 && len(batch) < interestBatch {
		t := in.lingering[0]
		lingers := t.state == topicLingering
		leaves := lingers && (!t.leaveAt.After(now) || in.lingerers > maxLingering)
		if lingers && !leaves && t.leaveAt.Equal(t.listedFor) {
			break
		}
		in.lingering[0] = nil
		in.lingering = in.lingering[1:]
		t.listed = false
		switch {
		case leaves:
			in.lingerers--
			t.state = topicLeaving
			t.ready = make(chan struct{})
			in.pending++
			batch = append(batch, t)
		case lingers:
			// Held and released since it was listed: it goes to the end.
			in.listLocked(t)
		}
	}
	if len(in.lingering) == 0 {
		in.lingering = nil
	}
	return batch
}

func (in *interest) settleLeaves(batch []*topic, err error) {
	if err != nil {
		in.hub.cfg.Logger.Debug("leaving topics failed", slog.Int("topics", len(batch)), slog.Any("error", err))
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	if err != nil {
		in.leaveAfter = time.Now().Add(lingerTime)
	}
	if silence(err) {
		in.fallSilentLocked()
	}
	for _, t := range batch {
		in.pending--
		close(t.ready)
		switch {
		case t.refs > 0:
			t.unsure = err != nil
			in.joinLocked(t)
		case silence(err), err != nil && in.lingerers < maxLingering:
			// As likely as not it is subscribed still: it is left later.
			in.lingerLocked(t)
		default:
			// Where the broker refuses, past the bound: what still arrives is
			// dropped.
			delete(in.topics, t.name)
		}
	}
	in.retryLaterLocked()
}

// nextDue is when run has something to do by itself.
func (in *interest) nextDue() (time.Time, bool) {
	in.mu.Lock()
	defer in.mu.Unlock()
	at := in.retryAt
	if len(in.lingering) > 0 {
		leave := in.lingering[0].leaveAt
		if leave.Before(in.leaveAfter) {
			leave = in.leaveAfter
		}
		at = earlier(at, leave)
	}
	return at, !at.IsZero()
}
