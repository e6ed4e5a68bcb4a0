package server

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

var (
	floor1 = Kind{
		Name: "floor1", Protocol: "lines",
		About: "frames built once a message, written raw to the sockets of one epoll loop: one frame per write(2)",
		Start: func(o Options) (Server, error) { return startFloor(o, false) },
	}
	floorN = Kind{
		Name: "floorN", Protocol: "lines",
		About: "the same, but all that waits for a connection in one writev(2)",
		Start: func(o Options) (Server, error) {
			f, err := startFloor(o, true)
			return gatheringFloor{f}, err
		},
	}
)

// floor is the least that delivers. One loop over epoll accepts, shakes hands
// and joins; whoever publishes writes straight to the sockets.
type floor struct {
	bare, gather bool
	epoll        int
	listener     int

	mu       sync.Mutex
	conns    map[int]*floorConn
	order    []*floorConn // those that have joined
	channels map[int][]*floorConn
	waiting  map[int][]byte // frames of a channel since the last Flush
	vectors  []unix.Iovec
}

type floorConn struct {
	fd       int
	channels []int
	in       []byte
	// pending could not be written yet.
	pending []byte
}

type gatheringFloor struct{ *floor }

func startFloor(o Options, gather bool) (*floor, error) {
	file, err := o.Listener.(*net.TCPListener).File()
	if err != nil {
		return nil, err
	}
	f := &floor{
		bare: o.Bare, gather: gather, listener: int(file.Fd()),
		conns: map[int]*floorConn{}, channels: map[int][]*floorConn{}, waiting: map[int][]byte{},
	}
	if f.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, err
	}
	if err := unix.SetNonblock(f.listener, true); err != nil {
		return nil, err
	}
	if err := f.watch(unix.EPOLL_CTL_ADD, f.listener, unix.EPOLLIN); err != nil {
		return nil, err
	}
	go func() {
		defer file.Close()
		err := f.loop()
		fmt.Fprintln(os.Stderr, "floor:", err)
		os.Exit(1)
	}()
	return f, nil
}

func (f *floor) watch(op, fd int, events uint32) error {
	return unix.EpollCtl(f.epoll, op, fd, &unix.EpollEvent{Events: events, Fd: int32(fd)})
}

func (f *floor) loop() error {
	events, buf := make([]unix.EpollEvent, 256), make([]byte, 4096)
	for {
		n, err := unix.EpollWait(f.epoll, events, -1)
		if err != nil && err != unix.EINTR {
			return err
		}
		f.mu.Lock()
		for _, e := range events[:max(n, 0)] {
			fd := int(e.Fd)
			if fd == f.listener {
				f.acceptLocked()
				continue
			}
			c := f.conns[fd]
			if c == nil {
				continue
			}
			if e.Events&unix.EPOLLOUT != 0 {
				f.resumeLocked(c)
			}
			if e.Events&^unix.EPOLLOUT != 0 {
				f.readLocked(c, buf)
			}
		}
		f.mu.Unlock()
	}
}

