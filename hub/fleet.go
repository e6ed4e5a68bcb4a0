package hub

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"forge.lthn.ai/core/go-ws/hub/wire"
)

// fleet is this hub among the others: it announces itself and knows who lives
// (peers.go), counts with them (count.go), and notices when nothing comes back
// from the broker. One goroutine publishes, one message at a time. What comes in
// is taken on the backplane's goroutine, and waits for nothing.
//
// The cost of a fleet is bounded at each hub, however many hubs there are: all
// their announcements come at fleetPace together or slower, and so do all their
// questions, but for a burst. See pace.
type fleet struct {
	hub    *Hub
	wake   chan struct{}
	ctx    context.Context
	cancel context.CancelFunc
	wait   sync.WaitGroup
	// control is held from start on.
	control *topic

	mu    sync.Mutex
	peers peers
	// announced is when this hub last announced itself, announceAt when it does
	// next.
	announced, announceAt time.Time
	// live: the control topic is, as far as is known.
	live bool
	// settledAt is when all who live should have answered the first announcement
	// since the topic became live; zero: it has not been made.
	settledAt time.Time
	// unheard is when the oldest announcement was made that nothing has come back
	// since; zero: there is none. unanswered is how many were made since. mute is
	// what publishing the last one said.
	unheard    time.Time
	unanswered int
	mute       error
	deaf       bool
	counting
}

// announceTimeout bounds the publishing of an announcement, so that a broker
// that hangs is found out in time.
const announceTimeout = minAnnounce

func newFleet(h *Hub) *fleet {
	ctx, cancel := context.WithCancel(context.Background())
	return &fleet{hub: h, ctx: ctx, cancel: cancel, wake: make(chan struct{}, 1)}
}

func (f *fleet) start() {
	f.control = f.hub.interest.hold(wire.TopicControl)
	f.wait.Go(f.run)
}

// stop ends the goroutine and tells the others that this hub is gone.
func (f *fleet) stop() {
	f.cancel()
	f.wait.Wait()
	if !f.hub.interest.isLive(f.control) {
		return // they will notice
	}
	ctx, cancel := context.WithTimeout(context.Background(), min(f.hub.cfg.BackplaneTimeout, time.Second))
	defer cancel()
	if err := f.publish(ctx, wire.TopicControl, 0, &wire.Control{Kind: wire.ControlGoodbye}); err != nil {
		f.hub.cfg.Logger.Debug("saying goodbye to the other hubs failed", slog.Any("error", err))
	}
}

func (f *fleet) poke() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

func (f *fleet) run() {
	// Those who answer the first announcement are to be heard.
	_, _ = f.hub.interest.await(f.ctx, f.control)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-f.ctx.Done():
			return
		case <-f.wake:
		case <-timer.C:
		}
		for f.step() {
		}
		timer.Reset(max(time.Until(f.nextDue()), 0))
	}
}

// step publishes what is due, at most one message of a kind, and reports whether
// it did.
func (f *fleet) step() bool {
	if f.ctx.Err() != nil {
		return false
	}
	now := time.Now()
	f.look(now)
	announced := f.announce(now)
	answered := f.sendAnswer()
	asked := f.sendQuestion(now)
	return announced || answered || asked
}

// nextDue is when run has something to do by itself.
func (f *fleet) nextDue() time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	at := f.announceAt
	if f.unanswered >= silentFor && !f.deaf {
		at = earlier(at, f.unheard.Add(f.peers.silence()))
	}
	if len(f.gathering) > 0 {
		at = earlier(at, f.asks.due(f.peers.pace()))
	}
	return at
}

// look sees to it that a hub that can hear the others is soon known to them, and
// that one that hears nothing, not even itself, says so.
func (f *fleet) look(now time.Time) {
	live := f.hub.interest.isLive(f.control)
	f.mu.Lock()
	switch {
	case live && !f.live:
		f.settledAt = time.Time{}
		f.hastenLocked(now)
	case !live:
		f.unheard, f.unanswered, f.deaf = time.Time{}, 0, false
	}
	f.live = live
	// Time alone says nothing: this process may have stood still.
	silent := f.unanswered >= silentFor && now.Sub(f.unheard) >= f.peers.silence()
	fell := silent && !f.deaf
	f.deaf = f.deaf || silent
	deaf, since, mute := f.deaf, f.unheard, f.mute
	f.mu.Unlock()
	if !deaf {
		f.hub.interest.setDeaf(nil)
	}
	if fell {
		f.hub.fallDeaf(now.Sub(since), mute)
	}
}

// hastenLocked brings the next announcement forward, as far as the pace allows.
func (f *fleet) hastenLocked(at time.Time) {
	if soonest := f.announced.Add(f.peers.pace()); at.Before(soonest) {
		at = soonest
	}
	f.announceAt = earlier(f.announceAt, at)
}

