package hub

import (
	"sync"
	"time"

	"forge.lthn.ai/core/go-ws/hub/wire"
)

// inbox is a client's frames on their way to the goroutine that handles them.
// That goroutine runs only while there are any. A client that sends faster than
// its frames are handled is not read from meanwhile.
type inbox struct {
	mu      sync.Mutex
	queue   []command
	bytes   int
	running bool
	paused  bool
	stopped bool
	// idle is closed when the inbox has been stopped and no frame is being
	// handled.
	idle chan struct{}
}

// command is one frame that came from a client, or what was wrong with it.
type command struct {
	frame   wire.Frame
	refusal *RequestError
	size    int
}

const (
	maxInboxFrames = 64
	maxInboxBytes  = 64 << 10
)

// connReceiver is a client as its connection sees it.
type connReceiver Client

// Receive takes one message from the connection.
func (r *connReceiver) Receive(t FrameType, payload []byte) (more bool) {
	c := (*Client)(r)
	if c.ctx.Err() != nil {
		// What a client says while it is being closed is not heard.
		return true
	}
	n := &c.hub.count
	n.framesIn.Add(1)
	n.bytesIn.Add(uint64(len(payload)))
	cmd := command{size: len(payload)}
	switch allowed := c.rate.take(time.Now()); {
	case allowed == rateFlood:
		c.hub.refused(RefusedRate)
		c.end(ending{reason: DisconnectedRefused, code: wire.CloseRateLimited, text: "too many messages"})
		return true
	case allowed == rateOver:
		c.hub.refused(RefusedRate)
		cmd.refusal = &RequestError{wire.ErrorRateLimited, "too many messages"}
	case t != TextFrame:
		c.hub.refused(RefusedFrame)
		cmd.refusal = &RequestError{wire.ErrorUnsupported, "binary messages are not supported"}
	default:
		frame, err := wire.ParseFrame(payload)
		cmd.frame = frame
		if err != nil {
			c.hub.refused(RefusedFrame)
			cmd.refusal = &RequestError{wire.ErrorInvalidFrame, plainText(err)}
		}
	}
	return c.in.put(c, cmd)
}

// Writable takes the connection's word that it can be written to again.
func (r *connReceiver) Writable() {
	c := (*Client)(r)
	if c.out.wake() {
		c.hub.flusher.push(c)
	}
}

// Closed takes the connection's word that it is over.
func (r *connReceiver) Closed(err error) { (*Client)(r).endClosed(err) }

func (b *inbox) put(c *Client, cmd command) (more bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.stopped {
		return true
	}
	b.queue = append(b.queue, cmd)
	b.bytes += cmd.size
	if !b.running {
		b.running = true
		go c.work()
	}
	b.paused = len(b.queue) >= maxInboxFrames || b.bytes >= maxInboxBytes
	return !b.paused
}

// get returns the next command, or says that the worker's work is done.
func (b *inbox) get(conn Conn) (cmd command, ok bool) {
	b.mu.Lock()
	if len(b.queue) == 0 || b.stopped {
		b.queue, b.running = nil, false
		if b.stopped {
			close(b.idle)
		}
		b.mu.Unlock()
		return command{}, false
	}
	cmd = b.queue[0]
	b.queue[0] = command{}
	b.queue = b.queue[1:]
	b.bytes -= cmd.size
	resume := b.paused && len(b.queue) <= maxInboxFrames/2 && b.bytes <= maxInboxBytes/2
	if resume {
		b.paused = false
	}
	b.mu.Unlock()
	if resume {
		conn.Resume()
	}
	return cmd, true
}

// isPaused reports whether the client is not read from at the moment.
func (b *inbox) isPaused() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.paused
}

// stop drops what waits. idle is closed once nothing is being handled.
func (b *inbox) stop() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.stopped {
		return
	}
	b.stopped = true
	b.queue = nil
	if !b.running {
		close(b.idle)
	}
}

// work handles a client's frames one after another until none waits. finish
// waits for it, through the inbox.
func (c *Client) work() {
	for {
		cmd, ok := c.in.get(c.conn)
		if !ok {
			return
		}
		c.handle(cmd)
	}
}
