package hub

import (
	"sync"
	"time"
)

// outbox holds what waits to be written to one client. Publishers append to it
// and never wait; a flushing worker empties it into the connection.
//
//	          append                worker            all was taken
//	idle ───────────▶ scheduled ───────────▶ flushing ──────────────▶ idle
//	                    ▲  ▲                   │  │
//	                    │  └───────────────────┘  │ socket full
//	                    │   more came meanwhile   ▼
//	                    └────────────────────── blocked
//	                           Writable
type outbox struct {
	mu    sync.Mutex
	state outboxState
	// queue begins with the inFlight messages that a worker is writing.
	queue    []queued
	inFlight int
	// bytes of the queue, and of the messages in flight.
	bytes, inFlightBytes int
	// base is how many messages have left the front of the queue, so that
	// keys can point into it.
	base uint64
	// keys is where each coalescing key waits. Only OverflowKeepLatest has it.
	keys map[string]uint64
	// writable remembers a Writable that came while the worker was still in
	// Send.
	writable bool
	// sealed: nothing more is taken.
	sealed bool
	// cleared: what waited was dropped, a batch in flight included.
	cleared bool
	// drained is closed once the outbox is sealed and everything has been
	// written, or will never be.
	drained chan struct{}
	// blockedSince is when the socket was found full, zero while it is not.
	blockedSince time.Time
}

type outboxState uint8

const (
	outboxIdle outboxState = iota
	outboxScheduled
	outboxFlushing
	outboxBlocked
)

type queued struct {
	frame Frame
	key   string
}

// keepQueue is the largest queue, in messages, whose memory an empty outbox
// keeps.
const keepQueue = 16

type appendOutcome uint8

const (
	// appended: the message waits, and a worker knows of it.
	appended appendOutcome = iota
	// appendedSchedule: the caller must hand the client to a worker.
	appendedSchedule
	// appendSealed: the client is going, the message was not taken.
	appendSealed
	// appendOverflow: the outbox is full, and has been emptied and sealed: the
	// caller must end the client.
	appendOverflow
)

// append adds a message. It takes no other lock and does not block.
func (o *outbox) append(cfg *Config, n *counters, frame Frame, key string) appendOutcome {
	size := frame.Size()
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.sealed {
		return appendSealed
	}
	if cfg.Overflow == OverflowKeepLatest && key != "" {
		if o.replaceLocked(cfg, frame, key) {
			n.droppedReplaced.Add(1)
			return appended
		}
	}
	if cfg.Overflow == OverflowDropOldest {
		o.dropOldestLocked(cfg, n, 1, size)
	} else if o.fullLocked(cfg, size) {
		n.droppedOverflow.Add(1)
		o.clearLocked(n)
		if o.state != outboxFlushing {
			o.doneLocked()
		}
		return appendOverflow
	}
	if cfg.Overflow == OverflowKeepLatest && key != "" {
		if o.keys == nil {
			o.keys = make(map[string]uint64)
		}
		o.keys[key] = o.base + uint64(len(o.queue))
	}
	o.queue = append(o.queue, queued{frame, key})
	o.bytes += size
	if o.state == outboxIdle {
		o.state = outboxScheduled
		return appendedSchedule
	}
	return appended
}

// replaceLocked puts the frame in the place of one with the same key that still
// waits, where the bytes allow it.
func (o *outbox) replaceLocked(cfg *Config, frame Frame, key string) bool {
	at, ok := o.keys[key]
	if !ok || at < o.base+uint64(o.inFlight) {
		return false
	}
	place := &o.queue[at-o.base]
	bytes := o.bytes + frame.Size() - place.frame.Size()
	if bytes > cfg.OutboxBytes {
		return false
	}
	o.bytes = bytes
	place.frame = frame
	return true
}

func (o *outbox) fullLocked(cfg *Config, size int) bool {
	return len(o.queue) >= cfg.OutboxMessages || o.bytes+size > cfg.OutboxBytes
}

