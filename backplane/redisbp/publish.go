package redisbp

import (
	"context"
	"errors"
	"fmt"
	"time"

	"forge.lthn.ai/core/go-ws/hub"
	"github.com/redis/go-redis/v9"
)

// maxWander is how long a publication follows a partition that changes hands,
// where its context does not end before.
const maxWander = 3 * time.Second

// Publish hands one publication to the node that serves its topic, in a pipeline
// that it shares with others, and returns when the node has answered: what was
// published is then on its way to every connection that is subscribed there. A
// publication is never sent again after it may have been sent. Where
// nothing was sent the error wraps hub.ErrUnavailable.
func (b *Backplane) Publish(ctx context.Context, p hub.Publication) (hub.Published, error) {
	if err := b.publish(ctx, p); err != nil {
		return hub.Published{}, fmt.Errorf("redisbp: publish: %w", err)
	}
	return hub.Published{}, nil
}

func (b *Backplane) publish(ctx context.Context, p hub.Publication) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if limit := b.maxPayload.Load(); int64(len(p.Envelope)) > limit {
		return fmt.Errorf("%d bytes, at most %d: %w", len(p.Envelope), limit, hub.ErrTooLarge)
	}
	if p.Log != "" {
		return fmt.Errorf("log %q: redisbp keeps no history", p.Log)
	}
	channel, at := b.names.channel(p.Topic)
	end := time.Now().Add(maxWander)
	for {
		l, changed, err := b.owner(at)
		if err != nil {
			return err
		}
		if l == nil {
			return notSent(errors.New("no node is known to serve the topic"))
		}
		err = l.lane.publish(ctx, channel, p.Envelope)
		gone := l.ctx.Err() != nil && b.ctx.Err() == nil
		if err == nil || !redirected(err) && !(gone && errors.Is(err, hub.ErrUnavailable)) {
			return err
		}
		// The node did nothing. Somebody else has the partition, or will: the
		// subscriptions follow when the node ends them.
		b.refreshTopology()
		pause := time.NewTimer(lookHurry)
		select {
		case <-changed:
		case <-pause.C:
		case <-ctx.Done():
		}
		pause.Stop()
		if ctx.Err() != nil || time.Now().After(end) {
			return notSent(err)
		}
	}
}

// redirected reports whether a node says that it serves the slot not at all, or
// not now.
func redirected(err error) bool {
	said, ok := errors.AsType[redis.Error](err)
	return ok && elsewhere(said)
}

// owner is the link whose lane a partition's publications take, and what is
// closed when it has changed.
func (b *Backplane) owner(at int) (*link, <-chan struct{}, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.usableLocked("publish"); err != nil {
		return nil, nil, err
	}
	return b.parts[at].owner, b.changed, nil
}
