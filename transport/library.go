package transport

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"forge.lthn.ai/core/go-ws/hub"
	"forge.lthn.ai/core/go-ws/hub/wire"
)

// libraryConn is the net.Conn that the library gets. It reads from the socket.
// What the library writes, pongs and close frames, goes to the outbox: each is
// one call of Write, since the library's buffer holds any of them.
type libraryConn struct {
	c *conn
	// Owned by run.
	early   []byte // what net/http had read already
	scan    scanner
	refused *hub.CloseError // why what comes next is not read, nil for nothing

	lastRead atomic.Int64 // since conn.began, in nanoseconds

	mu       sync.Mutex
	readErr  error           // why nothing more can be read
	closed   *hub.CloseError // the first close frame that the library wrote
	sent     bool            // which went out, being the first of this side's
	invalid  bool            // its reason is not UTF-8
	finished bool
}

// errRefused ends the library's reading. It is never seen: the verdict says why.
var errRefused = errors.New("transport: refused")

// errPeerGone stands in for io.EOF: the library takes one in the middle of a
// message for the message's end.
var errPeerGone = errors.New("the peer closed the connection without a close frame")

// Read implements net.Conn.
func (l *libraryConn) Read(p []byte) (int, error) {
	var n int
	var err error
	switch {
	case l.refused != nil:
		return 0, errRefused
	case len(l.early) > 0:
		n = copy(p, l.early)
		if l.early = l.early[n:]; len(l.early) == 0 {
			l.early = nil
		}
	default:
		n, err = l.c.nc.Read(p)
	}
	if n > 0 {
		now := time.Since(l.c.began)
		l.lastRead.Store(int64(now))
		var ok int
		if ok, l.refused = l.scan.scan(p[:n], l.c.limit, now); ok > 0 {
			return ok, nil
		}
		return 0, errRefused
	}
	if err != nil {
		if err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF) {
			err = errPeerGone
		}
		l.setReadErr(fmt.Errorf("transport: read: %w", err))
	}
	return n, err
}

func (l *libraryConn) setReadErr(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.readErr == nil {
		l.readErr = err
	}
}

// Write implements net.Conn. It never blocks. After a close frame it takes
// whatever comes and drops it.
func (l *libraryConn) Write(p []byte) (int, error) {
	if p[0]&0xF != opClose {
		// The outbox says by itself when it is over.
		_ = l.c.out.control(p)
		return len(p), nil
	}
	e, valid := parseClose(p)
	l.mu.Lock()
	first := l.closed == nil
	if first {
		l.closed, l.invalid = &e, !valid
	}
	l.mu.Unlock()
	if !first {
		return len(p), nil
	}
	frame := bytes.Clone(p)
	if !valid {
		frame = closeFrame(wire.CloseProtocolError, notUTF8)
	}
	sent := l.c.end(frame)
	l.mu.Lock()
	l.sent = sent
	l.mu.Unlock()
	return len(p), nil
}

const notUTF8 = "the close reason is not UTF-8"

// Close implements net.Conn. The library calls it
//   - when it has answered the peer's close frame, in the middle of run. There
//     it would next hand the message's decompressor to other connections, with
//     this one still at work in it, so that a client that closes within a
//     compressed message could break somebody else's: run ends here instead;
//   - when a control frame has not come whole within its time;
//   - from finish, when all is done.
func (l *libraryConn) Close() error {
	l.mu.Lock()
	finished, answered := l.finished, l.closed != nil
	l.mu.Unlock()
	switch {
	case finished:
	case answered:
		// The deferred rest of run goes on. Were this the library's timer
		// after all, it would end just as well.
		runtime.Goexit()
	default:
		l.setReadErr(errStalled)
		l.c.cutOff(errStalled)
	}
	return nil
}

var errStalled = errors.New("transport: read: a control frame stayed incomplete")

// finish lets the library close.
func (l *libraryConn) finish() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.finished = true
}

// verdict is how a connection ends.
type verdict struct {
	err      error // for Receiver.Closed
	graceful bool  // a close frame of this side's is queued: see that it arrives
	linger   bool  // the peer may be sending still
}

// verdict judges by what passed here why the library stopped reading.
// peerClose says that it was the peer's close frame.
func (l *libraryConn) verdict(peerClose bool) verdict {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.refused != nil && l.readErr == nil && l.closed == nil:
		return l.c.violation(l.refused.Code, l.refused.Reason)
	case peerClose && l.closed != nil && l.invalid:
		return verdict{&hub.CloseError{Code: wire.CloseProtocolError, Reason: notUTF8}, true, true}
	case peerClose && l.closed != nil:
		e := *l.closed
		e.Remote = true
		return verdict{&e, true, false}
	case l.readErr != nil:
		return verdict{err: l.readErr}
	case l.closed != nil && l.sent:
		return verdict{l.closed, true, true}
	case l.closed != nil:
		return verdict{errClosing, true, true}
	}
	// The library says nothing to a client that does not mask its frames, or
	// whose compressed bytes make no sense.
	return l.c.violation(wire.CloseProtocolError, "protocol error")
}

func (c *conn) tooBig() verdict {
	e := tooBig(uint64(c.limit), false)
	return c.violation(e.Code, e.Reason)
}

// errClosing is for what the peer does wrong after a close frame of this side's.
var errClosing = fmt.Errorf("transport: closed by this side: %w", net.ErrClosed)

// violation ends the connection for what the peer did, with a close frame
// unless there has been one.
func (c *conn) violation(code wire.CloseCode, reason string) verdict {
	if !c.end(closeFrame(code, reason)) {
		return verdict{errClosing, true, true}
	}
	return verdict{&hub.CloseError{Code: code, Reason: reason}, true, true}
}

// The library needs no more of a net.Conn; the rest is the socket's.

// LocalAddr implements net.Conn.
func (l *libraryConn) LocalAddr() net.Addr { return l.c.nc.LocalAddr() }

// RemoteAddr implements net.Conn.
func (l *libraryConn) RemoteAddr() net.Addr { return l.c.nc.RemoteAddr() }

// SetDeadline implements net.Conn.
func (l *libraryConn) SetDeadline(t time.Time) error { return l.c.nc.SetDeadline(t) }

// SetReadDeadline implements net.Conn.
func (l *libraryConn) SetReadDeadline(t time.Time) error { return l.c.nc.SetReadDeadline(t) }

// SetWriteDeadline implements net.Conn.
func (l *libraryConn) SetWriteDeadline(t time.Time) error { return l.c.nc.SetWriteDeadline(t) }
