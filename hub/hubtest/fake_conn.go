package hubtest

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"
	"unicode/utf8"

	"forge.lthn.ai/core/go-ws/hub"
	"forge.lthn.ai/core/go-ws/hub/wire"
)

type itemKind uint8

const (
	itemData itemKind = iota
	itemPing
	itemPong
	itemClose
)

// item is one message or control frame under way.
type item struct {
	kind    itemKind
	echo    bool // of a close frame: it answers one
	t       hub.FrameType
	payload []byte
	close   hub.CloseError // its Remote is not used
	size    int
}

// conn is both ends of a connection: the server's, which has the methods of
// hub.Conn, and the state of the peer's, whose methods are Peer's. One lock
// guards both. No method of the receiver is called with it held.
//
// A direction is a queue. From the peer to the server it is in, drained by
// pump, a goroutine that lives while there are messages to hand over. From the
// server to the peer it is out, which stays empty but while the peer stalls,
// and then inbox.
type conn struct {
	t            *Transport
	readLimit    int64
	writeTimeout time.Duration
	subprotocol  string
	done         chan struct{} // closed when nothing runs any more

	mu sync.Mutex

	// the server's side
	r         hub.Receiver
	in        []item
	lastRead  time.Time
	receiving bool // Receive is being called
	resumed   bool // Resume came during that call
	paused    bool
	pumping   bool
	armed     bool // Send returned ErrWouldBlock, Writable is owed
	busy      int  // goroutines that may be calling the receiver
	closing   bool // Close was called
	over      bool
	finished  bool // over, and the receiver is called for nothing but Closed
	err       error
	closeErr  error // what Close returns

	// the network and the peer's side
	out       []item
	outBytes  int
	inbox     []item
	end       *hub.CloseError // what the peer got told, after inbox
	stalled   bool
	silent    bool
	peerClose bool          // the peer has sent a close frame
	wake      chan struct{} // closed when something arrives, nil if nobody waits
	stats     PeerStats
}

// errCut is what Closed gets when the peer has cut the connection.
var errCut = fmt.Errorf("hubtest: cut by the peer: %w", io.ErrUnexpectedEOF)

func (c *conn) Start(r hub.Receiver) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.r != nil {
		panic("hubtest: Conn.Start called twice")
	}
	if r == nil {
		panic("hubtest: Conn.Start without a receiver")
	}
	c.r = r
	c.finishLocked()
	c.drainedLocked()
	c.readLocked()
}

func (c *conn) Send(frames []hub.Frame) (n int, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over || c.closing {
		return 0, fmt.Errorf("hubtest: send: %w", net.ErrClosed)
	}
	for n < len(frames) && !(c.stalled && c.outBytes >= c.t.window()) {
		f, ok := frames[n].(*frame)
		if !ok {
			err := fmt.Errorf("hubtest: send: frame of type %T is not of this transport", frames[n])
			c.overLocked(err, false)
			return n, err
		}
		c.sendLocked(item{t: f.t, payload: f.payload, size: f.Size()})
		n++
	}
	if n > 0 {
		c.stats.Batches++
		c.t.took(n)
	}
	if n < len(frames) || c.outBytes > c.t.window() {
		c.armed = true
		c.stats.Blocked++
		return n, hub.ErrWouldBlock
	}
	return n, nil
}

func (c *conn) Ping() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over || c.closing {
		return fmt.Errorf("hubtest: ping: %w", net.ErrClosed)
	}
	c.sendLocked(item{kind: itemPing, size: frameSize(0)})
	return nil
}

func (c *conn) LastRead() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lastRead
}

func (c *conn) Resume() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.receiving {
		c.resumed = true
		return
	}
	c.paused = false
	c.readLocked()
}

func (c *conn) Subprotocol() string { return c.subprotocol }

func (c *conn) Close(code wire.CloseCode, reason string) error {
	c.mu.Lock()
	first := !c.closing
	c.closing = true
	if first && !c.over {
		switch {
		case code == 0:
		case code == wire.CloseNoStatus || code == wire.CloseAbnormal:
			c.closeErr = fmt.Errorf("hubtest: close: code %d is never sent", code)
			code = 0
		case len(reason) > wire.MaxCloseReason || !utf8.ValidString(reason):
			c.closeErr = errors.New("hubtest: close: reason is too long or not UTF-8")
			reason = ""
		}
		if code != 0 {
			c.sendLocked(item{
				kind:  itemClose,
				close: hub.CloseError{Code: code, Reason: reason},
				size:  frameSize(2 + len(reason)),
			})
			c.readLocked() // what it was paused on, up to the peer's close frame
		}
	}
	if code == 0 {
		c.overLocked(fmt.Errorf("hubtest: cut by Close: %w", net.ErrClosed), false)
	}
	c.finishLocked()
	c.mu.Unlock()
	if first {
		timer := time.NewTimer(c.writeTimeout)
		defer timer.Stop()
		select {
		case <-c.done:
		case <-timer.C:
			c.mu.Lock()
			if !c.over {
				c.closeErr = fmt.Errorf("hubtest: closing handshake: %w", os.ErrDeadlineExceeded)
				c.overLocked(c.closeErr, false)
			}
			c.mu.Unlock()
		}
	}
	<-c.done
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closeErr
}