// dropOldestLocked makes room for so many more messages and bytes, which always
// succeeds: what is in flight can't be dropped any more and does not count, so
// that it never costs the client its connection.
func (o *outbox) dropOldestLocked(cfg *Config, n *counters, messages, bytes int) {
	dropped, waiting := 0, len(o.queue)-o.inFlight
	for dropped < waiting &&
		(waiting-dropped+messages > cfg.OutboxMessages || o.bytes-o.inFlightBytes+bytes > cfg.OutboxBytes) {
		o.bytes -= o.queue[o.inFlight+dropped].frame.Size()
		dropped++
	}
	if dropped == 0 {
		return
	}
	// What is in flight stays in front.
	copy(o.queue[dropped:], o.queue[:o.inFlight])
	clear(o.queue[:dropped])
	o.queue = o.queue[dropped:]
	n.droppedOverflow.Add(uint64(dropped))
}

// take gives a worker all that waits, appended to batch. The worker calls
// settle when it has handed it to the connection.
func (o *outbox) take(batch []Frame) []Frame {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.state = outboxFlushing
	o.writable = false
	o.inFlight, o.inFlightBytes = len(o.queue), o.bytes
	for i := range o.queue {
		batch = append(batch, o.queue[i].frame)
	}
	return batch
}

// settle says what became of the batch that take gave: so many messages, of so
// many bytes, are with the connection. It reports whether the client has to go
// to a worker again.
func (o *outbox) settle(cfg *Config, n *counters, taken, bytes int, blocked, failed bool) (again bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.cleared {
		n.droppedGone.Add(uint64(o.inFlight - taken))
	} else {
		clear(o.queue[:taken])
		if taken == len(o.queue) {
			// From the start again, so that a message at a time allocates nothing.
			o.queue = o.queue[:0]
		} else {
			o.queue = o.queue[taken:]
		}
		o.base += uint64(taken)
		o.bytes -= bytes
	}
	o.inFlight, o.inFlightBytes = 0, 0
	if cfg.Overflow == OverflowDropOldest {
		// What was not taken waits again, before what came meanwhile.
		o.dropOldestLocked(cfg, n, 0, 0)
	}
	if failed {
		o.clearLocked(n)
	}
	o.shrinkLocked()
	switch {
	case blocked && !o.writable:
		o.state = outboxBlocked
		o.blockedSince = time.Now()
		if o.cleared {
			o.doneLocked()
		}
		return false
	case len(o.queue) > 0:
		o.state = outboxScheduled
		return true
	}
	o.state = outboxIdle
	o.doneLocked()
	return false
}

// shrinkLocked gives back the memory of a burst that is over.
func (o *outbox) shrinkLocked() {
	if len(o.queue) == 0 {
		o.keys = nil
		if cap(o.queue) > keepQueue {
			o.queue = nil
		}
	}
	if len(o.keys) > 2*len(o.queue)+keepQueue {
		for key, at := range o.keys {
			if at < o.base {
				delete(o.keys, key)
			}
		}
	}
}

// wake takes the connection's word that it holds nothing unwritten. It reports
// whether the client has to go to a worker.
func (o *outbox) wake() (schedule bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch o.state {
	case outboxFlushing:
		o.writable = true
	case outboxBlocked:
		o.blockedSince = time.Time{}
		if len(o.queue) > 0 {
			o.state = outboxScheduled
			return true
		}
		o.state = outboxIdle
		o.doneLocked()
	}
	return false
}

// seal stops taking messages; drained is closed once all are written.
func (o *outbox) seal() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.sealed = true
	if o.state == outboxIdle {
		o.doneLocked()
	}
}

// abandon seals the outbox and drops what waits.
func (o *outbox) abandon(n *counters) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.clearLocked(n)
	o.doneLocked()
}

func (o *outbox) clearLocked(n *counters) {
	if !o.cleared {
		n.droppedGone.Add(uint64(len(o.queue) - o.inFlight))
	}
	o.sealed, o.cleared = true, true
	o.queue, o.keys, o.bytes = nil, nil, 0
}

// doneLocked closes drained, where the outbox is sealed.
func (o *outbox) doneLocked() {
	if !o.sealed {
		return
	}
	select {
	case <-o.drained:
	default:
		close(o.drained)
	}
}

// isBlocked reports whether the socket is full, or a worker is about to find
// out.
func (o *outbox) isBlocked() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.state == outboxBlocked || o.state == outboxFlushing
}

// blockedFor is how long the socket has been full.
func (o *outbox) blockedFor(now time.Time) time.Duration {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.blockedSince.IsZero() {
		return 0
	}
	return now.Sub(o.blockedSince)
}
