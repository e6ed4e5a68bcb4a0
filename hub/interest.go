package hub

import (
	"context"
	"fmt"
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
	// disruption is why it is not restored, refusal why topics were not joined.
	disruption, refusal error
	// deaf, if not nil, says that nothing comes, whatever the adapter says.
	deaf error
	// connected: it was restored once.
	connected bool
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
		in.lingerers--
		t.state = topicLive
		if t.unsure {
			// Whether it is still subscribed nobody can say. Subscribing to what
			// is live already does no harm.
			in.joinLocked(t)
		}
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
		in.hub.backplaneChanged()
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
		state, ready, disrupted := t.state, t.ready, in.disrupted || in.deaf != nil
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
	in.hub.backplaneChanged()
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

// unhealthy says why not every subscription is live, as far as is known, and nil
// when all are.
func (in *interest) unhealthy() error {
	in.mu.Lock()
	defer in.mu.Unlock()
	switch {
	case !in.restored && in.disruption == nil:
		return fmt.Errorf("hub: the backplane has not connected yet: %w", ErrUnavailable)
	case !in.restored:
		return fmt.Errorf("hub: the backplane is disrupted: %w", in.disruption)
	case in.deaf != nil:
		return in.deaf
	case in.local > 0 && in.refusal != nil:
		return fmt.Errorf("hub: %d topics are not subscribed: %w", in.local, in.refusal)
	case in.local > 0:
		return fmt.Errorf("hub: %d topics are not subscribed", in.local)
	}
	return nil
}

// isLive reports whether a held topic is live.
func (in *interest) isLive(t *topic) bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.restored && t.state == topicLive
}

// isRestored reports whether the adapter has its broker.
func (in *interest) isRestored() bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.restored
}

// setDeaf takes it that nothing comes from the backplane, or with nil that
// something does.
func (in *interest) setDeaf(err error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if err == nil && in.deaf == nil {
		return
	}
	in.deaf = err
	in.hub.backplaneChanged()
}

// counts returns how many topics are live, and how many wait to be.
func (in *interest) counts() (live, pending int) {
	in.mu.Lock()
	defer in.mu.Unlock()
	return len(in.topics) - in.pending, in.pending
}

// setDisrupted takes the adapter's word that subscriptions are not live.
func (in *interest) setDisrupted(err error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.restored, in.disrupted, in.disruption = false, true, err
	in.hub.backplaneChanged()
}

// setRestored takes the adapter's word that its subscriptions are live, and
// reports whether this is the first good news.
func (in *interest) setRestored() (first bool) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.restored, in.disrupted, in.disruption = true, false, nil
	in.hub.backplaneChanged()
	first, in.connected = !in.connected, true
	// A call that is under way may fail yet, of what was before.
	in.backoff, in.silent = 0, false
	if !in.retryAt.IsZero() {
		in.retryAt = time.Now()
		in.poke()
	}
	return first
}
