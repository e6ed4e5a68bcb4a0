package redisbp

import (
	"context"
	"errors"
	"fmt"
	"time"

	"forge.lthn.ai/core/go-ws/hub"
)

// silence is how long a call must have waited to take a node for silent.
const silence = 500 * time.Millisecond

// wish is a topic that a call wants.
type wish struct {
	part    *partition
	channel string
	topic   hub.Topic
}

// Subscribe returns nil once the node that serves each topic has confirmed it.
// Topics that are refused (by an access list), or whose node is away while others
// are there, are named in a *hub.SubscribeError. It fails at once where the
// broker is known to be away or silent.
func (b *Backplane) Subscribe(ctx context.Context, topics ...hub.Topic) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("redisbp: subscribe: %w", err)
	}
	began := time.Now()
	k := newCall()
	b.mu.Lock()
	if err := b.usableLocked("subscribe"); err != nil {
		b.mu.Unlock()
		return err
	}
	fresh := b.wishLocked(k, topics)
	k.finishLocked()
	b.mu.Unlock()

	select {
	case <-k.done:
	case <-ctx.Done():
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	select {
	case <-k.done:
	default:
		b.abandonLocked(k, ctx.Err(), time.Since(began))
	}
	return b.outcomeLocked(k, fresh)
}

// wishLocked adds topics to what is wanted and queues the commands. It returns
// those that are new, and that a node is told of: others are not wanted then.
func (b *Backplane) wishLocked(k *call, topics []hub.Topic) []wish {
	var fresh []wish
	groups := make(map[*partition][]wish)
	for _, topic := range topics {
		channel, at := b.names.channel(topic)
		p := b.parts[at]
		if _, known := p.wanted[channel]; !known {
			p.wanted[channel] = topic
			groups[p] = append(groups[p], wish{p, channel, topic})
		} else if !p.live {
			k.failLocked([]hub.Topic{topic}, hub.ErrUnavailable)
		}
	}
	for p, wishes := range groups {
		channels := make([]string, len(wishes))
		names := make([]hub.Topic, len(wishes))
		for i, w := range wishes {
			channels[i], names[i] = w.channel, w.topic
		}
		if err := p.readyLocked(); err != nil {
			k.failLocked(names, err)
			for _, channel := range channels {
				delete(p.wanted, channel)
			}
			continue
		}
		p.link.conn.subscribeLocked(k, channels, names)
		fresh = append(fresh, wishes...)
	}
	return fresh
}

// readyLocked says why a partition can't be subscribed to at the moment.
func (p *partition) readyLocked() error {
	switch {
	case !p.live || p.link == nil || p.link.conn == nil:
		return fmt.Errorf("%w: not connected", hub.ErrUnavailable)
	case p.link.conn.overdue:
		return fmt.Errorf("%w: %s does not answer", hub.ErrUnavailable, p.link.addr)
	case len(p.link.conn.out) > maxOut:
		return fmt.Errorf("%w: %s does not take commands", hub.ErrUnavailable, p.link.addr)
	}
	return nil
}

// abandonLocked gives up on what a call still waits for.
func (b *Backplane) abandonLocked(k *call, err error, waited time.Duration) {
	for l := range b.all {
		if l.conn == nil {
			continue
		}
		for _, s := range l.conn.pending {
			if s.call == k {
				k.failLocked(s.topics, err)
				l.conn.overdue = l.conn.overdue || waited >= silence
			}
		}
	}
}

// outcomeLocked turns a call's failures into its error, and takes back what has
// failed.
func (b *Backplane) outcomeLocked(k *call, fresh []wish) error {
	if len(k.failed) == 0 {
		return nil
	}
	// Where one part of several, or one topic, has failed the others stay.
	partly := false
	var first error
	for _, err := range k.failed {
		_, said := errors.AsType[serverError](err)
		partly = partly || said
		first = err
	}
	partly = partly || b.names.partitions > 0 && b.liveParts > 0
	for _, w := range fresh {
		if k.failed[w.topic] != nil || !partly {
			b.leaveLocked(newCall(), w)
		}
	}
	if partly {
		return fmt.Errorf("redisbp: subscribe: %w", &hub.SubscribeError{Failed: k.failed})
	}
	return fmt.Errorf("redisbp: subscribe: %w", first)
}

// leaveLocked takes a topic off what is wanted. Where a connection may have been
// told of it, the opposite goes out behind.
func (b *Backplane) leaveLocked(k *call, w wish) {
	delete(w.part.wanted, w.channel)
	if l := w.part.link; l != nil && l.conn != nil {
		l.conn.unsubscribeLocked(k, []string{w.channel}, []hub.Topic{w.topic})
	}
}

// Unsubscribe ends subscriptions and returns when the node has confirmed that.
func (b *Backplane) Unsubscribe(ctx context.Context, topics ...hub.Topic) error {
	began := time.Now()
	k := newCall()
	b.mu.Lock()
	if err := b.usableLocked("unsubscribe"); err != nil {
		b.mu.Unlock()
		return err
	}
	groups := make(map[*partition][]wish)
	for _, topic := range topics {
		channel, at := b.names.channel(topic)
		p := b.parts[at]
		if _, wanted := p.wanted[channel]; wanted {
			delete(p.wanted, channel)
			groups[p] = append(groups[p], wish{p, channel, topic})
		}
	}
	for p, wishes := range groups {
		if p.link == nil || p.link.conn == nil {
			continue
		}
		channels := make([]string, len(wishes))
		names := make([]hub.Topic, len(wishes))
		for i, w := range wishes {
			channels[i], names[i] = w.channel, w.topic
		}
		p.link.conn.unsubscribeLocked(k, channels, names)
	}
	k.finishLocked()
	b.mu.Unlock()

	select {
	case <-k.done:
		return nil // also where the connection ended: what is not wanted is not brought back
	case <-ctx.Done():
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.abandonLocked(k, ctx.Err(), time.Since(began))
	return fmt.Errorf("redisbp: unsubscribe: %w", ctx.Err())
}
