package transport

import (
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"
	"unicode/utf8"

	"forge.lthn.ai/core/go-ws/hub"
	"forge.lthn.ai/core/go-ws/hub/wire"
)

// conn is one connection. A reader of the library's is lent to it for each
// message that comes; out has everything that is written.
//
//	        ┌ in (libraryConn) ┐ bytes    messages
//	socket ─┤                  ├─▶ reader ─▶ run ─▶ Receiver
//	        │                  │ pongs, close  │ close
//	        └ out (outbox)  ◀──┴─────────◀─────┴── Send, Ping, Close
//
// Its goroutines: run, from Start or Close on, and while it waits for a reader,
// the reader's; the outbox's drain, while the socket is full. run is the one that
// ends the connection, and the last to run. What "run owns" the reader has in the
// meantime.
//
// Locks: mu and out.mu are never held together, nor across a system call or a
// call of the receiver.
type conn struct {
	// Constant after Accept.
	t           *Transport
	nc          net.Conn
	subprotocol string
	limit       int64
	timeout     time.Duration
	began       time.Time

	in     libraryConn
	reader *reader // run's, while it takes a message apart
	out    outbox
	done   chan struct{} // closed when nothing runs any more

	mu      sync.Mutex
	changed sync.Cond // L is mu: resumed, closing or cut has changed
	r       hub.Receiver
	running bool // run has been started
	closing bool // Close was called: Receive is not called any more
	// Of a call of Receive: it is under way, Resume has come since it began.
	receiving, resumed bool
	cut                error       // why the socket was closed by this side
	timer              *time.Timer // cuts the closing handshake
	timers             sync.WaitGroup
	closeErr           error // what Close returns
}

func newConn(t *Transport, o hub.AcceptOptions) *conn {
	c := &conn{
		t: t, limit: o.ReadLimit, timeout: o.WriteTimeout,
		began: time.Now(), done: make(chan struct{}),
	}
	c.changed.L = &c.mu
	c.in.c = c
	c.in.scan.pings = &c.out.pings
	c.out.idle.L = &c.out.mu
	c.out.timeout = o.WriteTimeout
	c.out.fail = c.cutOff
	c.out.drainers = &t.drainers
	return c
}

// adopt takes the socket, and what had been read from it already.
func (c *conn) adopt(nc net.Conn, early []byte) {
	c.nc, c.in.have = nc, early
	c.out.nc, c.out.raw = nc, rawConn(nc)
}

// Start implements hub.Conn. After Close it does nothing.
func (c *conn) Start(r hub.Receiver) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case r == nil:
		panic("transport: Conn.Start without a receiver")
	case c.r != nil:
		panic("transport: Conn.Start called twice")
	case c.running:
		return
	}
	c.r, c.running = r, true
	go c.run(r)
}

// Send implements hub.Conn.
func (c *conn) Send(frames []hub.Frame) (int, error) { return c.out.send(frames) }

// Ping implements hub.Conn. A ping that still waits to be written makes a
// second one needless.
func (c *conn) Ping() error {
	if err := c.out.control(nil); err != nil {
		return fmt.Errorf("transport: ping: %w", err)
	}
	return nil
}

// LastRead implements hub.Conn.
func (c *conn) LastRead() time.Time { return c.began.Add(time.Duration(c.in.lastRead.Load())) }

// Resume implements hub.Conn.
func (c *conn) Resume() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.receiving {
		c.resumed = true
		c.changed.Broadcast()
	}
}

// Subprotocol implements hub.Conn.
func (c *conn) Subprotocol() string { return c.subprotocol }

// Close implements hub.Conn. It returns an error where the peer has not
// answered in time, and where the code or the reason can't be sent: then the
// connection is closed without them.
func (c *conn) Close(code wire.CloseCode, reason string) error {
	frame, err := sendable(code, reason)
	c.mu.Lock()
	if !c.closing {
		c.closeErr = err
	}
	c.closing = true
	c.changed.Broadcast()
	if !c.running {
		c.running = true
		go c.run(nil) // for the closing handshake
	}
	c.mu.Unlock()

	if frame != nil {
		c.end(frame)
	} else {
		c.cutOff(errClosing)
	}
	<-c.done
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closeErr
}

