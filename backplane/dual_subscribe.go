package backplane

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"forge.lthn.ai/core/go-ws/hub"
)

// maxStale is with how many topics, which one side does not let go, a Dual joins
// more. Those of one call may come on top.
const maxStale = 4096

// Subscribe joins topics on both sides. See Dual for what its errors mean. Where
// one side refuses topics, and the other one, which has them, can't be left, it
// fails once thousands are to be left, until that is possible.
func (d *Dual) Subscribe(ctx context.Context, topics ...hub.Topic) error {
	if err := d.tell(ctx); err != nil {
		return fmt.Errorf("backplane: dual: subscribe: %w", err)
	}
	defer func() { <-d.telling }()
	if err := sidesError(d.room(ctx, fromSide, topics), d.room(ctx, toSide, topics)); err != nil {
		return err
	}
	fresh := d.topics.add(topics)
	from, to := both(
		func() error { return d.from.Subscribe(ctx, topics...) },
		func() error { return d.to.Subscribe(ctx, topics...) },
	)
	if from == nil && to == nil {
		d.forgetStale(topics)
		return nil
	}
	var live, gone []hub.Topic
	failed := make(map[hub.Topic]error)
	for _, topic := range topics {
		err := sidesError(reasonFor(from, topic), reasonFor(to, topic))
		if err == nil {
			live = append(live, topic)
			continue
		}
		failed[topic] = err
		if fresh[topic] {
			delete(fresh, topic) // it may be named twice
			gone = append(gone, topic)
		}
	}
	d.forgetStale(live)
	d.topics.remove(gone)
	d.undo(ctx, fromSide, from, gone)
	d.undo(ctx, toSide, to, gone)
	if (from == nil || partial(from)) && (to == nil || partial(to)) {
		return &hub.SubscribeError{Failed: failed}
	}
	// Nothing is live, whatever one of the sides says of some topics.
	return sidesError(whole(from), whole(to))
}

// Unsubscribe leaves topics on both sides.
func (d *Dual) Unsubscribe(ctx context.Context, topics ...hub.Topic) error {
	if err := d.tell(ctx); err != nil {
		return fmt.Errorf("backplane: dual: unsubscribe: %w", err)
	}
	defer func() { <-d.telling }()
	// What fails stays among the stale.
	_ = d.clearStale(ctx, fromSide, topics)
	_ = d.clearStale(ctx, toSide, topics)
	d.topics.remove(topics)
	from, to := both(
		func() error { return d.from.Unsubscribe(ctx, topics...) },
		func() error { return d.to.Unsubscribe(ctx, topics...) },
	)
	if from == nil && to == nil {
		d.forgetStale(topics)
	}
	return sidesError(from, to)
}

// tell waits for the turn to tell the sides.
func (d *Dual) tell(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case d.telling <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// partial reports whether an error of Subscribe's leaves some topics live.
func partial(err error) bool {
	_, named := errors.AsType[*hub.SubscribeError](err)
	return named
}

// whole hides that an error of Subscribe's names topics.
func whole(err error) error {
	if partial(err) {
		return errors.New(err.Error())
	}
	return err
}

// reasonFor is why a side has not joined a topic, nil where it has.
func reasonFor(err error, topic hub.Topic) error {
	if e, named := errors.AsType[*hub.SubscribeError](err); named {
		return e.Failed[topic]
	}
	return err
}

// undo leaves, on a side that has joined them, topics that the other side has
// not. What can't be left now is left by a later call: nothing of it is
// delivered meanwhile.
func (d *Dual) undo(ctx context.Context, s side, err error, topics []hub.Topic) {
	for _, topic := range topics {
		if reasonFor(err, topic) == nil {
			d.stale[s][topic] = struct{}{}
		}
	}
	_ = d.clearStale(ctx, s, nil) // what fails stays among the stale
}

// room clears what is stale on a side. Its error says that there is too much that
// it does not let go.
func (d *Dual) room(ctx context.Context, s side, next []hub.Topic) error {
	if err := d.clearStale(ctx, s, next); err != nil && len(d.stale[s]) >= maxStale {
		return fmt.Errorf("subscribe: %d topics are to be left first: %w", len(d.stale[s]), err)
	}
	return nil
}

// clearStale leaves what must not be live on a side, but for topics that the
// call which comes next is about.
func (d *Dual) clearStale(ctx context.Context, s side, next []hub.Topic) error {
	var topics []hub.Topic
	for topic := range d.stale[s] {
		if !slices.Contains(next, topic) {
			topics = append(topics, topic)
		}
	}
	if len(topics) == 0 {
		return nil
	}
	if err := d.side(s).Unsubscribe(ctx, topics...); err != nil {
		return err
	}
	for _, topic := range topics {
		delete(d.stale[s], topic)
	}
	return nil
}

func (d *Dual) forgetStale(topics []hub.Topic) {
	for _, stale := range d.stale {
		for _, topic := range topics {
			delete(stale, topic)
		}
	}
}

func (d *Dual) side(s side) hub.Backplane {
	if s == fromSide {
		return d.from
	}
	return d.to
}