func (f *floor) acceptLocked() {
	for {
		fd, _, err := unix.Accept4(f.listener, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		if err != nil {
			return
		}
		// As net does.
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
		f.conns[fd] = &floorConn{fd: fd}
		if f.watch(unix.EPOLL_CTL_ADD, fd, unix.EPOLLIN) != nil {
			f.closeLocked(f.conns[fd])
		}
	}
}

func (f *floor) closeLocked(c *floorConn) {
	delete(f.conns, c.fd)
	unix.Close(c.fd)
	c.fd = -1
}

func (f *floor) readLocked(c *floorConn, buf []byte) {
	n, err := unix.Read(c.fd, buf)
	if n <= 0 {
		if err != unix.EAGAIN && err != unix.EINTR {
			f.closeLocked(c)
		}
		return
	}
	if c.channels != nil {
		return // it has nothing more to say
	}
	c.in = append(c.in, buf[:n]...)
	if head, rest, whole := bytes.Cut(c.in, []byte("\r\n\r\n")); whole && bytes.HasPrefix(head, []byte("GET ")) {
		f.writeLocked(c, []byte(upgradeHead+acceptKey(head)+"\r\n\r\n"))
		c.in = append(c.in[:0], rest...)
	}
	if bytes.HasPrefix(c.in, []byte("GET ")) {
		return
	}
	text, n := parseJoin(c.in)
	if n == 0 {
		return
	}
	c.in = nil
	var parseErr error
	if c.channels, parseErr = channelNumbers(text); parseErr != nil || len(c.channels) == 0 {
		f.closeLocked(c)
		return
	}
	for _, ch := range c.channels {
		f.channels[ch] = append(f.channels[ch], c)
	}
	f.order = append(f.order, c)
	f.writeLocked(c, append(appendHeader(nil, len(joined)), joined...))
}

// Publish writes the frame, or keeps it for Flush.
func (f *floor) Publish(channel int, payload []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.gather {
		f.waiting[channel] = appendFloorFrame(f.waiting[channel], channel, payload, time.Now(), f.bare)
		return nil
	}
	frame := appendFloorFrame(nil, channel, payload, time.Now(), f.bare)
	for _, c := range f.channels[channel] {
		f.writeLocked(c, frame)
	}
	return nil
}

// Flush writes to each connection all that waits on its channels.
func (f gatheringFloor) Flush() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range f.order {
		f.writeAllLocked(c)
	}
	for ch := range f.waiting {
		f.waiting[ch] = f.waiting[ch][:0]
	}
	return nil
}

func (f *floor) writeAllLocked(c *floorConn) {
	f.vectors = f.vectors[:0]
	total := 0
	for _, ch := range c.channels {
		if b := f.waiting[ch]; len(b) > 0 {
			v := unix.Iovec{Base: &b[0]}
			v.SetLen(len(b))
			f.vectors = append(f.vectors, v)
			total += len(b)
		}
	}
	if total == 0 || c.fd < 0 {
		return
	}
	n := 0
	if len(c.pending) == 0 {
		if len(f.vectors) == 1 {
			n = rawWrite(c.fd, unsafe.Slice(f.vectors[0].Base, total))
		} else {
			n = rawWritev(c.fd, f.vectors)
		}
	}
	if n == total {
		return
	}
	var rest []byte
	for _, ch := range c.channels {
		rest = append(rest, f.waiting[ch]...)
	}
	f.laterLocked(c, n, rest)
}

func (f *floor) writeLocked(c *floorConn, b []byte) {
	if c.fd < 0 {
		return
	}
	n := 0
	if len(c.pending) == 0 {
		n = rawWrite(c.fd, b)
	}
	if n < len(b) {
		f.laterLocked(c, n, b)
	}
}

// laterLocked keeps what a socket did not take. n is negative when the
// connection is over.
func (f *floor) laterLocked(c *floorConn, n int, b []byte) {
	if n < 0 {
		f.closeLocked(c)
		return
	}
	if len(c.pending) == 0 && f.watch(unix.EPOLL_CTL_MOD, c.fd, unix.EPOLLIN|unix.EPOLLOUT) != nil {
		f.closeLocked(c)
		return
	}
	c.pending = append(c.pending, b[n:]...)
}

func (f *floor) resumeLocked(c *floorConn) {
	n := rawWrite(c.fd, c.pending)
	if n < 0 {
		f.closeLocked(c)
		return
	}
	if c.pending = c.pending[n:]; len(c.pending) == 0 {
		c.pending = nil
		_ = f.watch(unix.EPOLL_CTL_MOD, c.fd, unix.EPOLLIN)
	}
}

// rawWrite writes to a socket that never blocks, without telling the scheduler.
// It returns how much the socket took, or -1 when the connection is over.
func rawWrite(fd int, b []byte) int {
	if len(b) == 0 {
		return 0
	}
	n, _, errno := syscall.RawSyscall(syscall.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)))
	return taken(n, errno)
}

func rawWritev(fd int, v []unix.Iovec) int {
	n, _, errno := syscall.RawSyscall(syscall.SYS_WRITEV, uintptr(fd), uintptr(unsafe.Pointer(&v[0])), uintptr(len(v)))
	return taken(n, errno)
}

func taken(n uintptr, errno syscall.Errno) int {
	switch errno {
	case 0:
		return int(n)
	case syscall.EAGAIN, syscall.EINTR:
		return 0
	}
	return -1
}
