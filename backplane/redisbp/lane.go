package redisbp

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"forge.lthn.ai/core/go-ws/hub"
	"github.com/redis/go-redis/v9"
)

// lane carries publications to one node, over one connection of the client's
// pool: all that waits goes out in one pipeline, and the next one when its
// replies are there. So publishers share round trips, nothing overtakes, and
// whether anything was sent is known.
type lane struct {
	link *link
	// client is whose pool the connection is of.
	client *redis.Client
	verb   string
	wake   chan struct{}
	// slots bounds what waits and what is under way.
	slots chan struct{}

	mu    sync.Mutex
	queue []*publish

	// Owned by run.
	conn    *redis.Conn
	buf     []byte // the envelopes of a batch
	away    error  // why connecting failed, until retryAt
	retryAt time.Time
}

// publish is one command on its way.
type publish struct {
	channel  string
	envelope []byte // the caller's while it waits, a part of lane.buf after
	role     bool   // ask for the node's role too
	slot     bool   // it holds a slot
	taken    bool   // guarded by lane.mu
	done     chan struct{}
	err      error // set when done
}

const (
	maxWaiting    = 4096
	maxBatch      = 1024
	maxBatchBytes = 1 << 20
	// laneTimeout bounds a pipeline, and connecting.
	laneTimeout = 5 * time.Second
	// laneRetry is how long a failure to connect is the answer to publications.
	laneRetry = 50 * time.Millisecond
)

func newLane(l *link) *lane {
	verb := "publish"
	if l.b.names.partitions > 0 {
		verb = "spublish"
	}
	client := l.node
	if !l.b.owned {
		// A redis.Conn and the client that it is of write to the same options, each
		// under a lock of its own, where maintenance notifications are on. This gives
		// the lane options of its own.
		client = client.WithTimeout(client.Options().ReadTimeout)
	}
	return &lane{link: l, client: client, verb: verb, wake: make(chan struct{}, 1), slots: make(chan struct{}, maxWaiting)}
}

// publish waits for the result of one publication, for as long as ctx allows.
func (n *lane) publish(ctx context.Context, channel string, envelope []byte) error {
	select {
	case n.slots <- struct{}{}:
	case <-ctx.Done():
		return notSent(ctx.Err())
	case <-n.link.ctx.Done():
		return notSent(errors.New("closed"))
	}
	p := &publish{channel: channel, envelope: envelope, slot: true, done: make(chan struct{})}
	if !n.put(p) {
		<-n.slots
		return notSent(errors.New("closed"))
	}
	select {
	case <-p.done:
		return p.err
	case <-ctx.Done():
	}
	if n.withdraw(p) {
		<-n.slots
		return notSent(ctx.Err())
	}
	return ctx.Err()
}

// notSent is an error after which nothing was published.
func notSent(err error) error { return fmt.Errorf("%w: nothing was sent: %w", hub.ErrUnavailable, err) }

// probe sends a number to the node's own subscribing connection, and looks
// whether the node still is a master. It does not wait.
func (n *lane) probe(channel string, number uint64) *publish {
	p := &publish{channel: channel, envelope: binary.BigEndian.AppendUint64(nil, number), role: true, done: make(chan struct{})}
	n.put(p)
	return p
}

// failed reports whether it is done and did not succeed.
func (p *publish) failed() bool {
	select {
	case <-p.done:
		return p.err != nil
	default:
		return false
	}
}

// result is the error of a publish that is done.
func (p *publish) result() error {
	select {
	case <-p.done:
		return p.err
	default:
		return errors.New("it is still under way")
	}
}

func (n *lane) put(p *publish) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.link.ctx.Err() != nil {
		return false
	}
	n.queue = append(n.queue, p)
	select {
	case n.wake <- struct{}{}:
	default:
	}
	return true
}

// withdraw takes a publication out of the queue that is in no pipeline yet.
func (n *lane) withdraw(p *publish) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if p.taken {
		return false
	}
	i := slices.Index(n.queue, p)
	n.queue = slices.Delete(n.queue, i, i+1)
	return true
}

