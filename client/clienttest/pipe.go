package clienttest

import (
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

// maxStream is what one direction of a pipe holds, as a socket's buffers do.
const maxStream = 1 << 20

var errCut = errors.New("clienttest: connection reset")

// stream is one direction of a connection.
type stream struct {
	mu     sync.Mutex
	turn   *sync.Cond
	buf    []byte
	frozen bool
	ended  bool  // nothing more is written
	err    error // cut: nothing more is read either
}

func newStream() *stream {
	s := &stream{}
	s.turn = sync.NewCond(&s.mu)
	return s
}

func (s *stream) read(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.err == nil && (s.frozen || len(s.buf) == 0 && !s.ended) {
		s.turn.Wait()
	}
	if s.err != nil {
		return 0, s.err
	}
	if len(s.buf) == 0 {
		return 0, io.EOF
	}
	n := copy(p, s.buf)
	s.buf = s.buf[n:]
	s.turn.Broadcast()
	return n, nil
}

func (s *stream) write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for n < len(p) {
		for s.err == nil && !s.ended && len(s.buf) >= maxStream {
			s.turn.Wait()
		}
		if s.err != nil {
			return n, s.err
		}
		if s.ended {
			return n, io.ErrClosedPipe
		}
		k := min(len(p)-n, maxStream-len(s.buf))
		s.buf = append(s.buf, p[n:n+k]...)
		n += k
		s.turn.Broadcast()
	}
	return n, nil
}

func (s *stream) set(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
	s.turn.Broadcast()
}

// end is one side of a connection. It fills net.Conn, without deadlines.
type end struct {
	in, out *stream
}

func newPipe() (client, server *end) {
	up, down := newStream(), newStream()
	return &end{in: down, out: up}, &end{in: up, out: down}
}

func (e *end) Read(p []byte) (int, error)  { return e.in.read(p) }
func (e *end) Write(p []byte) (int, error) { return e.out.write(p) }

// Close lets the other side read what was written, and then the end.
func (e *end) Close() error {
	e.out.set(func() { e.out.ended = true })
	e.in.set(func() { e.in.err = net.ErrClosed })
	return nil
}

func (e *end) cut() {
	e.out.set(func() { e.out.err = errCut })
	e.in.set(func() { e.in.err = errCut })
}

func (e *end) freeze(frozen bool) {
	e.out.set(func() { e.out.frozen = frozen })
	e.in.set(func() { e.in.frozen = frozen })
}

func (e *end) LocalAddr() net.Addr              { return address{} }
func (e *end) RemoteAddr() net.Addr             { return address{} }
func (e *end) SetDeadline(time.Time) error      { return nil }
func (e *end) SetReadDeadline(time.Time) error  { return nil }
func (e *end) SetWriteDeadline(time.Time) error { return nil }

type address struct{}

func (address) Network() string { return "memory" }
func (address) String() string  { return "clienttest" }