// announce tells the others that this hub lives, if it is time, and reports
// whether it was.
func (f *fleet) announce(now time.Time) bool {
	f.prune(now)
	f.mu.Lock()
	if now.Before(f.announceAt) {
		f.mu.Unlock()
		return false
	}
	interval := f.peers.interval()
	f.announced = now
	f.announceAt = now.Add(interval*3/4 + rand.N(interval/2))
	if f.live {
		// Before it is published: it may come back before Publish does.
		if f.unheard.IsZero() {
			f.unheard = now
		}
		f.unanswered++
	}
	f.mu.Unlock()
	ctx, cancel := context.WithTimeout(f.ctx, min(f.hub.cfg.BackplaneTimeout, announceTimeout))
	defer cancel()
	err := f.publish(ctx, wire.TopicControl, 0, &wire.Control{Kind: wire.ControlAnnounce, Interval: interval})
	if err != nil {
		f.hub.cfg.Logger.Debug("announcing this hub failed", slog.Any("error", err))
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mute = err
	if err == nil && f.live && f.settledAt.IsZero() {
		f.settledAt = time.Now().Add(settleTime + f.peers.pace())
	}
	return true
}

// prune forgets hubs that are silent.
func (f *fleet) prune(now time.Time) {
	f.mu.Lock()
	gone := f.peers.prune(now)
	f.mu.Unlock()
	for _, id := range gone {
		f.hub.cfg.Logger.Info("hub is silent, taken for gone", slog.String("hub", id))
	}
}

// known returns how many hubs live, this one included, as far as is known.
func (f *fleet) known() int {
	f.prune(time.Now())
	f.mu.Lock()
	defer f.mu.Unlock()
	return 1 + len(f.peers.until)
}

// publish sends a control message. sequence is zero where a copy does no harm.
func (f *fleet) publish(ctx context.Context, t Topic, sequence uint64, c *wire.Control) error {
	id := newMessageID()
	e := wire.Envelope{Source: f.hub.id, Sequence: sequence, MessageID: id, Control: true, Payload: wire.AppendControl(nil, c)}
	_, err := f.hub.cfg.Backplane.Publish(ctx, Publication{Topic: t, ID: id, Envelope: wire.AppendEnvelope(nil, &e)})
	return err
}

// errControl says that a control message can't come on the topic it came on.
var errControl = errors.New("a control message that has no business here")

// receive takes a control message of another hub.
func (f *fleet) receive(t Topic, e *wire.Envelope) error {
	c, err := wire.ParseControl(e.Payload)
	if err != nil {
		return err
	}
	// The hub hears no other hub's topic.
	all, single := t == wire.TopicControl, t == Topic(wire.HubTopic(f.hub.id))
	switch {
	case all && c.Kind == wire.ControlAnnounce:
		f.welcome(e.Source, c.Interval)
	case all && c.Kind == wire.ControlGoodbye:
		f.farewell(e.Source)
	case all && c.Kind == wire.ControlCount:
		f.answer(e.Source, &c)
	case single && c.Kind == wire.ControlCounted:
		return f.counted(e.Source, &c)
	case all && c.Kind == wire.ControlDisconnect && c.User != "":
		f.hub.disconnectUser(c.User, c.Code, c.Reason)
	case single && c.Kind == wire.ControlDisconnect && c.Client != "":
		f.hub.disconnectClient(c.Client, c.Code, c.Reason)
	default:
		return fmt.Errorf("%w: kind %d", errControl, c.Kind)
	}
	return nil
}

// welcome takes an announcement. A hub that was not known gets to know this one
// soon.
func (f *fleet) welcome(id string, interval time.Duration) {
	now := time.Now()
	f.mu.Lock()
	fresh, ok := f.peers.heard(id, now.Add(silentFor*interval))
	if fresh {
		f.hastenLocked(now.Add(rand.N(f.peers.pace())))
	}
	f.mu.Unlock()
	if !ok {
		f.hub.count.controlDropped.Add(1)
	}
	if fresh {
		f.hub.cfg.Logger.Debug("hub has joined", slog.String("hub", id))
		f.poke()
	}
}

// farewell takes the word of a hub that it is gone.
func (f *fleet) farewell(id string) {
	f.mu.Lock()
	f.peers.forget(id)
	f.forgetLocked(id)
	f.mu.Unlock()
	f.hub.cfg.Logger.Debug("hub has left", slog.String("hub", id))
}

// echoed takes a message of this hub's own that came back.
func (f *fleet) echoed() {
	f.mu.Lock()
	heals := f.deaf
	f.unheard, f.unanswered, f.deaf = time.Time{}, 0, false
	f.mu.Unlock()
	if heals {
		f.hub.cfg.Logger.Info("backplane delivers again")
		f.hub.interest.setDeaf(nil)
	}
}
