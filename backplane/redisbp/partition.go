package redisbp

import (
	"fmt"

	"forge.lthn.ai/core/go-ws/hub"
)

// partition is a part of the channels that lives on one node. Without sharded
// pub/sub there is one.
//
//	             its node is known    all are confirmed
//	nobody's ──────────────────────▶ joining ──────────────▶ live
//	   ▲                               │                       │
//	   └──── the node, or the slot, is gone ◀──────────────────┘
type partition struct {
	index int
	// wanted are the topics that are subscribed, or being subscribed, by their
	// Redis channels. They come back after every disruption.
	wanted map[string]hub.Topic
	// link serves it; nil: nobody does.
	link *link
	// owner is whose lane publications take: the last node that had it.
	owner *link
	// live: all that is wanted has been confirmed on the link's connection.
	live bool
}

// healthLocked tells the receiver once all partitions are live.
func (b *Backplane) healthLocked() {
	for _, p := range b.parts {
		if !p.live {
			return
		}
	}
	b.signals.restored()
	b.attempted(nil)
}

// lostLocked takes partitions off a link whose connection is gone. The link may
// get them again.
func (b *Backplane) lostLocked(l *link, err error) {
	was := false
	for _, p := range b.parts {
		if p.link == l {
			was = was || p.live
			p.live = false
		}
	}
	if was {
		b.signals.disrupted(fmt.Errorf("redisbp: lost the connection to %s: %w", l.addr, err))
	}
	b.refreshTopology()
}

// movedLocked takes a partition off a link whose node does not serve it any more.
func (b *Backplane) movedLocked(p *partition, l *link, err error) {
	if p.link != l {
		return
	}
	if p.live {
		b.signals.disrupted(fmt.Errorf("redisbp: partition %d has left %s: %w", p.index, l.addr, err))
	}
	p.link, p.live = nil, false
	b.refreshTopology()
}

// joinLocked subscribes a link to what is wanted of a partition that it has got.
func (b *Backplane) joinLocked(p *partition, l *link) {
	p.link, p.owner, p.live = l, l, false
	close(b.changed)
	b.changed = make(chan struct{})
	if l.conn == nil {
		return // it joins all its partitions when it connects
	}
	c := l.conn
	k := newCall()
	k.then = func() {
		if p.link == l && l.conn == c && k.lost == nil {
			p.live = true
			b.healthLocked()
		}
	}
	c.joinLocked(k, p)
	k.finishLocked()
}

// refreshTopology asks for a look at the Cluster.
func (b *Backplane) refreshTopology() {
	select {
	case b.topology <- struct{}{}:
	default:
	}
}
