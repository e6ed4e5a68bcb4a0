package hub

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"
)

// The goroutine that tells the backplane what the hub is interested in.

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
	defer in.hub.backplaneChanged()
	in.refusal = err
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
	defer in.hub.backplaneChanged()
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
			// It may be subscribed still: it is left later.
			t.unsure = true
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