// take returns what goes out next. From here on the envelopes' bytes are copies.
func (n *lane) take() []*publish {
	n.mu.Lock()
	defer n.mu.Unlock()
	k, size := 0, 0
	for k < len(n.queue) && k < maxBatch && (k == 0 || size+len(n.queue[k].envelope) <= maxBatchBytes) {
		size += len(n.queue[k].envelope)
		k++
	}
	batch := slices.Clone(n.queue[:k])
	n.queue = slices.Delete(n.queue, 0, k)
	n.buf = slices.Grow(n.buf[:0], size)
	for _, p := range batch {
		p.taken = true
		at := len(n.buf)
		n.buf = append(n.buf, p.envelope...)
		p.envelope = n.buf[at:]
	}
	return batch
}

func (n *lane) run() {
	defer n.end()
	for {
		select {
		case <-n.link.ctx.Done():
			return
		case <-n.wake:
		}
		for n.link.ctx.Err() == nil {
			batch := n.take()
			if len(batch) == 0 {
				break
			}
			n.send(batch)
			n.settle(batch)
			if cap(n.buf) > 4*maxBatchBytes {
				n.buf = nil
			}
		}
	}
}

// end answers whoever still waits.
func (n *lane) end() {
	n.drop()
	for {
		batch := n.take()
		if len(batch) == 0 {
			return
		}
		for _, p := range batch {
			p.err = notSent(errors.New("closed"))
		}
		n.settle(batch)
	}
}

func (n *lane) settle(batch []*publish) {
	for _, p := range batch {
		close(p.done)
		if p.slot {
			<-n.slots
		}
	}
}

// send publishes a batch, and sets the result of each.
func (n *lane) send(batch []*publish) {
	ctx, cancel := context.WithTimeout(n.link.ctx, laneTimeout)
	defer cancel()
	if err := n.connect(ctx); err != nil {
		for _, p := range batch {
			p.err = notSent(err)
		}
		return
	}
	pipe := n.conn.Pipeline()
	cmds := make([]*redis.Cmd, len(batch))
	var role *redis.Cmd
	for i, p := range batch {
		cmds[i] = pipe.Do(ctx, n.verb, p.channel, p.envelope)
		if p.role {
			role = pipe.Do(ctx, "role")
		}
	}
	_, err := pipe.Exec(ctx)
	for i, p := range batch {
		p.err = cmds[i].Err()
	}
	switch {
	case err != nil && slices.ContainsFunc(cmds, func(c *redis.Cmd) bool { return broken(c.Err()) }):
		n.drop()
	case role != nil && role.Err() == nil && !isMaster(role.Val()):
		n.drop()
		n.link.demoted()
	}
}

// broken reports whether an error is no answer of the server's.
func broken(err error) bool {
	_, answered := errors.AsType[redis.Error](err)
	return err != nil && !answered
}

func isMaster(reply any) bool {
	list, ok := reply.([]any)
	return !ok || len(list) == 0 || list[0] == "master"
}

// demoted ends the subscribing connection to a node that is no master any more.
func (l *link) demoted() {
	l.b.mu.Lock()
	defer l.b.mu.Unlock()
	if l.conn != nil {
		l.conn.failLocked(errReplica)
	}
}

// connect makes sure that there is a connection.
func (n *lane) connect(ctx context.Context) error {
	if n.conn != nil {
		return nil
	}
	// A node that can't be subscribed to is not dialled for each publication.
	if err := n.link.unreachable(); err != nil {
		return err
	}
	if time.Now().Before(n.retryAt) {
		return n.away
	}
	conn := n.client.EphemeralConn()
	if err := n.link.b.inspect(ctx, conn, n.link.addr); err != nil {
		conn.Close()
		n.away, n.retryAt = fmt.Errorf("connect to %s: %w", n.link.addr, err), time.Now().Add(laneRetry)
		return n.away
	}
	n.conn = conn
	return nil
}

// unreachable is why the node has no subscribing connection.
func (l *link) unreachable() error {
	l.b.mu.Lock()
	defer l.b.mu.Unlock()
	switch {
	case l.conn != nil:
		return nil
	case l.away != nil:
		return l.away
	}
	return errors.New("not connected yet")
}

// drop closes the connection. What it returns says nothing that is not known.
func (n *lane) drop() {
	if n.conn != nil {
		n.conn.Close()
		n.conn = nil
	}
}
