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
	// queue is what waits, but for what follows. inFlight messages are with a
	// worker.
	queue    []Frame
	inFlight int
	// bytes of the queue and of what is in flight, and of the latter alone.
	bytes, inFlightBytes int
	// follows is the subscription by whose channel's stream more waits, after
	// the queue, which is then not empty, from place on. Nil: none.
	follows *subscription
	place   place
	// last is the stream that the queue's last message came by.
	last *stream
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

// keepQueue is the largest queue, in messages, whose memory an empty outbox
// keeps.
const keepQueue = 16

type appendOutcome uint8

const (
	// appended: the message waits, and a worker knows of it.
	appended appendOutcome = iota
	// appendedSchedule: the caller must hand the client to a worker.
	appendedSchedule
	// appendFollows: the message waits, and so will the channel's next ones.
	appendFollows
	// appendSealed: the client is going, the message was not taken.
	appendSealed
	// appendOverflow: the outbox is full, and has been emptied and sealed: the
	// caller must end the client.
	appendOverflow
)

// source is what a message comes by: a subscription and its channel's stream,
// with the channel's lock held. It is zero for a message that comes by none.
type source struct {
	stream *stream
	sub    *subscription
}

// append adds a message. It does not block.
func (o *outbox) append(cfg *Config, n *counters, frame Frame, key string, by source) appendOutcome {
	size := frame.Size()
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.sealed {
		return appendSealed
	}
	o.partLocked()
	if o.followLocked(cfg, frame, size, by) {
		return appendFollows
	}
	switch cfg.Overflow {
	case OverflowDropOldest:
		o.dropOldestLocked(cfg, n, 1, size)
	case OverflowKeepLatest:
		if key != "" && o.replaceLocked(cfg, frame, key) {
			n.droppedReplaced.Add(1)
			return appended
		}
		fallthrough
	default:
		if o.fullLocked(cfg, 1, size) {
			n.droppedOverflow.Add(1)
			o.clearLocked(n)
			if o.state != outboxFlushing {
				o.doneLocked()
			}
			return appendOverflow
		}
	}
	if cfg.Overflow == OverflowKeepLatest && key != "" {
		if o.keys == nil {
			o.keys = make(map[string]uint64)
		}
		o.keys[key] = o.base + uint64(len(o.queue))
	}
	o.roomLocked()
	o.queue = append(o.queue, frame)
	o.bytes += size
	o.last = by.stream
	if o.state == outboxIdle {
		o.state = outboxScheduled
		return appendedSchedule
	}
	return appended
}

// followLocked lets the outbox follow a channel's stream if a message of that
// channel waits already, with nothing after it, and there is room for all that
// a stream may hold.
func (o *outbox) followLocked(cfg *Config, frame Frame, size int, by source) bool {
	if by.stream == nil || o.last != by.stream || len(o.queue) == 0 || cfg.Overflow == OverflowKeepLatest ||
		o.fullLocked(cfg, cfg.OutboxMessages/streamShare, cfg.OutboxBytes/streamShare) {
		return false
	}
	place, ok := by.stream.join(cfg, frame, size)
	if ok {
		o.follows, o.place = by.sub, place
	}
	return ok
}

// partLocked moves what waits by a stream into the queue.
func (o *outbox) partLocked() {
	if o.follows == nil {
		return
	}
	var bytes int
	o.queue, bytes = o.follows.channel.stream.part(o.place, o.queue, o.follows, false)
	o.bytes += bytes
	o.follows = nil
}

// part ends the following of a channel, and reports whether it was followed.
func (o *outbox) part(sub *subscription, leaves bool) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.follows != sub {
		return false
	}
	var bytes int
	o.queue, bytes = sub.channel.stream.part(o.place, o.queue, sub, leaves)
	o.bytes += bytes
	o.follows = nil
	return true
}

// longQueue is the length of the queues that go from one outbox in need to the
// next, in messages.
const longQueue = 256

var longQueues = sync.Pool{New: func() any { return new([longQueue]Frame) }}

