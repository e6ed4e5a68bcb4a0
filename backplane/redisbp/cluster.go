package redisbp

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// lookInterval is how often the Cluster's layout is compared with ours;
	// lookHurry while something is missing.
	lookInterval = time.Second
	lookHurry    = 50 * time.Millisecond
)

// followCluster gives each partition to the node that serves it, for as long as
// the backplane lives. The layout itself is go-redis's.
func (b *Backplane) followCluster() {
	said := ""
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-b.ctx.Done():
			return
		case <-timer.C:
		case <-b.topology:
			b.cluster.ReloadState(b.ctx)
		}
		masters, err := b.masters()
		whole := false
		if err != nil {
			b.attempted(err)
			if text := err.Error(); text != said && b.ctx.Err() == nil {
				said = text
				b.cfg.Logger.Warn("redis cluster can't be read", slog.Any("error", err))
			}
		} else {
			said = ""
			whole = b.assign(masters)
		}
		next := lookInterval
		if !whole {
			b.cluster.ReloadState(b.ctx)
			next = lookHurry
		}
		timer.Reset(next)
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

// assign moves partitions to their nodes. A partition that is live stays where
// it is: the node itself says when it is not its own any more, and a layout that
// another node tells may be old. It reports whether all have their node.
func (b *Backplane) assign(masters []*redis.Client) (whole bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.phase != phaseStarted {
		return true
	}
	whole = true
	var fresh []*link
	for i, p := range b.parts {
		addr := masters[i].Options().Addr
		l := b.links[addr]
		if l == nil {
			l = b.linkLocked(masters[i])
			fresh = append(fresh, l)
		}
		if p.link != l && (p.link == nil || !p.live || len(p.wanted) == 0) {
			b.joinLocked(p, l)
		}
		whole = whole && p.live
	}
	for _, l := range fresh {
		l.start()
	}
	b.dismissLocked()
	b.healthLocked()
	return whole
}

// dismissLocked ends links that no partition needs.
func (b *Backplane) dismissLocked() {
	used := make(map[*link]bool)
	for _, p := range b.parts {
		used[p.link], used[p.owner] = true, true
	}
	for addr, l := range b.links {
		if !used[l] {
			delete(b.links, addr)
			l.stopLocked()
			b.wait.Go(l.wait.Wait)
		}
	}
}
