package redisbp

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"forge.lthn.ai/core/go-ws/hub"
)

// conn is one subscribing connection. It belongs to us and not to go-redis's
// pool, whose PubSub connects again by itself and drops what its buffer does not
// hold: here nothing that was read is lost, and every end is known.
//
// Commands wait in out for the writer, and in pending for their replies. Redis
// answers in order, so each reply belongs to the first command there, whatever
// has become of its caller.
type conn struct {
	b    *Backplane
	link *link
	net  net.Conn
	r    *reader
	over chan struct{} // closed when the connection has ended
	wake chan struct{} // the writer's

	// Guarded by b.mu.
	out     []byte
	pending []*step
	probe   string // channel of the probes, empty while there is none
	probeAt int    // the partition that it is in
	overdue bool   // a call has given up on it, and nothing was confirmed since
	ended   bool
	err     error // why it ended

	// live is the reader's.
	live map[string]hub.Topic
	// events counts what was read, echoed is the number of the newest probe that
	// has come back, and back is told of each.
	events, echoed atomic.Uint64
	back           chan struct{}
	// sent is how many probes went out. serve adds to it.
	sent atomic.Uint64
}

// step is a command that waits for its replies: one for each channel, or one
// error for all.
type step struct {
	kind     string // of the replies
	channels []string
	topics   []hub.Topic // empty names stand for probes
	call     *call
}

// call is what waits for steps. Guarded by mu, but for done.
type call struct {
	waiting int
	failed  map[hub.Topic]error
	// lost: the connection ended before all steps had their replies.
	lost error
	done chan struct{}
	// then is called when it is done, with the lock held.
	then func()
}

const (
	// maxOut bounds the commands that wait to be written to a connection.
	maxOut = 8 << 20
	// channelsPerCommand keeps commands of a size that does not hold up others.
	channelsPerCommand = 1000
	writeTimeout       = 5 * time.Second
)

// newCall makes a call that waits for finishLocked besides its steps.
func newCall() *call { return &call{waiting: 1, done: make(chan struct{})} }

func (k *call) finishLocked() { k.doneLocked(1) }

func (k *call) doneLocked(n int) {
	if k.waiting -= n; k.waiting == 0 {
		close(k.done)
		if k.then != nil {
			k.then()
		}
	}
}

func (k *call) failLocked(topics []hub.Topic, err error) {
	if k.failed == nil {
		k.failed = make(map[hub.Topic]error)
	}
	for _, t := range topics {
		k.failed[t] = err
	}
}

// subscribeLocked queues SUBSCRIBE or SSUBSCRIBE. All channels are of one partition.
func (c *conn) subscribeLocked(k *call, channels []string, topics []hub.Topic) {
	c.queueLocked(c.b.verb("subscribe"), k, channels, topics)
}

func (c *conn) unsubscribeLocked(k *call, channels []string, topics []hub.Topic) {
	c.queueLocked(c.b.verb("unsubscribe"), k, channels, topics)
}

// verb is the command's name, which is that of its replies too.
func (b *Backplane) verb(name string) string {
	if b.names.partitions > 0 {
		return "s" + name
	}
	return name
}