// readLocked handles what the peer sent as far as the receiver is not needed,
// and starts the pump where it is.
func (c *conn) readLocked() {
	if c.pumping || c.r == nil && !c.closing {
		return
	}
	if c.controlLocked() {
		c.pumping = true
		c.busy++
		go c.pump()
	}
}

// pump hands messages to the receiver until there are none or it pauses.
func (c *conn) pump() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.controlLocked() {
		m := c.in[0]
		c.in[0] = item{}
		c.in = c.in[1:]
		c.receiving, c.resumed = true, false
		c.mu.Unlock()
		more := c.r.Receive(m.t, m.payload)
		for i := range m.payload {
			m.payload[i] = '!' // whoever kept it shall notice
		}
		c.mu.Lock()
		c.receiving = false
		if !more && !c.resumed {
			c.paused = true
		}
	}
	c.pumping = false
	c.leaveLocked()
}

// controlLocked handles control frames, and messages that break the rules, up
// to the next message for the receiver; it reports whether there is one.
func (c *conn) controlLocked() bool {
	for !c.over && len(c.in) > 0 && (!c.paused || c.closing) {
		m := c.in[0]
		if m.kind == itemData {
			if !c.paused && c.r != nil {
				c.lastRead = time.Now()
				switch {
				case int64(len(m.payload)) > c.readLimit:
					c.failLocked(wire.CloseTooBig, "message too big")
				case m.t == hub.TextFrame && !utf8.Valid(m.payload):
					c.failLocked(wire.CloseInvalidData, "text is not UTF-8")
				}
				return !c.over
			}
			// Close was called: nobody wants what comes before the answer to it.
		}
		c.lastRead = time.Now()
		c.in = c.in[1:]
		switch m.kind {
		case itemPing:
			c.sendLocked(item{kind: itemPong, payload: m.payload, size: m.size})
		case itemClose:
			c.overLocked(&hub.CloseError{Code: m.close.Code, Reason: m.close.Reason, Remote: true}, true)
			if !c.closing {
				m.echo = true
				c.sendLocked(m)
			}
		}
	}
	return false
}

// failLocked ends the connection for what the peer did.
func (c *conn) failLocked(code wire.CloseCode, reason string) {
	e := &hub.CloseError{Code: code, Reason: reason}
	c.overLocked(e, true)
	if !c.closing {
		c.sendLocked(item{kind: itemClose, close: *e, size: frameSize(2 + len(reason))})
	}
}

// overLocked ends the connection. The peer still gets what was written:
// everything after a closing handshake, otherwise what the network holds.
func (c *conn) overLocked(err error, graceful bool) {
	if c.over {
		return
	}
	c.over = true
	c.err = err
	c.in = nil
	if !graceful {
		held := 0
		for i, m := range c.out {
			if held += m.size; held > c.t.window() {
				clear(c.out[i:])
				c.out = c.out[:i]
				break
			}
		}
	}
	c.wakeLocked()
	c.finishLocked()
}

// leaveLocked ends a goroutine that called the receiver.
func (c *conn) leaveLocked() {
	c.busy--
	c.finishLocked()
}

// finishLocked calls Closed, once, when the connection is over and nothing else
// calls the receiver, and then lets Close return. A connection that ended
// before Start waits for it, unless Close came first: then nobody is told.
func (c *conn) finishLocked() {
	if c.finished || !c.over || c.busy > 0 || c.r == nil && !c.closing {
		return
	}
	c.finished = true
	if c.r == nil {
		close(c.done)
		return
	}
	go func() {
		c.r.Closed(c.err)
		close(c.done)
	}()
}

// sendLocked queues one item for the peer. Pings, pongs and close frames wait
// their turn like messages.
func (c *conn) sendLocked(m item) {
	if c.stalled {
		c.out = append(c.out, m)
		c.outBytes += m.size
		return
	}
	c.deliverLocked(m)
}

// deliverLocked is the peer reading one item.
func (c *conn) deliverLocked(m item) {
	if c.end != nil {
		return
	}
	switch m.kind {
	case itemData:
		c.stats.Frames++
		c.stats.Bytes += int64(m.size)
		if c.t.Discard {
			return
		}
		c.inbox = append(c.inbox, m)
	case itemPing:
		c.stats.Pings++
		if !c.silent && !c.over {
			c.in = append(c.in, item{kind: itemPong, payload: m.payload, size: m.size})
			c.readLocked()
		}
		return
	case itemPong:
		c.stats.Pongs++
	case itemClose:
		c.end = &hub.CloseError{Code: m.close.Code, Reason: m.close.Reason, Remote: true}
		if !m.echo && !c.over && !c.peerClose {
			c.peerClose = true
			c.in = append(c.in, item{kind: itemClose, close: m.close, size: m.size})
			c.readLocked()
		}
	}
	c.wakeLocked()
}

// drainedLocked calls Writable where it is owed.
func (c *conn) drainedLocked() {
	if !c.armed || c.over || c.r == nil || c.outBytes > 0 {
		return
	}
	c.armed = false
	c.busy++
	go func() {
		c.r.Writable()
		c.mu.Lock()
		defer c.mu.Unlock()
		c.leaveLocked()
	}()
}

func (c *conn) wakeLocked() {
	if c.wake != nil {
		close(c.wake)
		c.wake = nil
	}
}
