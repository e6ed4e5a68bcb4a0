package transport

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"forge.lthn.ai/core/go-ws/hub"
)

// outbox is the one way by which anything is written to a connection. Whoever
// finds it idle sets busy and thereby owns the write side of the socket; what
// others want written meanwhile waits, and the owner writes it before it gives
// busy up. No lock is held across a system call.
//
// Where the socket can be written without blocking (raw is set), Send and Ping
// write on the caller's goroutine, and drain, a goroutine of its own, runs only
// while the socket is full. Elsewhere a goroutine of drainers runs drain, which
// does all writing, and only while there is something to write.
//
// What waits is bounded: the rest of what Send took, which takes nothing while
// anything waits, one ping, the newest pong (RFC 6455, section 5.5.3, allows to
// leave out older ones), and one close frame, which is the last thing ever
// written.
type outbox struct {
	// Set before the first use, constant since.
	nc      net.Conn
	raw     syscall.RawConn // nil where nc only blocks
	deflate bool            // the peer takes compressed messages
	timeout time.Duration   // how long the peer may take no byte while some wait
	fail    func(error)     // ends the connection for a failed write
	// drainers write for it where raw is nil.
	drainers *drainers

	pings  atomic.Int64   // were written, or soon will be, and no pong has come
	drains sync.WaitGroup // goroutines of drain, and of owed calls of Writable

	mu      sync.Mutex
	idle    sync.Cond // L is mu: busy, or over, has changed
	r       hub.Receiver
	busy    bool
	want    bool // Writable is owed
	pong    []byte
	ping    bool
	last    []byte // the close frame
	closing bool   // a close frame is queued or written
	over    error  // nothing is written any more

	// Owned by whoever is busy.
	rest  [][]byte  // taken and unwritten
	until time.Time // nc's write deadline
}

const (
	// directSize is the length from which on a frame is not copied.
	directSize = 16 << 10
	// takeSize bounds, in bytes, what Send takes where it can't write by itself.
	takeSize = 64 << 10
	// pieceSize is what the portable path writes at once: the time allowed is
	// for that much. It is also what a TLS record holds.
	pieceSize = 16 << 10
)

var errForeignFrame = errors.New("transport: send: frame of another transport")

// send is Conn.Send.
func (o *outbox) send(frames []hub.Frame) (int, error) {
	for _, f := range frames {
		if _, ok := f.(*frame); !ok {
			o.fail(errForeignFrame)
			return 0, errForeignFrame
		}
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if err := o.refusalLocked(); err != nil {
		return 0, fmt.Errorf("transport: send: %w", err)
	}
	if len(frames) == 0 {
		return 0, nil
	}
	if o.busy {
		o.want = true
		return 0, hub.ErrWouldBlock
	}
	o.busy = true
	if o.raw == nil {
		n := o.take(frames)
		o.want = true
		o.drains.Add(1)
		o.mu.Unlock()
		o.drainers.drain(o)
		o.mu.Lock()
		return n, hub.ErrWouldBlock
	}
	o.mu.Unlock()
	n, err := o.writeFrames(frames)
	o.mu.Lock()
	if err != nil {
		o.failLocked(err)
		return n, fmt.Errorf("transport: send: %w", err)
	}
	if len(o.rest) > 0 {
		o.want = true
		o.drainLocked()
		return n, hub.ErrWouldBlock
	}
	o.settleLocked()
	return n, nil
}

// refusalLocked says why nothing more can be queued.
func (o *outbox) refusalLocked() error {
	if o.over != nil {
		return o.over
	}
	if o.closing {
		return net.ErrClosed
	}
	return nil
}

// take keeps as many frames as may wait, one at least.
func (o *outbox) take(frames []hub.Frame) int {
	size := 0
	if len(frames) > 1 {
		o.rest = getList()
	}
	for i, f := range frames {
		b := f.(*frame).wire(o.deflate)
		if i > 0 && size+len(b) > takeSize {
			return i
		}
		size += len(b)
		o.rest = append(o.rest, b)
	}
	return len(frames)
}

// writeFrames writes frames until the socket is full. What it took and could
// not write is then in o.rest; there is something, so that the socket's getting
// writable can be waited for.
func (o *outbox) writeFrames(frames []hub.Frame) (taken int, err error) {
	w := getRawWriter(o.raw)
	defer w.put()
	for taken < len(frames) {
		chunk := frames[taken].(*frame).wire(o.deflate)
		count := 1
		if taken+1 < len(frames) && len(chunk) < directSize {
			chunk, count = w.gather(frames[taken:], o.deflate)
		}
		n, err := w.write(chunk)
		if err != nil {
			return taken, err
		}
		if n == len(chunk) {
			taken += count
			continue
		}
		for ; ; taken++ {
			b := frames[taken].(*frame).wire(o.deflate)
			if n < len(b) {
				o.rest = append(o.rest, b[n:])
				return taken + 1, nil
			}
			n -= len(b)
		}
	}
	return taken, nil
}

// control queues a control frame; the newest pong replaces one that waits.
func (o *outbox) control(pong []byte) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if err := o.refusalLocked(); err != nil {
		return err
	}
	if pong != nil {
		o.pong = append(o.pong[:0], pong...)
	} else {
		o.ping = true
	}
	if !o.busy {
		o.busy = true
		o.settleLocked()
	}
	return nil
}

