//go:build linux && !portable

package transport

import (
	"io"
	"net"
	"sync"
	"syscall"

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

// rawWriter writes to a non-blocking socket. It is pooled for its buffer, and
// for try, which would else be allocated at each write.
type rawWriter struct {
	raw  syscall.RawConn
	buf  []byte
	try  func(fd uintptr) bool
	wait bool // for the socket, until it takes something

	b   []byte
	n   int
	err error
}

var rawWriters = sync.Pool{New: func() any {
	w := &rawWriter{}
	w.try = w.tryWrite
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

// gather copies frames together, as many as have room.
func (w *rawWriter) gather(frames []hub.Frame, deflate bool) (chunk []byte, count int) {
	if w.buf == nil {
		w.buf = make([]byte, 0, gatherSize)
	}
	chunk = w.buf[:0]
	for _, f := range frames {
		b := f.(*frame).wire(deflate)
		if len(b) >= directSize || len(chunk)+len(b) > gatherSize {
			break
		}
		chunk = append(chunk, b...)
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
	if err := w.raw.Write(w.try); err != nil {
		return w.n, err
	}
	return w.n, w.err
}

// tryWrite is called with the socket; false waits for it to become writable.
func (w *rawWriter) tryWrite(fd uintptr) bool {
	for w.n < len(w.b) {
		n, err := syscall.Write(int(fd), w.b[w.n:])
		switch {
		case err == syscall.EINTR:
		case err == syscall.EAGAIN:
			return !w.wait || w.n > 0
		case err != nil:
			w.err = err
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
