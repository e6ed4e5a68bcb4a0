package redisbp

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// link is the way to one node: a subscribing connection, made again for ever,
// and a lane for publications.
type link struct {
	b      *Backplane
	node   *redis.Client
	addr   string
	lane   *lane
	ctx    context.Context
	cancel context.CancelFunc
	wait   sync.WaitGroup

	// Guarded by b.mu.
	conn *conn // nil while there is none
	away error // why there is none
	// refused: the last attempt was, as things are configured.
	refused bool
}

const (
	firstBackoff = 50 * time.Millisecond
	lastBackoff  = 2 * time.Second
	// joinTimeout bounds how long a new connection may take to subscribe to
	// everything.
	joinTimeout = 15 * time.Second
	// minProof is how long a new connection's first probe may take at least.
	minProof = time.Second
	// maxBehind is how many probes may be on their way while other messages come.
	maxBehind = 10
)

// failoverAddr is the address that go-redis gives to a client of Sentinels.
const failoverAddr = "FailoverClient"

// linkLocked makes a link; start runs it.
func (b *Backplane) linkLocked(node *redis.Client) *link {
	l := &link{b: b, node: node, addr: node.Options().Addr}
	if l.addr == failoverAddr {
		l.addr = "the Sentinels' master"
	}
	l.ctx, l.cancel = context.WithCancel(b.ctx)
	l.lane = newLane(l)
	b.links[l.addr] = l
	b.all[l] = struct{}{}
	return l
}

func (l *link) start() {
	l.wait.Go(l.run)
	l.wait.Go(l.lane.run)
}

func (l *link) stopLocked() {
	l.cancel()
	if l.conn != nil {
		l.conn.failLocked(errors.New("closed"))
	}
}

// run connects again and again.
func (l *link) run() {
	backoff := firstBackoff
	said := false // what is wrong now was logged
	for l.ctx.Err() == nil {
		began := time.Now()
		wasUp, err := l.serve()
		if l.ctx.Err() != nil {
			return
		}
		l.b.attempted(err)
		l.tell(err, wasUp, &said)
		if wasUp && time.Since(began) > lastBackoff {
			backoff = firstBackoff
		}
		pause := time.NewTimer(backoff/2 + rand.N(backoff/2+1))
		select {
		case <-l.ctx.Done():
		case <-pause.C:
		}
		pause.Stop()
		backoff = min(2*backoff, lastBackoff)
	}
}

// tell logs why connecting fails, loudly once, and reports a refusal that nobody
// has heard of.
func (l *link) tell(err error, wasUp bool, said *bool) {
	b := l.b
	b.mu.Lock()
	l.away = err
	news := !*said || wasUp || refused(err) != l.refused
	if news && refused(err) {
		b.signals.disrupted(fmt.Errorf("redisbp: %s: %w", l.addr, err))
	}
	l.refused = refused(err)
	b.mu.Unlock()
	*said = true
	level := slog.LevelDebug
	if news {
		level = slog.LevelWarn
	}
	b.cfg.Logger.Log(l.ctx, level, "redis connection failed", slog.String("address", l.addr), slog.Any("error", err))
}

// serve is the life of one connection.
func (l *link) serve() (wasUp bool, err error) {
	c, err := l.connect()
	if err != nil {
		return false, err
	}
	var running sync.WaitGroup
	running.Go(c.run)
	k, mine := l.adopt(c)
	if k != nil && l.join(c, k) && l.prove(c) {
		wasUp = l.rise(c, k, mine)
		l.watch(c)
	}
	c.fail(errors.New("closed"))
	running.Wait()

	b := l.b
	b.mu.Lock()
	defer b.mu.Unlock()
	l.conn = nil
	b.lostLocked(l, c.err)
	return wasUp, c.err
}

// adopt makes a connection the link's, and queues all that is wanted.
func (l *link) adopt(c *conn) (*call, []*partition) {
	b := l.b
	b.mu.Lock()
	defer b.mu.Unlock()
	if l.ctx.Err() != nil {
		return nil, nil
	}
	l.conn = c
	k := newCall()
	var mine []*partition
	for _, p := range b.parts {
		if p.link != l {
			continue
		}
		mine = append(mine, p)
		if c.probe == "" {
			c.joinProbeLocked(k, p)
		}
		c.joinLocked(k, p)
	}
	k.finishLocked()
	return k, mine
}

