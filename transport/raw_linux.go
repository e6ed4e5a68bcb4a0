//go:build linux && !portable

package transport

import (
	"io"
	"net"
	"slices"
	"sync"
	"syscall"
	"unsafe"

	"forge.lthn.ai/core/go-ws/hub"
)

// gatherSize is how much is copied together for one system call.
const gatherSize = 64 << 10

// rawConn gives the socket behind nc, or nil where nc is none that can be
// written past its own Write: TLS, a pipe, anything wrapped.
func rawConn(nc net.Conn) syscall.RawConn {
	var raw syscall.RawConn
	var err error
	switch nc := nc.(type) {
	case *net.TCPConn:
		raw, err = nc.SyscallConn()
	case *net.UnixConn:
		raw, err = nc.SyscallConn()
	}
	if err != nil {
		return nil
	}
	return raw
}

// rawWriter writes to a non-blocking socket. It is pooled for what it has
// gathered, and for its bound methods, which would else be allocated at each write.
type rawWriter struct {
	raw  syscall.RawConn
	wait bool // for the socket, until it takes something
	// The methods of these names, bound once.
	try    func(fd uintptr) bool
	tryNow func(fd uintptr)

	// What was gathered last: the next connection often gets the same. buf are
	// the bytes of the frames, in the form that deflate says.
	buf      []byte
	gathered []gathered
	deflate  bool

	b   []byte
	n   int
	err error
}

var rawWriters = sync.Pool{New: func() any {
	w := &rawWriter{}
	w.try, w.tryNow = w.tryWrite, w.tryWriteNow
	return w
}}

func getRawWriter(raw syscall.RawConn) *rawWriter {
	w := rawWriters.Get().(*rawWriter)
	w.raw = raw
	return w
}

func (w *rawWriter) put() {
	w.raw, w.b, w.err = nil, nil, nil
	rawWriters.Put(w)
}

type gathered struct {
	frame *frame
	end   int // of it in the buffer
}

// gather copies frames together, as many as have room. What begins like the last
// batch is there already.
func (w *rawWriter) gather(frames []hub.Frame, deflate bool) (chunk []byte, count int) {
	if w.buf == nil {
		w.buf = make([]byte, 0, gatherSize)
	}
	if w.deflate != deflate {
		w.gathered, w.deflate = w.gathered[:0], deflate
	}
	size := 0
	for count < len(frames) && count < len(w.gathered) && w.gathered[count].frame == frames[count].(*frame) {
		size = w.gathered[count].end
		count++
	}
	if count == len(frames) {
		return w.buf[:size], count
	}
	chunk = w.buf[:size]
	w.gathered = slices.Delete(w.gathered, count, len(w.gathered))
	for _, f := range frames[count:] {
		f := f.(*frame)
		b := f.wire(deflate)
		if len(b) >= directSize || len(chunk)+len(b) > gatherSize {
			break
		}
		chunk = append(chunk, b...)
		w.gathered = append(w.gathered, gathered{f, len(chunk)})
		count++
	}
	return chunk, count
}

// write writes as much of b as the socket takes now.
func (w *rawWriter) write(b []byte) (int, error) { return w.do(b, false) }

// writeSome waits until the socket takes something.
func (w *rawWriter) writeSome(b []byte) (int, error) { return w.do(b, true) }

func (w *rawWriter) do(b []byte, wait bool) (int, error) {
	w.b, w.n, w.err, w.wait = b, 0, nil, wait
	var err error
	if wait {
		err = w.raw.Write(w.try)
	} else {
		// Without what makes ready for waiting.
		err = w.raw.Control(w.tryNow)
	}
	if err != nil {
		return w.n, err
	}
	return w.n, w.err
}

func (w *rawWriter) tryWriteNow(fd uintptr) { w.tryWrite(fd) }

// tryWrite is called with the socket; false waits for it to become writable.
func (w *rawWriter) tryWrite(fd uintptr) bool {
	for w.n < len(w.b) {
		n, errno := writeNow(fd, w.b[w.n:])
		switch {
		case errno == syscall.EINTR:
		case errno == syscall.EAGAIN:
			return !w.wait || w.n > 0
		case errno != 0:
			w.err = errno
			return true
		case n == 0:
			w.err = io.ErrUnexpectedEOF
			return true
		default:
			w.n += n
		}
	}
	return true
}

// writeNow is write(2) without word to the scheduler, which syscall.Write gives
// so that others can have the processor while it blocks. This one never blocks,
// and it is short.
func writeNow(fd uintptr, b []byte) (int, syscall.Errno) {
	n, _, errno := syscall.RawSyscall(syscall.SYS_WRITE, fd, uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)))
	if errno != 0 {
		return 0, errno
	}
	return int(n), 0
}
