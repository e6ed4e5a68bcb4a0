//go:build linux && !portable

package transport

import (
	"io"
	"syscall"
)

// awaitRaw waits for bytes and reads them into a buffer from the pool, which an
// idle connection thereby does without. Nothing else is on the stack meanwhile,
// so that the next collection makes it small.
func (l *libraryConn) awaitRaw() (int, error) {
	if l.try == nil {
		l.try = l.tryRead
	}
	l.n, l.err = 0, nil
	if err := l.c.out.raw.Read(l.try); err != nil {
		return 0, err
	}
	return l.n, l.err
}

// tryRead is called with the socket; false waits for it to become readable.
func (l *libraryConn) tryRead(fd uintptr) bool {
	l.chunk = getBuffer()
	b := (*l.chunk)[:cap(*l.chunk)]
	for {
		n, err := syscall.Read(int(fd), b)
		switch {
		case err == syscall.EINTR:
			continue
		case err == syscall.EAGAIN:
			l.putChunk()
			return false
		case err != nil:
			l.err = err
		case n == 0:
			l.err = io.EOF
		default:
			l.n, l.have = n, b[:n]
		}
		return true
	}
}
