package redisbp

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// lookInterval is how often the Cluster's layout is compared with ours. While
	// something is missing it is sooner: after lookHurry at first.
	lookInterval = time.Second
	lookHurry    = 50 * time.Millisecond
	// lookPause is between two looks, however many ask for one.
	lookPause = 10 * time.Millisecond
	// reloadInterval is how often the layout is asked for while nothing is missing,
	// reloadPause what is between two times at least.
	reloadInterval = 2 * time.Second
	reloadPause    = 200 * time.Millisecond
	// maxDisputed is for how long a node may keep a partition that the layout
	// gives to another one.
	maxDisputed = 5 * time.Second
	// reloadTimeout leaves room for several nodes that are silent.
	reloadTimeout = 3 * (dialTimeout + ioTimeout)
)

// reloadCluster asks the Cluster for its layout. go-redis would do so by itself,
// on goroutines that outlive its Close.
func (b *Backplane) reloadCluster() {
	again := time.NewTicker(reloadInterval)
	defer again.Stop()
	for {
		select {
		case <-b.ctx.Done():
			return
		case <-b.reload:
		case <-again.C:
		}
		ctx, cancel := context.WithTimeout(b.ctx, reloadTimeout)
		// It asks any node, and calls for each master what does nothing. Where it
		// fails followCluster does too, and says so.
		_ = b.cluster.ForEachMaster(ctx, func(context.Context, *redis.Client) error { return nil })
		cancel()
		b.pause(reloadPause)
	}
}

// pause returns after a while, or at Close.
func (b *Backplane) pause(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-b.ctx.Done():
	case <-timer.C:
	}
}

// wantLayout asks reloadCluster for a new layout.
func (b *Backplane) wantLayout() {
	select {
	case b.reload <- struct{}{}:
	default:
	}
}

// followCluster gives each partition to the node that serves it, for as long as
// the backplane lives. The layout itself is go-redis's.
func (b *Backplane) followCluster() {
	said := ""
	hurry := lookHurry
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-b.ctx.Done():
			return
		case <-timer.C:
		case <-b.topology:
			b.wantLayout()
			hurry = lookHurry
			b.pause(lookPause)
		}
		masters, err := b.masters()
		whole := false
		if err != nil {
			b.attempted(err)
			if text := err.Error(); text != said && b.ctx.Err() == nil {
				said = text
				if refused(err) {
					b.signals.disrupted(fmt.Errorf("redisbp: %w", err))
				}
				b.cfg.Logger.Warn("redis cluster can't be read", slog.Any("error", err))
			}
		} else {
			said = ""
			whole = b.assign(masters)
		}
		if whole {
			hurry = lookHurry
			timer.Reset(lookInterval)
			continue
		}
		b.wantLayout()
		timer.Reset(hurry)
		hurry = min(2*hurry, lookInterval)
	}
}

// masters finds the node of each partition.
func (b *Backplane) masters() ([]*redis.Client, error) {
	ctx, cancel := context.WithTimeout(b.ctx, dialTimeout+ioTimeout)
	defer cancel()
	masters := make([]*redis.Client, len(b.parts))
	for i := range b.parts {
		node, err := b.cluster.MasterForKey(ctx, b.names.space(i))
		if err != nil {
			return nil, fmt.Errorf("cluster: %w", err)
		}
		masters[i] = node
	}
	return masters, nil
}

// assign gives partitions to their nodes, and reports whether all are live there.
func (b *Backplane) assign(masters []*redis.Client) (whole bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.phase != phaseStarted {
		return true
	}
	var fresh []*link
	changed := false
	for i, p := range b.parts {
		l := b.links[masters[i].Options().Addr]
		if l == nil || l.node != masters[i] {
			// A node that was away for long comes back with a new client.
			l = b.linkLocked(masters[i])
			fresh = append(fresh, l)
		}
		changed = changed || p.owner != l
		p.owner = l
		b.placeLocked(p, l)
	}
	if changed {
		close(b.changed)
		b.changed = make(chan struct{})
	}
	for _, l := range fresh {
		l.start()
	}
	b.dismissLocked()
	b.healthLocked()
	return b.liveParts == len(b.parts)
}

// placeLocked moves a partition to the link of its node. One that has
// subscriptions stays while its link is connected: the node itself ends them when
// it gives the slot away, behind the last message, and a layout that another node
// tells may be old. A node that says nothing for long is cut off.
func (b *Backplane) placeLocked(p *partition, l *link) {
	switch {
	case p.link == l:
		p.disputed = time.Time{}
	case p.link == nil || p.link.conn == nil || len(p.wanted) == 0:
		b.joinLocked(p, l)
	case p.disputed.IsZero():
		p.disputed = time.Now()
	default:
		if time.Since(p.disputed) > maxDisputed {
			p.link.conn.failLocked(fmt.Errorf("partition %d is at %s, and the node has said nothing", p.index, l.addr))
		}
	}
}

// dismissLocked ends links that no partition needs.
func (b *Backplane) dismissLocked() {
	used := make(map[*link]bool)
	for _, p := range b.parts {
		used[p.link], used[p.owner] = true, true
	}
	for l := range b.all {
		if !used[l] {
			delete(b.all, l)
			if b.links[l.addr] == l {
				delete(b.links, l.addr)
			}
			l.stopLocked()
			b.wait.Go(l.wait.Wait)
		}
	}
}