// join waits until a new connection is subscribed to everything.
func (l *link) join(c *conn, k *call) bool {
	patience := time.NewTimer(joinTimeout)
	defer patience.Stop()
	select {
	case <-k.done:
	case <-c.over:
	case <-patience.C:
		c.fail(fmt.Errorf("subscriptions are not confirmed after %v", joinTimeout))
	}
	l.b.mu.Lock()
	defer l.b.mu.Unlock()
	if err := k.failed[""]; unknownCommand(err) && l.b.names.partitions > 0 {
		c.failLocked(fmt.Errorf("subscribe: before Redis 7 a Cluster has no sharded pub/sub, Config.NoSharding does without: %w", err))
	} else if err != nil {
		c.failLocked(fmt.Errorf("subscribe: %w", err))
	}
	return !c.ended
}

// prove sends probes until one comes back: a connection that is confirmed may
// still be deaf.
func (l *link) prove(c *conn) bool {
	channel := l.probeChannel(c)
	if channel == "" {
		return true // the node has lost all its partitions again
	}
	patience := time.NewTimer(max(l.b.cfg.ProbeInterval, minProof))
	defer patience.Stop()
	retry := time.NewTicker(firstBackoff)
	defer retry.Stop()
	p := l.lane.probe(channel, c.sent.Add(1))
	for {
		select {
		case <-c.back:
			return true
		case <-c.over:
			return false
		case <-patience.C:
			c.fail(l.deaf(p))
			return false
		case <-retry.C:
		}
		if p.failed() {
			p = l.lane.probe(channel, c.sent.Add(1))
		}
	}
}

// deaf is why a connection ends whose probe does not come back.
func (l *link) deaf(p *publish) error {
	err := fmt.Errorf("a probe has not come back within %v", l.b.cfg.ProbeInterval)
	if cause := p.result(); cause != nil {
		err = fmt.Errorf("%w: publishing it: %w", err, cause)
	}
	return err
}

// rise makes the partitions live that a new connection is subscribed to.
func (l *link) rise(c *conn, k *call, mine []*partition) bool {
	b := l.b
	b.mu.Lock()
	defer b.mu.Unlock()
	if c.ended {
		return false
	}
	for _, p := range mine {
		if p.link == l {
			b.setLiveLocked(p, true)
		}
	}
	b.forbiddenLocked(l, k)
	b.healthLocked()
	return true
}

// watch sends probes and ends a connection through which they don't come back.
func (l *link) watch(c *conn) {
	tick := time.NewTicker(l.b.cfg.ProbeInterval)
	defer tick.Stop()
	events := c.events.Load()
	var under *publish // the newest probe
	for {
		select {
		case <-c.over:
			return
		case <-tick.C:
		}
		now := c.events.Load()
		behind := c.sent.Load() - c.echoed.Load()
		if behind > 0 && under != nil && (behind > maxBehind || now == events && c.silent(l.b.cfg.ProbeInterval/8)) {
			c.fail(l.deaf(under))
			return
		}
		events = now
		if channel := l.probeChannel(c); channel != "" {
			under = l.lane.probe(channel, c.sent.Add(1))
		}
	}
}

// silent reports whether nothing comes for a while longer. Where this process was
// stopped, or the whole machine, what has come meanwhile is read now.
func (c *conn) silent(patience time.Duration) bool {
	events := c.events.Load()
	last := time.NewTimer(patience)
	defer last.Stop()
	select {
	case <-c.over:
	case <-last.C:
	}
	return c.events.Load() == events
}

// probeChannel is where probes go, in a partition that the node still serves.
func (l *link) probeChannel(c *conn) string {
	b := l.b
	b.mu.Lock()
	defer b.mu.Unlock()
	if c.probe != "" && b.parts[c.probeAt].link == l {
		return c.probe
	}
	for _, p := range b.parts {
		if p.link == l {
			k := newCall()
			c.joinProbeLocked(k, p)
			k.finishLocked()
			return c.probe
		}
	}
	return ""
}

// echo takes a probe that has come back. One that this connection has not sent is
// of an earlier connection, and late, or somebody else's.
func (c *conn) echo(payload []byte) {
	if len(payload) != 8 {
		return
	}
	number := binary.BigEndian.Uint64(payload)
	if number > c.sent.Load() {
		return
	}
	c.echoed.Store(max(c.echoed.Load(), number))
	select {
	case c.back <- struct{}{}:
	default:
	}
}
