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

// libraryConn is what a reader of the library's gets of one connection. It reads
// from the socket. What the library writes, pongs and close frames, goes to the
// outbox: each is one call of write, since the library's buffer holds any of
// them.
type libraryConn struct {
	c *conn
	// Owned by run.
	have    []byte  // was read from the socket, and is to be read by the library
	chunk   *[]byte // of the pool, that have is in
	small   []byte  // what have is in where the socket only blocks
	scan    scanner
	refused *hub.CloseError // why what comes next is not read, nil for nothing
	// Of awaitRaw.
	try func(fd uintptr) bool
	n   int
	err error

	lastRead atomic.Int64 // since conn.began, in nanoseconds

	mu       sync.Mutex
	readErr  error           // why nothing more can be read
	closed   *hub.CloseError // the first close frame that the library wrote
	sent     bool            // which went out, being the first of this side's
	invalid  bool            // its reason is not UTF-8
	finished bool
}

var (
	// errIdle ends the library's reading between two messages, where nothing
	// has come: that is waited for without the library.
	errIdle = errors.New("transport: nothing to read")
	// errRefused ends it for good. It is never seen: the verdict says why.
	errRefused = errors.New("transport: refused")
	// errPeerGone stands in for io.EOF: the library takes one in the middle of a
	// message for the message's end.
	errPeerGone = errors.New("the peer closed the connection without a close frame")
)

// smallBuffer is for the first bytes of a message where the socket only blocks.
const smallBuffer = 256

// await waits, between two messages, until there is something to read. It
// reports false where nothing will come.
func (l *libraryConn) await() bool {
	if len(l.have) > 0 {
		return true
	}
	l.putChunk()
	var n int
	var err error
	if l.c.out.raw != nil {
		n, err = l.awaitRaw()
	} else {
		if l.small == nil {
			l.small = make([]byte, smallBuffer)
		}
		n, err = l.block(l.small)
		l.have = l.small[:n]
	}
	if n > 0 {
		l.heard()
		return true
	}
	l.putChunk()
	_ = l.fail(err)
	return false
}

// read is net.Conn's Read for the library. It goes up to the end of a frame and
// not beyond, so that nothing of the next one stays with the library.
func (l *libraryConn) read(p []byte) (int, error) {
	if l.refused != nil {
		return 0, errRefused
	}
	if len(l.have) == 0 {
		if l.scan.between() {
			return 0, errIdle
		}
		l.putChunk()
		// Of a header one byte after the other: it rarely comes in pieces.
		n, err := l.block(p[:max(1, min(uint64(len(p)), l.scan.skip))])
		if n == 0 {
			return 0, l.fail(err)
		}
		l.heard()
		return l.pass(p[:n])
	}
	n := copy(p, l.have)
	n, err := l.pass(p[:n])
	l.have = l.have[n:]
	return n, err
}

// block waits for bytes with the library on the stack. A pipe may give none.
func (l *libraryConn) block(p []byte) (n int, err error) {
	for n == 0 && err == nil {
		n, err = l.c.nc.Read(p)
	}
	return n, err
}

// pass lets the scanner see what the library reads.
func (l *libraryConn) pass(p []byte) (n int, err error) {
	now := time.Duration(l.lastRead.Load())
	if n, l.refused = l.scan.scan(p, l.c.limit, now); n > 0 {
		return n, nil
	}
	return 0, errRefused
}

func (l *libraryConn) heard() { l.lastRead.Store(int64(time.Since(l.c.began))) }

// putChunk gives the buffer back. What is in it and was not read yet is kept.
func (l *libraryConn) putChunk() {
	if l.chunk == nil {
		return
	}
	l.have = bytes.Clone(l.have)
	putBuffer(l.chunk)
	l.chunk = nil
}

// fail keeps the first reason why nothing more can be read, and returns what
// the library may see of it.
func (l *libraryConn) fail(err error) error {
	if err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF) {
		err = errPeerGone
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.readErr == nil {
		l.readErr = fmt.Errorf("transport: read: %w", err)
	}
	return err
}

// write is net.Conn's Write for the library. It never blocks. After a close frame it takes
// whatever comes and drops it.
func (l *libraryConn) write(p []byte) (int, error) {
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

// close is net.Conn's Close for the library, which calls it
//   - when it has answered the peer's close frame, in the middle of run. There
//     it would next hand the message's decompressor to other connections, with
//     this one still at work in it, so that a client that closes within a
//     compressed message could break somebody else's: run ends here instead;
//   - when a control frame has not come whole within its time;
//   - from finish, when all is done.
func (l *libraryConn) close() {
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
		_ = l.fail(errStalled)
		l.c.cutOff(errStalled)
	}
}

var errStalled = errors.New("a control frame stayed incomplete")

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