func (c *conn) queueLocked(kind string, k *call, channels []string, topics []hub.Topic) {
	if c.ended {
		k.lost = c.err
		k.failLocked(topics, fmt.Errorf("%w: %w", hub.ErrUnavailable, c.err))
		return
	}
	for len(channels) > 0 {
		n := min(len(channels), channelsPerCommand)
		c.out = appendCommand(c.out, kind, channels[:n]...)
		c.pending = append(c.pending, &step{kind: kind, channels: channels[:n], topics: topics[:n], call: k})
		k.waiting += n
		channels, topics = channels[n:], topics[n:]
	}
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// joinLocked subscribes to all that is wanted of a partition.
func (c *conn) joinLocked(k *call, p *partition) {
	channels := make([]string, 0, len(p.wanted))
	topics := make([]hub.Topic, 0, len(p.wanted))
	for channel, topic := range p.wanted {
		channels, topics = append(channels, channel), append(topics, topic)
	}
	c.subscribeLocked(k, channels, topics)
}

// joinProbeLocked subscribes to the channel of the probes, in a partition that
// the node serves.
func (c *conn) joinProbeLocked(k *call, p *partition) {
	c.probe, c.probeAt = c.b.names.probe(c.b.id, p.index), p.index
	c.subscribeLocked(k, []string{c.probe}, []hub.Topic{""})
}

// fail ends the connection. The first reason counts.
func (c *conn) fail(err error) {
	c.b.mu.Lock()
	defer c.b.mu.Unlock()
	c.failLocked(err)
}

func (c *conn) failLocked(err error) {
	if c.ended {
		return
	}
	c.ended, c.err = true, err
	close(c.over)
	for _, s := range c.pending {
		s.call.lost = err
		s.call.failLocked(s.topics, fmt.Errorf("%w: %w", hub.ErrUnavailable, err))
		s.call.doneLocked(len(s.channels))
	}
	c.pending, c.out = nil, nil
}

// write writes what waits until the connection ends.
func (c *conn) write() {
	for {
		select {
		case <-c.over:
			return
		case <-c.wake:
		}
		c.b.mu.Lock()
		out := c.out
		c.out = nil
		c.b.mu.Unlock()
		if len(out) == 0 {
			continue
		}
		_ = c.net.SetWriteDeadline(time.Now().Add(writeTimeout))
		if _, err := c.net.Write(out); err != nil {
			c.fail(fmt.Errorf("write: %w", err))
			return
		}
	}
}

// read hands on what comes until the connection ends.
func (c *conn) read() {
	for {
		e, err := c.r.next()
		if err == nil {
			c.events.Add(1)
			err = c.take(e)
		}
		if err != nil {
			c.fail(fmt.Errorf("read: %w", err))
			return
		}
	}
}

func (c *conn) take(e event) error {
	switch e.kind {
	case "message", "smessage":
		topic, ok := c.live[string(e.channel)]
		switch {
		case !ok:
			// Left a moment ago.
		case topic == "":
			c.echo(e.payload)
		default:
			c.b.receiver.Deliver(hub.Delivery{Topic: topic, Envelope: e.payload})
		}
		return nil
	case "pong":
		return nil
	case "error":
		return c.refused(e.err)
	}
	return c.confirmed(e.kind, e.channel)
}

// confirmed takes the reply for one channel.
func (c *conn) confirmed(kind string, name []byte) error {
	channel, topic, ok := c.confirm(kind, name)
	switch {
	case ok && strings.HasSuffix(kind, "unsubscribe"):
		delete(c.live, channel)
	case ok:
		c.live[channel] = topic
	case kind == "sunsubscribe":
		c.expelled(string(name))
	default:
		return fmt.Errorf("%w: %s of %.100q, which nobody asked for", errProtocol, kind, name)
	}
	return nil
}

func (c *conn) confirm(kind string, name []byte) (channel string, topic hub.Topic, ok bool) {
	c.b.mu.Lock()
	defer c.b.mu.Unlock()
	if len(c.pending) == 0 {
		return "", "", false
	}
	s := c.pending[0]
	if s.kind != kind || s.channels[0] != string(name) {
		return "", "", false
	}
	channel, topic = s.channels[0], s.topics[0]
	if s.channels, s.topics = s.channels[1:], s.topics[1:]; len(s.channels) == 0 {
		c.pending = c.pending[1:]
	}
	c.overdue = false
	s.call.doneLocked(1)
	return channel, topic, true
}

// expelled: the node has given away the slot of a channel and has ended its
// subscription. What was sent before came before.
func (c *conn) expelled(channel string) {
	topic, ok := c.live[channel]
	delete(c.live, channel)
	if !ok {
		return
	}
	c.b.mu.Lock()
	defer c.b.mu.Unlock()
	at := c.probeAt
	if topic != "" {
		_, at = c.b.names.channel(topic)
	} else if channel != c.probe {
		return
	}
	p := c.b.parts[at]
	if _, wanted := p.wanted[channel]; wanted || topic == "" {
		c.b.movedLocked(p, c.link, errors.New("the node has ended its subscriptions"))
	}
}

// refused takes an error that answers a whole command.
func (c *conn) refused(err serverError) error {
	c.b.mu.Lock()
	defer c.b.mu.Unlock()
	if len(c.pending) == 0 {
		return err
	}
	s := c.pending[0]
	c.pending = c.pending[1:]
	c.overdue = false
	n := len(s.channels)
	if strings.HasSuffix(s.kind, "unsubscribe") {
		s.call.doneLocked(n)
		return nil
	}
	if elsewhere(err) {
		at := c.probeAt
		if s.topics[0] != "" {
			_, at = c.b.names.channel(s.topics[0])
		}
		c.b.movedLocked(c.b.parts[at], c.link, err)
	} else if n > 1 {
		// One of them is forbidden, which one it does not say.
		for i := range n {
			c.queueLocked(s.kind, s.call, s.channels[i:i+1], s.topics[i:i+1])
		}
		s.call.doneLocked(n)
		return nil
	}
	s.call.failLocked(s.topics, err)
	s.call.doneLocked(n)
	return nil
}

// elsewhere reports whether a node says that a slot is not its own, or that it
// serves none.
func elsewhere(err error) bool {
	for _, prefix := range []string{"MOVED ", "ASK ", "CLUSTERDOWN ", "TRYAGAIN "} {
		if strings.HasPrefix(err.Error(), prefix) {
			return true
		}
	}
	return false
}

// run reads and writes until the connection has ended and nothing of it runs.
func (c *conn) run() {
	var both sync.WaitGroup
	both.Go(c.read)
	both.Go(c.write)
	<-c.over
	c.net.Close()
	both.Wait()
}
