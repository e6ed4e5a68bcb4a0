package redisbp

import (
	"fmt"
	"time"

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
	// owner is whose lane publications take. It may be ahead of link.
	owner *link
	// disputed is since when the Cluster's layout says that another node has it,
	// while its own node says nothing; zero: it does not.
	disputed time.Time
	// live: all that is wanted has been confirmed on the link's connection.
	live bool
}

// healthLocked tells the receiver once all partitions are live.
func (b *Backplane) healthLocked() {
	if b.liveParts < len(b.parts) {
		return
	}
	b.signals.restored()
	b.attempted(nil)
}

func (b *Backplane) setLiveLocked(p *partition, live bool) {
	if p.live != live {
		p.live = live
		if live {
			b.liveParts++
		} else {
			b.liveParts--
		}
	}
}

// forbiddenLocked reports topics that a node refuses when they come back: the
// rights have changed. The others are served.
func (b *Backplane) forbiddenLocked(l *link, k *call) {
	for topic, err := range k.failed {
		if !elsewhere(err) {
			b.signals.disrupted(fmt.Errorf("redisbp: %s refuses topics that it had, %q and maybe others: %w", l.addr, topic, err))
			return
		}
	}
}

// lostLocked takes partitions off a link whose connection is gone. The link may
// get them again.
func (b *Backplane) lostLocked(l *link, err error) {
	was := false
	for _, p := range b.parts {
		if p.link == l {
			was = was || p.live
			b.setLiveLocked(p, false)
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
	b.setLiveLocked(p, false)
	p.link = nil
	b.refreshTopology()
}

// joinLocked subscribes a link to what is wanted of a partition that it has got.
func (b *Backplane) joinLocked(p *partition, l *link) {
	b.setLiveLocked(p, false)
	p.link, p.disputed = l, time.Time{}
	if l.conn == nil {
		return // it joins all its partitions when it connects
	}
	c := l.conn
	k := newCall()
	k.then = func() {
		if p.link == l && l.conn == c && k.lost == nil {
			b.setLiveLocked(p, true)
			b.forbiddenLocked(l, k)
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