// end queues the close frame, after which nothing is queued. It reports false
// where there was one, or where the connection is over.
func (o *outbox) end(frame []byte) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.refusalLocked() != nil {
		return false
	}
	o.closing, o.last = true, frame
	if !o.busy {
		o.busy = true
		o.settleLocked()
	}
	return true
}

// controlLocked moves waiting control frames to rest, the close frame last. It
// is called at the end of a frame.
func (o *outbox) controlLocked() bool {
	var b []byte
	b = append(b, o.pong...)
	if o.ping {
		b = append(b, finBit|opPing, 0)
		o.pings.Add(1)
	}
	b = append(b, o.last...)
	o.pong, o.ping, o.last = nil, false, nil
	if len(b) == 0 {
		return false
	}
	o.rest = append(o.rest, b)
	return true
}

// settleLocked writes waiting control frames, without blocking, and gives busy
// up, to drain if the socket is full.
func (o *outbox) settleLocked() {
	for o.over == nil && o.controlLocked() {
		if o.raw == nil {
			o.drainLocked()
			return
		}
		o.mu.Unlock()
		b := o.rest[0]
		w := getRawWriter(o.raw)
		n, err := w.write(b)
		w.put()
		o.mu.Lock()
		switch {
		case err != nil:
			o.failLocked(err)
			return
		case n < len(b):
			o.rest[0] = b[n:]
			o.drainLocked()
			return
		}
		o.rest = nil
	}
	if o.idleLocked() {
		// Not on this goroutine, whose caller may hold what Writable needs.
		o.drains.Go(o.r.Writable)
	}
}

// drainLocked hands busy to a goroutine.
func (o *outbox) drainLocked() {
	if o.over != nil {
		o.idleLocked()
		return
	}
	o.drains.Go(o.drain)
}

// drain writes what waits, for as long as it takes.
func (o *outbox) drain() {
	for {
		err := o.writeRest()
		o.mu.Lock()
		putList(o.rest)
		o.rest = nil
		if err != nil {
			o.failLocked(err)
			o.mu.Unlock()
			return
		}
		if o.over != nil || !o.controlLocked() {
			break
		}
		o.mu.Unlock()
	}
	owed := o.idleLocked()
	r := o.r
	o.mu.Unlock()
	if owed {
		r.Writable()
	}
}

// writeRest writes o.rest, blocking. The peer has o.timeout to take some of it,
// and again for each further piece.
func (o *outbox) writeRest() error {
	if o.raw != nil {
		return o.writeRaw()
	}
	return o.writePieces()
}

func (o *outbox) writeRaw() error {
	w := getRawWriter(o.raw)
	defer w.put()
	for _, b := range o.rest {
		for len(b) > 0 {
			if err := o.extend(); err != nil {
				return err
			}
			n, err := w.writeSome(b)
			if err != nil {
				return err
			}
			b = b[n:]
		}
	}
	return nil
}

func (o *outbox) writePieces() error {
	var pooled *[]byte
	defer func() { putBuffer(pooled) }()
	for rest := o.rest; len(rest) > 0; {
		var piece []byte
		if len(rest) == 1 || len(rest[0]) >= pieceSize {
			piece = rest[0][:min(len(rest[0]), pieceSize)]
			if rest[0] = rest[0][len(piece):]; len(rest[0]) == 0 {
				rest = rest[1:]
			}
		} else {
			if pooled == nil {
				pooled = getBuffer()
			}
			piece = (*pooled)[:0]
			for len(rest) > 0 && len(piece)+len(rest[0]) <= pieceSize {
				piece = append(piece, rest[0]...)
				rest = rest[1:]
			}
			*pooled = piece
		}
		if err := o.extend(); err != nil {
			return err
		}
		if _, err := o.nc.Write(piece); err != nil {
			return err
		}
	}
	return nil
}

// extend gives the peer at least o.timeout from now, and up to a sixteenth more,
// so that not every write moves a timer. A deadline that passes between two
// writes does nothing, since each begins here.
func (o *outbox) extend() error {
	now := time.Now()
	if o.until.Sub(now) >= o.timeout {
		return nil
	}
	o.until = now.Add(o.timeout + o.timeout/16)
	return o.nc.SetWriteDeadline(o.until)
}

// idleLocked gives busy up, and reports whether the caller must now call
// Writable.
func (o *outbox) idleLocked() (owed bool) {
	o.busy = false
	o.idle.Broadcast()
	owed = o.want && o.r != nil && o.over == nil
	if owed {
		o.want = false
	}
	return owed
}

// failLocked ends the outbox, by whoever is busy.
func (o *outbox) failLocked(err error) {
	o.rest = nil
	o.stopLocked(err)
	o.idleLocked()
	o.mu.Unlock()
	o.fail(err)
	o.mu.Lock()
}

// start tells whom to call; a call that is owed is made up for.
func (o *outbox) start(r hub.Receiver) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.r = r
	if !o.busy && o.want && o.over == nil {
		o.want = false
		o.drains.Go(r.Writable)
	}
}

// flush waits until everything is written, after end, or can't be.
func (o *outbox) flush() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for o.busy && o.over == nil {
		o.idle.Wait()
	}
}

// stop has nothing more written. It does not wait for drain, which needs the
// socket closed to notice.
func (o *outbox) stop(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.stopLocked(err)
}

func (o *outbox) stopLocked(err error) {
	if o.over == nil {
		o.over = err
	}
	o.pong, o.ping, o.last = nil, false, nil
	o.idle.Broadcast()
}