// sendable builds a close frame, or none to close without.
func sendable(code wire.CloseCode, reason string) (frame []byte, err error) {
	switch {
	case code == 0:
		return nil, nil
	case code < 1000, code > 4999, code > wire.CloseTryAgainLater+1 && code < 3000,
		code == 1004, code == wire.CloseNoStatus, code == wire.CloseAbnormal:
		return nil, fmt.Errorf("transport: close: code %d is never sent", code)
	case len(reason) > wire.MaxCloseReason || !utf8.ValidString(reason):
		return closeFrame(code, ""), errors.New("transport: close: the reason is too long or not UTF-8")
	}
	return closeFrame(code, reason), nil
}

// errHandshake is what Close returns, and Closed gets, of a peer that has not
// answered the close frame.
var errHandshake = fmt.Errorf("transport: closing handshake: %w", os.ErrDeadlineExceeded)

// end queues the close frame. From here on the connection has c.timeout to
// write what it holds, hear from the peer and be over. It reports false where
// there was a close frame before.
func (c *conn) end(frame []byte) bool {
	// The timer comes first, so that finish finds it.
	c.mu.Lock()
	if c.timer == nil && c.cut == nil {
		c.timers.Add(1)
		c.timer = time.AfterFunc(c.timeout, func() {
			defer c.timers.Done()
			c.cutOff(errHandshake)
		})
	}
	c.mu.Unlock()
	return c.out.end(frame)
}

// cutOff closes the socket at once, which makes run end. The first reason
// counts.
func (c *conn) cutOff(reason error) {
	c.mu.Lock()
	if c.cut == nil {
		c.cut = reason
	}
	c.changed.Broadcast()
	c.mu.Unlock()
	hardClose(c.nc)
}

// finish is the end of run: nothing of the connection runs after it.
func (c *conn) finish(r hub.Receiver, v verdict) {
	if v.graceful {
		c.out.flush()
		if v.linger {
			c.linger()
		}
	}
	c.out.stop(net.ErrClosed)
	if v.graceful {
		_ = c.nc.Close() // a tls.Conn says goodbye
	} else {
		hardClose(c.nc)
	}
	c.out.drains.Wait()
	c.in.finish()
	c.in.have = nil
	c.in.putChunk()
	if c.reader != nil {
		c.reader.discard()
	}
	if c.t.readers.leave() {
		c.t.drainers.dismiss()
	}
	if c.out.deflate {
		c.t.deflating.Add(-1)
	}

	c.mu.Lock()
	if c.cut == nil {
		c.cut = v.err // no timer from here on
	} else if !v.graceful {
		v.err = c.cut
	}
	if c.cut == errHandshake && c.closing && c.closeErr == nil {
		c.closeErr = errHandshake
	}
	if c.timer != nil && c.timer.Stop() {
		c.timers.Done()
	}
	c.mu.Unlock()
	c.timers.Wait()
	if r != nil {
		r.Closed(v.err)
	}
	close(c.done)
}

const (
	lingerQuiet = 200 * time.Millisecond
	lingerMost  = time.Second
)

// linger lets the peer read the close frame: a socket that is closed with
// unread bytes resets the connection, and the frame may be lost with it. It
// ends when the peer closes its side or sends nothing for lingerQuiet, at last
// after lingerMost or with the time for the handshake.
func (c *conn) linger() {
	w, ok := c.nc.(interface{ CloseWrite() error })
	if !ok || w.CloseWrite() != nil {
		return
	}
	b := getBuffer()
	defer putBuffer(b)
	for began := time.Now(); time.Since(began) < lingerMost; {
		if c.nc.SetReadDeadline(time.Now().Add(lingerQuiet)) != nil {
			return
		}
		if _, err := c.nc.Read((*b)[:cap(*b)]); err != nil {
			return
		}
	}
}
