package natsbp

import (
	"errors"
	"sync"
	"sync/atomic"

	"github.com/nats-io/nats.go"

	"forge.lthn.ai/core/go-ws/hub"
)

// fromClient is how many messages may wait in the client, for the reader to take
// them, and no more than PendingMessages. The reader is always near: the queue
// behind it is where they wait.
const fromClient = 16 << 10

// messageOverhead is what a message costs beside its bytes: the client's struct
// and the headers of slices and strings.
const messageOverhead = 256

// inbound is the way of messages from the client to the hub. All subscriptions
// put theirs into one channel, in the order in which they came; the reader
// takes them into a queue that is bounded in bytes too, which the client's
// channel is not; and one goroutine hands them to the hub. A subscription with a
// callback would cost a goroutine for each topic.
type inbound struct {
	messages chan *nats.Msg // never closed
	arrived  atomic.Uint64  // messages, probes included
	filled   atomic.Uint64  // how often the channel may have been full

	mu    sync.Mutex
	list  []*nats.Msg
	count int // of the list, and of what deliver has at hand
	bytes int
	wake  chan struct{}

	dropped atomic.Uint64
	losing  chan struct{} // watch: something was dropped

	slowMu sync.Mutex
	slow   map[*nats.Subscription]int // what they have dropped, as counted
}

func (in *inbound) init(pending int) {
	in.messages = make(chan *nats.Msg, min(fromClient, pending))
	in.wake = make(chan struct{}, 1)
	in.losing = make(chan struct{}, 1)
	in.slow = make(map[*nats.Subscription]int)
}

// read is the reader's goroutine.
func (b *Backplane) read() {
	for {
		select {
		case m := <-b.in.messages:
			b.take(m)
		case <-b.ctx.Done():
			return
		}
	}
}

// take queues a message, and some that are there behind it: not all, since
// deliver wants the lock too.
func (b *Backplane) take(m *nats.Msg) {
	in := &b.in
	in.mu.Lock()
	defer in.mu.Unlock()
	queued := len(in.list)
	for i := 1; m != nil; i++ {
		in.arrived.Add(1)
		in.noteFull()
		if m.Subject != b.probe {
			b.queueLocked(m)
		}
		m = nil
		if i < 256 {
			select {
			case m = <-in.messages:
			default:
			}
		}
	}
	if len(in.list) > queued {
		select {
		case in.wake <- struct{}{}:
		default:
		}
	}
}

func (b *Backplane) queueLocked(m *nats.Msg) {
	in := &b.in
	size := messageSize(m)
	if in.count >= b.cfg.PendingMessages || in.count > 0 && in.bytes+size > b.cfg.PendingBytes {
		b.lost(1)
		return
	}
	in.list = append(in.list, m)
	in.count++
	in.bytes += size
}

// messageSize counts NATS's headers too. No hub writes any, but another program may.
func messageSize(m *nats.Msg) int { return m.Size() + messageOverhead }

// lost counts and tells watch.
func (b *Backplane) lost(n int) {
	b.in.dropped.Add(uint64(n))
	select {
	case b.in.losing <- struct{}{}:
	default:
	}
}

// deliver is the goroutine that calls the receiver's Deliver.
func (b *Backplane) deliver() {
	in := &b.in
	var spare []*nats.Msg
	for {
		select {
		case <-in.wake:
		case <-b.ctx.Done():
			return
		}
		in.mu.Lock()
		batch := in.list
		in.list = spare
		in.mu.Unlock()
		for i, m := range batch {
			if b.ctx.Err() != nil {
				return
			}
			b.hand(m)
			batch[i] = nil
			in.mu.Lock()
			in.count--
			in.bytes -= messageSize(m)
			in.mu.Unlock()
		}
		if spare = batch[:0]; cap(spare) > 4096 {
			spare = nil
		}
	}
}

// hand gives a message to the hub, unless the topic was left meanwhile.
func (b *Backplane) hand(m *nats.Msg) {
	topic, err := b.subjects.topic(m.Subject)
	if err != nil {
		return // nothing of ours is subscribed to such a subject
	}
	b.mu.Lock()
	e := b.topics[topic]
	b.mu.Unlock()
	if e != nil {
		b.receiver.Deliver(hub.Delivery{Topic: e.name, Envelope: m.Data})
	}
}

// settledDown reports whether the queue is less than half full.
func (b *Backplane) settledDown() bool {
	b.in.mu.Lock()
	defer b.in.mu.Unlock()
	return b.in.count <= b.cfg.PendingMessages/2 && b.in.bytes <= b.cfg.PendingBytes/2
}

// asyncError is what the client's error handler calls. It reports whether the
// error is of nobody else's interest.
func (b *Backplane) asyncError(sub *nats.Subscription, err error) (hidden bool) {
	if errors.Is(err, nats.ErrSlowConsumer) {
		if sub != nil && b.refusals.reach(sub.Subject) {
			return true
		}
		if sub != nil && b.ours(sub) {
			b.countSlow(sub)
		}
		return false
	}
	return b.refusals.note(err)
}

// ours reports whether a subscription is of this backplane: a program's
// connection has others.
func (b *Backplane) ours(sub *nats.Subscription) bool {
	if sub.Subject == b.probe {
		return true
	}
	topic, err := b.subjects.topic(sub.Subject)
	if err != nil {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	e := b.topics[topic]
	return e != nil && e.sub == sub
}

// countSlow counts what the client has thrown away of one subscription, because
// the reader did not come to run. The client tells the first of a series only;
// watch asks for the others.
func (b *Backplane) countSlow(sub *nats.Subscription) {
	b.in.slowMu.Lock()
	defer b.in.slowMu.Unlock()
	b.countSlowLocked(sub)
}

func (b *Backplane) countSlowLocked(sub *nats.Subscription) {
	n, err := sub.Dropped()
	counted := b.in.slow[sub]
	if err != nil || n == counted {
		return
	}
	b.in.slow[sub] = n
	b.lost(n - counted)
}

// recountSlow looks again at those that have been slow.
func (b *Backplane) recountSlow() {
	b.in.slowMu.Lock()
	defer b.in.slowMu.Unlock()
	for sub := range b.in.slow {
		if !sub.IsValid() {
			delete(b.in.slow, sub)
			continue
		}
		b.countSlowLocked(sub)
	}
}
