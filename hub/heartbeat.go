package hub

import (
	"math/rand/v2"
	"sync"
	"time"

	"forge.lthn.ai/core/go-ws/hub/wire"
)

// heartbeat is the hub's one clock. It pings clients, each at its own moment of
// the interval, and closes those that were silent, blocked or admitted for too
// long. Clients stand on a wheel of slots, in the slot of the tick at which
// something is next due; a tick looks at one slot.
type heartbeat struct {
	hub  *Hub
	tick time.Duration
	done chan struct{}
	wait sync.WaitGroup

	mu    sync.Mutex
	slots [wheelSlots][]*Client
	// pos is the slot of the tick that comes next.
	pos int
	// blocked are the clients whose socket was full when last written to.
	blocked map[*Client]struct{}
}

const wheelSlots = 128

// wheelPlace is a client's place on the wheel. heartbeat.mu guards it, but for
// nextPing and heard, which are the clock's.
type wheelPlace struct {
	slot, index int
	standing    bool
	gone        bool
	nextPing    time.Time
	// heard is when the client was last found to be paused: its silence is the
	// hub's own doing.
	heard time.Time
}

func newHeartbeat(h *Hub) *heartbeat {
	tick := time.Second
	for _, d := range []time.Duration{h.cfg.HeartbeatInterval, h.cfg.PongTimeout, h.cfg.WriteTimeout} {
		if d > 0 {
			tick = min(tick, d/32)
		}
	}
	return &heartbeat{
		hub:     h,
		tick:    max(tick, time.Millisecond),
		done:    make(chan struct{}),
		blocked: make(map[*Client]struct{}),
	}
}

func (b *heartbeat) start() { b.wait.Go(b.run) }

// stop ends the clock and waits for it.
func (b *heartbeat) stop() {
	close(b.done)
	b.wait.Wait()
}

func (b *heartbeat) run() {
	ticker := time.NewTicker(b.tick)
	defer ticker.Stop()
	// A tick that the machine was too busy to deliver is made up for, so that
	// the wheel keeps time.
	next := time.Now().Add(b.tick)
	for {
		select {
		case <-b.done:
			return
		case <-ticker.C:
		}
		now := time.Now()
		if behind := now.Sub(next); behind > wheelSlots*b.tick {
			next = now.Add(-wheelSlots * b.tick)
		}
		for ; !next.After(now); next = next.Add(b.tick) {
			for _, c := range b.turn() {
				b.visit(c, now)
			}
		}
		b.checkBlocked(now)
	}
}

// turn moves the wheel by a slot and returns who stood there.
func (b *heartbeat) turn() []*Client {
	b.mu.Lock()
	defer b.mu.Unlock()
	due := b.slots[b.pos]
	b.slots[b.pos] = nil
	b.pos = (b.pos + 1) % wheelSlots
	for _, c := range due {
		c.wheel.standing = false
	}
	return due
}

// add puts a new client on the wheel.
func (b *heartbeat) add(c *Client) {
	now := time.Now()
	if every := b.hub.cfg.HeartbeatInterval; every > 0 {
		c.wheel.nextPing = now.Add(rand.N(every) + 1)
	}
	b.place(c, now, b.next(c))
}

// remove takes a client off the wheel for good.
func (b *heartbeat) remove(c *Client) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.blocked, c)
	c.wheel.gone = true
	if !c.wheel.standing {
		return
	}
	c.wheel.standing = false
	slot := b.slots[c.wheel.slot]
	last := len(slot) - 1
	slot[c.wheel.index] = slot[last]
	slot[c.wheel.index].wheel.index = c.wheel.index
	slot[last] = nil
	b.slots[c.wheel.slot] = slot[:last]
}

// place puts a client into the slot of a moment, or of the farthest that the
// wheel has.
func (b *heartbeat) place(c *Client, now, at time.Time) {
	if at.IsZero() {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if c.wheel.gone {
		return
	}
	ticks := int(min((at.Sub(now)+b.tick-1)/b.tick, wheelSlots-1))
	slot := (b.pos + max(ticks, 0)) % wheelSlots
	c.wheel.slot, c.wheel.index, c.wheel.standing = slot, len(b.slots[slot]), true
	b.slots[slot] = append(b.slots[slot], c)
}

// next is when something is next due for a client; zero for never.
func (b *heartbeat) next(c *Client) time.Time {
	at := c.wheel.nextPing
	if timeout := b.hub.cfg.PongTimeout; timeout > 0 {
		at = earlier(at, c.lastHeard().Add(timeout))
	}
	return earlier(at, c.expiresAt)
}

// lastHeard is when the client last showed life. The clock's own.
func (c *Client) lastHeard() time.Time {
	if at := c.conn.LastRead(); at.After(c.wheel.heard) {
		return at
	}
	return c.wheel.heard
}

func earlier(a, b time.Time) time.Time {
	if a.IsZero() || (!b.IsZero() && b.Before(a)) {
		return b
	}
	return a
}

// visit does what is due for a client. No lock is held: a ping is a write.
func (b *heartbeat) visit(c *Client, now time.Time) {
	cfg := &b.hub.cfg
	if !c.expiresAt.IsZero() && !now.Before(c.expiresAt) {
		c.end(ending{reason: DisconnectedExpired, code: wire.CloseCredentialsExpired, text: "credentials expired", flush: true})
		return
	}
	if c.in.isPaused() {
		c.wheel.heard = now
	}
	if cfg.PongTimeout > 0 && now.Sub(c.lastHeard()) >= cfg.PongTimeout {
		c.end(ending{reason: DisconnectedSilent, code: wire.ClosePongTimeout, text: "nothing heard"})
		return
	}
	if cfg.HeartbeatInterval > 0 && !now.Before(c.wheel.nextPing) {
		// A ping that fails is a connection that ends: its reader says so.
		_ = c.conn.Ping()
		c.wheel.nextPing = c.wheel.nextPing.Add(cfg.HeartbeatInterval)
		if c.wheel.nextPing.Before(now) {
			c.wheel.nextPing = now.Add(cfg.HeartbeatInterval)
		}
	}
	b.place(c, now, b.next(c))
}

// watchBlocked tells the clock of a client whose socket is full.
func (b *heartbeat) watchBlocked(c *Client) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !c.wheel.gone {
		b.blocked[c] = struct{}{}
	}
}

func (b *heartbeat) checkBlocked(now time.Time) {
	b.mu.Lock()
	watched := make([]*Client, 0, len(b.blocked))
	for c := range b.blocked {
		watched = append(watched, c)
	}
	b.mu.Unlock()
	for _, c := range watched {
		switch blocked := c.out.blockedFor(now); {
		case blocked == 0:
			b.unwatch(c)
		case blocked >= b.hub.cfg.WriteTimeout:
			c.endSlow("socket full for too long")
		}
	}
}

// unwatch forgets a client whose socket is no longer full. It asks once more
// under the lock, so that a blockage that has begun since is not forgotten.
func (b *heartbeat) unwatch(c *Client) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !c.out.isBlocked() {
		delete(b.blocked, c)
	}
}