// roomLocked moves a queue that is full, and longer than an empty outbox's, to a
// long one.
func (o *outbox) roomLocked() {
	if len(o.queue) == cap(o.queue) && len(o.queue) >= keepQueue && len(o.queue) < longQueue {
		long := longQueues.Get().(*[longQueue]Frame)
		o.queue = append(long[:0], o.queue...)
	}
}

// replaceLocked puts the frame in the place of one with the same key that still
// waits, where the bytes allow it.
func (o *outbox) replaceLocked(cfg *Config, frame Frame, key string) bool {
	at, ok := o.keys[key]
	if !ok || at < o.base {
		return false
	}
	place := &o.queue[at-o.base]
	bytes := o.bytes + frame.Size() - (*place).Size()
	if bytes > cfg.OutboxBytes {
		return false
	}
	o.bytes = bytes
	*place = frame
	return true
}

// fullLocked reports whether so many more messages and bytes are too many. What
// is in flight counts, unless the oldest are dropped, which it can't be.
func (o *outbox) fullLocked(cfg *Config, messages, bytes int) bool {
	messages += len(o.queue)
	bytes += o.bytes
	if cfg.Overflow == OverflowDropOldest {
		bytes -= o.inFlightBytes
	} else {
		messages += o.inFlight
	}
	return messages > cfg.OutboxMessages || bytes > cfg.OutboxBytes
}

// dropOldestLocked makes room for so many more messages and bytes, which always
// succeeds, so that it never costs the client its connection.
func (o *outbox) dropOldestLocked(cfg *Config, n *counters, messages, bytes int) {
	dropped := 0
	for len(o.queue) > 0 && o.fullLocked(cfg, messages, bytes) {
		o.bytes -= o.queue[0].Size()
		o.queue[0] = nil
		o.queue = o.queue[1:]
		dropped++
	}
	if dropped > 0 {
		n.droppedOverflow.Add(uint64(dropped))
	}
}

// take gives a worker all that waits, appended to batch, which is empty, and
// says how many bytes it is. The worker calls settle when it has handed it to
// the connection.
func (o *outbox) take(batch []Frame) (_ []Frame, bytes int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.state = outboxFlushing
	o.writable = false
	batch = append(batch, o.queue...)
	o.base += uint64(len(o.queue))
	clear(o.queue)
	o.queue = o.queue[:0]
	if cap(o.queue) > keepQueue {
		if cap(o.queue) == longQueue {
			longQueues.Put((*[longQueue]Frame)(o.queue[:longQueue]))
		}
		o.queue = nil
	}
	if o.follows != nil {
		var bytes int
		batch, bytes = o.follows.channel.stream.part(o.place, batch, o.follows, false)
		o.bytes += bytes
		o.follows = nil
	}
	o.inFlight, o.inFlightBytes = len(batch), o.bytes
	return batch, o.bytes
}

// settle says what became of the batch that take gave: all of it but rest, so
// many bytes, is with the connection. It reports whether the client has to go to
// a worker again.
func (o *outbox) settle(cfg *Config, n *counters, rest []Frame, bytes int, blocked, failed bool) (again bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.inFlight, o.inFlightBytes = 0, 0
	if o.cleared {
		n.droppedGone.Add(uint64(len(rest)))
	} else {
		o.bytes -= bytes
		o.putBackLocked(cfg, n, rest)
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

// putBackLocked lets what a connection did not take wait again, before what
// came meanwhile.
func (o *outbox) putBackLocked(cfg *Config, n *counters, rest []Frame) {
	if len(rest) == 0 {
		return
	}
	o.partLocked()
	o.queue = append(append(make([]Frame, 0, len(rest)+len(o.queue)), rest...), o.queue...)
	o.base -= uint64(len(rest))
	if cfg.Overflow == OverflowDropOldest {
		o.dropOldestLocked(cfg, n, 0, 0)
	}
}

// shrinkLocked gives back the memory of a burst that is over.
func (o *outbox) shrinkLocked() {
	if len(o.queue) == 0 {
		o.keys = nil
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
	o.partLocked()
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
		o.partLocked()
		n.droppedGone.Add(uint64(len(o.queue)))
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
