package backplane

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"forge.lthn.ai/core/go-ws/hub"
)

// DualConfig names the two sides of a Dual. Both are required, and belong to it
// from then on: it starts and closes them.
type DualConfig struct {
	// From is the backplane that the fleet leaves.
	From hub.Backplane
	// To is the one that it goes to.
	To hub.Backplane
}

// DualStats are a Dual's figures.
type DualStats struct {
	// Copies counts deliveries that were dropped since they had come, or will
	// come, from the other broker too.
	Copies uint64
}

// Dual is a hub.Backplane on two brokers at once, for the time in which a
// running fleet moves from one to the other. Each hub has a Dual of its own. All
// methods may be called concurrently.
//
// # Steps
//
// Hubs are replaced one by one, as in any deploy; a step begins when the one
// before it has ended for all of them.
//
//  1. All are on From alone.
//  2. All get a Dual. Meanwhile everybody hears everybody through From: hubs
//     with a Dual publish there too.
//  3. All get To alone. Meanwhile everybody hears everybody: hubs with a Dual
//     listen to both, and what they publish is on To as well.
//
// While both brokers are up nothing is lost in any step but what was published
// while a client itself changed hubs, nothing comes twice, and the order of each
// publisher holds. Back goes the same way, from any step; Duals of both
// directions may run side by side. A hub on From alone beside one on To alone
// don't hear each other: that is why step 3 waits for step 2. Programs that
// publish plain JSON may move at any time between the end of step 2 and the
// beginning of step 3.
//
// # How
//
// A publication goes to both brokers, and the one to To is marked as a copy. A
// Dual listens to both and drops copies, so that each publication comes from
// one broker, and all of one publisher's from the same: one broker that is
// faster than the other changes no order, nothing has to be remembered, and
// identical bytes, published twice, come twice. Hubs on To alone skip the mark.
//
// # When a broker is away
//
// An outage of either is an outage: a Dual is as available as both together.
// Publish returns nil once both have acknowledged. Where one fails the other is
// tried all the same, so whoever is served by it gets the publication, and the
// error says which side failed; it wraps hub.ErrUnavailable or hub.ErrTooLarge
// only where neither side has published. Subscribe fails for topics that one
// side has not joined, and names them by a *hub.SubscribeError where others are
// live. Disrupted is handed on from either side, Restored comes when both are
// up. A hub's check that what it publishes comes back is about From alone, whose
// answer it gets: that To is deaf is noticed by To's adapter or not at all.
//
// # Size
//
// The mark takes 2 bytes of what To lets an envelope have.
//
// # Histories
//
// Abilities has From's History: positions are From's, and don't move. Where To
// has a History, too, what is published goes into its logs as well, under
// positions of its own: once all hubs are on To, its logs hold what was
// published since the end of step 2, and a client that asks for a position of
// From's is told that it is not there. What To delivers to a Dual bears no
// positions. In step 3 the two logs differ, so let nobody depend on them:
// move durable channels while they are quiet.
//
// Encrypt each side, not the Dual: see NewEncrypted.
type Dual struct {
	from, to  hub.Backplane
	abilities hub.Abilities
	toHistory hub.History // nil where To has none

	// telling holds one token, which a Subscribe or Unsubscribe has: what is
	// left on a side must not be cleared away under one that joins it.
	telling chan struct{}
	// stale are topics that may be live on From or To though they must not be.
	// Whoever has telling owns it.
	stale [2]map[hub.Topic]struct{}

	topics dualTopics
	signal dualSignals
	copies atomic.Uint64
}

// NewDual makes a Dual, not started.
func NewDual(cfg DualConfig) (*Dual, error) {
	switch {
	case cfg.From == nil:
		return nil, errors.New("backplane: DualConfig.From: is required")
	case cfg.To == nil:
		return nil, errors.New("backplane: DualConfig.To: is required")
	}
	d := &Dual{
		from: cfg.From, to: cfg.To, toHistory: cfg.To.Abilities().History,
		telling: make(chan struct{}, 1),
		stale:   [2]map[hub.Topic]struct{}{make(map[hub.Topic]struct{}), make(map[hub.Topic]struct{})},
	}
	d.topics.all = make(map[hub.Topic]*dualTopic)
	if from := cfg.From.Abilities().History; from != nil {
		d.abilities.History = &dualHistory{from: from, to: d.toHistory}
	}
	return d, nil
}

