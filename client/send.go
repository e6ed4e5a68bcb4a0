package client

import (
	"context"
	"fmt"
	"slices"

	"forge.lthn.ai/core/go-ws/hub/wire"
)

// entry is a message on its way to the hub. Its channels have room for the one
// value that each gets: sent when it is written or won't be, reply only then and
// only of a request that is written.
type entry struct {
	frame []byte
	id    uint64 // of a request; zero: it is none
	sent  chan error
	reply chan answer // of a request
}

// answer is what a request gets.
type answer struct {
	frame wire.Frame
	err   error
}

// queue has the messages that wait to be written, in order. It is guarded by the
// client's lock.
type queue struct {
	waiting []*entry
	bytes   int
}

func (q *queue) push(e *entry) {
	q.waiting = append(q.waiting, e)
	q.bytes += len(e.frame)
}

// take removes the first messages, up to a number of bytes but at least one.
func (q *queue) take(limit int) []*entry {
	n, size := 0, 0
	for n < len(q.waiting) && (n == 0 || size+len(q.waiting[n].frame) <= limit) {
		size += len(q.waiting[n].frame)
		n++
	}
	taken := slices.Clone(q.waiting[:n])
	q.waiting = slices.Delete(q.waiting, 0, n)
	q.bytes -= size
	return taken
}

func (q *queue) takeAll() []*entry {
	all := q.waiting
	q.waiting, q.bytes = nil, 0
	return all
}

// withdraw removes a message, and reports whether it was still there.
func (q *queue) withdraw(e *entry) bool {
	i := slices.Index(q.waiting, e)
	if i < 0 {
		return false
	}
	q.waiting = slices.Delete(q.waiting, i, i+1)
	q.bytes -= len(e.frame)
	return true
}

// Send sends a message and returns when it is written to the connection. nil
// does not say that the hub has got it: that is what Request is for.
//
// Without a connection it fails at once with ErrNotConnected, or with
// ReconnectConfig.QueueWhileAway waits for one. ErrNotConnected, ErrQueueFull
// and ErrClosed mean that the message was not sent and won't be,
// ErrConnectionLost that nobody knows. Where ctx ends first the error wraps its
// error, and the message is withdrawn unless it is being written. Messages go out
// in the order of the calls, each behind the subscriptions and their ends that
// were asked for before.
func (c *ReconnectingClient) Send(ctx context.Context, m Message) error {
	e, err := c.enqueue(m, false)
	if err != nil {
		return err
	}
	select {
	case err := <-e.sent:
		return err
	case <-ctx.Done():
		c.withdraw(e)
		return fmt.Errorf("client: sending: %w", ctx.Err())
	}
}

// Post is Send without waiting: the channel gets what Send would have returned,
// and then nothing more. Messages that are posted without a connection, with
// ReconnectConfig.QueueWhileAway, go out in order once there is one.
func (c *ReconnectingClient) Post(m Message) <-chan error {
	e, err := c.enqueue(m, false)
	if err != nil {
		refused := make(chan error, 1)
		refused <- err
		return refused
	}
	return e.sent
}

// Request sends a message with an id and returns the hub's answer: a frame of
// the type reply (pong for a ping), or of a type that the server's OnMessage has
// chosen, with the same id and no channel. The hub's error is a RequestError, and
// the other errors are those of Send; ErrConnectionLost also where the connection
// was lost before the answer came. Without a deadline in ctx it waits for as long
// as the connection lasts.
func (c *ReconnectingClient) Request(ctx context.Context, m Message) (wire.Frame, error) {
	e, err := c.enqueue(m, true)
	if err != nil {
		return wire.Frame{}, err
	}
	select {
	case err := <-e.sent:
		if err != nil {
			return wire.Frame{}, err
		}
	case <-ctx.Done():
		c.withdraw(e)
		return wire.Frame{}, fmt.Errorf("client: sending a request: %w", ctx.Err())
	}
	select {
	case a := <-e.reply:
		return a.frame, a.err
	case <-ctx.Done():
		c.withdraw(e)
		return wire.Frame{}, fmt.Errorf("client: waiting for a reply: %w", ctx.Err())
	}
}

// enqueue gives a message to the writer, or says at once why not.
func (c *ReconnectingClient) enqueue(m Message, request bool) (*entry, error) {
	e := &entry{sent: make(chan error, 1)}
	var id string
	if request {
		e.reply = make(chan answer, 1)
		c.mu.Lock()
		c.lastID++
		e.id = c.lastID
		c.mu.Unlock()
		id = formatID(e.id)
	}
	var err error
	if e.frame, err = m.frame(id); err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch q := &c.queue; {
	case c.closed != nil:
		return nil, c.closed
	case c.session == nil && !c.cfg.QueueWhileAway:
		return nil, ErrNotConnected
	case len(q.waiting) >= c.cfg.QueueMessages, len(q.waiting) > 0 && q.bytes+len(e.frame) > c.cfg.QueueBytes:
		// A message that is longer than the bound goes alone.
		return nil, ErrQueueFull
	default:
		q.push(e)
	}
	c.poke()
	return e, nil
}

// withdraw forgets a message that nobody waits for any more.
func (c *ReconnectingClient) withdraw(e *entry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.queue.withdraw(e)
	delete(c.requests, e.id)
}

// answered hands an answer to its request, and reports whether there is one.
// Called with the lock.
func (c *ReconnectingClient) answeredLocked(f wire.Frame) bool {
	e := c.requests[parseID(f.ID)]
	if e == nil {
		return false
	}
	delete(c.requests, e.id)
	a := answer{frame: f}
	if f.Type == wire.TypeError {
		a.err = requestError(f)
	}
	e.reply <- a
	return true
}