// Start starts both sides. See Dual.
func (d *Dual) Start(ctx context.Context, r hub.BackplaneReceiver) error {
	if r == nil {
		return errors.New("backplane: start: no receiver")
	}
	d.signal.set(r)
	for _, side := range []struct {
		name     string
		bp       hub.Backplane
		receiver *dualReceiver
	}{
		{"from", d.from, &dualReceiver{dual: d, receiver: r, side: fromSide}},
		{"to", d.to, &dualReceiver{dual: d, receiver: r, side: toSide}},
	} {
		if err := side.bp.Start(ctx, side.receiver); err != nil {
			return fmt.Errorf("backplane: dual: %s: %w", side.name, err)
		}
	}
	return nil
}

// Publish publishes on both sides at once. See Dual for what its errors mean.
func (d *Dual) Publish(ctx context.Context, p hub.Publication) (hub.Published, error) {
	second := p
	second.Envelope = markCopy(p.Envelope)
	if d.toHistory == nil {
		second.Log = ""
	}
	var published hub.Published
	from, to := both(
		func() (err error) { published, err = d.from.Publish(ctx, p); return err },
		func() error { _, err := d.to.Publish(ctx, second); return err },
	)
	if err := publishError(from, to); err != nil {
		return hub.Published{}, err
	}
	return published, nil
}

// publishError joins what the two sides said. Sentinels that say that nothing
// was published must not show where one side has, or may have.
func publishError(from, to error) error {
	nothing := func(err error) bool { return errors.Is(err, hub.ErrUnavailable) || errors.Is(err, hub.ErrTooLarge) }
	switch {
	case from == nil && to == nil:
		return nil
	case nothing(from) && nothing(to):
		return sidesError(from, to)
	}
	hide := func(err error) error {
		if nothing(err) {
			return errors.New(err.Error())
		}
		return err
	}
	return sidesError(hide(from), hide(to))
}

// sidesError says what failed on which side; nil where nothing did.
func sidesError(from, to error) error {
	switch {
	case from != nil && to != nil:
		return fmt.Errorf("backplane: dual: from: %w; to: %w", from, to)
	case from != nil:
		return fmt.Errorf("backplane: dual: from: %w", from)
	case to != nil:
		return fmt.Errorf("backplane: dual: to: %w", to)
	}
	return nil
}

// both runs two calls at once and waits for them: a side that hangs must not
// keep the other one waiting.
func both(from, to func() error) (fromErr, toErr error) {
	var wait sync.WaitGroup
	wait.Go(func() { toErr = to() })
	fromErr = from()
	wait.Wait()
	return fromErr, toErr
}

// Abilities are From's, where it has a History. See Dual.
func (d *Dual) Abilities() hub.Abilities { return d.abilities }

// Stats returns the figures.
func (d *Dual) Stats() DualStats { return DualStats{Copies: d.copies.Load()} }

// Close closes both sides.
func (d *Dual) Close() error { return sidesError(both(d.from.Close, d.to.Close)) }

// dualHistory is From's, which To's follows.
type dualHistory struct{ from, to hub.History }

// Declare declares the logs on both sides.
func (h *dualHistory) Declare(logs ...hub.Log) error {
	if err := h.from.Declare(logs...); err != nil {
		return sidesError(err, nil)
	}
	if h.to == nil {
		return nil
	}
	return sidesError(nil, h.to.Declare(logs...))
}

// Read reads From's.
func (h *dualHistory) Read(ctx context.Context, r hub.ReadRequest) (hub.Page, error) {
	page, err := h.from.Read(ctx, r)
	return page, sidesError(err, nil)
}

// Tops are From's.
func (h *dualHistory) Tops(ctx context.Context, log string, topics ...hub.Topic) ([]hub.Position, error) {
	tops, err := h.from.Tops(ctx, log, topics...)
	return tops, sidesError(err, nil)
}
