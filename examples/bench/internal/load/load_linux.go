package load

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"forge.lthn.ai/core/go-ws/examples/bench/internal/control"
	"forge.lthn.ai/core/go-ws/examples/bench/internal/stats"
)

// Load holds the clients. It reads only while a request is being answered.
type Load struct {
	epoll    int
	conns    map[int]*conn // by descriptor
	buf      []byte
	events   []unix.EpollEvent
	protocol protocol
	deflate  bool

	joined int
	// awake: it does not sleep while it waits, so that no server pays for waking
	// it. worked is the time that it spent on what came.
	awake  bool
	worked time.Duration
	// due is the number of messages that each reading client must get, and
	// behind how many clients have fewer.
	due, behind int

	sampling                bool
	samples                 []int64
	messages, frames, bytes int

	deflated []byte
	inflated bytes.Buffer
}

// New returns a load generator without connections.
func New() (*Load, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("load: %w", err)
	}
	return &Load{
		epoll: fd, conns: map[int]*conn{},
		// A frame must fit whole. Only what is read is ever touched.
		buf:    make([]byte, 4<<20),
		events: make([]unix.EpollEvent, 512),
	}, nil
}

// Answer carries out a request.
func (l *Load) Answer(q control.LoadRequest) (a control.LoadReply, err error) {
	l.messages, l.frames, l.bytes = 0, 0, 0
	l.worked = 0
	began := time.Now()
	switch {
	case q.Connect != nil:
		err = l.connect(*q.Connect)
	case q.Expect != nil:
		err = l.expect(*q.Expect, &a)
	default:
		err = errors.New("load: an empty request")
	}
	a.Busy = float64(l.worked) / float64(time.Since(began))
	if l.messages > 0 {
		a.FrameBytes = float64(l.bytes) / float64(l.messages)
		a.PerFrame = float64(l.messages) / float64(l.frames)
	}
	return a, err
}

// atOnce is how many clients may be joining at the same time.
const atOnce = 128

// connectWithin bounds all connections' joining.
const connectWithin = 2 * time.Minute

func (l *Load) connect(q control.Connect) error {
	to, err := netip.ParseAddrPort(q.Addr)
	if err != nil {
		return fmt.Errorf("load: %w", err)
	}
	var ok bool
	if l.protocol, ok = protocols[q.Protocol]; !ok {
		return fmt.Errorf("load: unknown protocol %q", q.Protocol)
	}
	l.deflate = q.Deflate
	var secure *tls.Config
	if q.Certificate != "" {
		if secure, err = trust(q.Certificate); err != nil {
			return err
		}
	}
	deadline := time.Now().Add(connectWithin)
	hello := handshake(q.Addr, q.Deflate)
	for made := 0; l.joined < q.Conns; {
		for made < q.Conns && made-l.joined < atOnce {
			if err := l.dial(to, secure, hello, newConn(made, q)); err != nil {
				return err
			}
			made++
		}
		if err := l.poll(deadline); err != nil {
			return fmt.Errorf("%w, with %d of %d joined", err, l.joined, q.Conns)
		}
	}
	return nil
}

func newConn(number int, q control.Connect) *conn {
	c := &conn{fragile: number < q.Fragile, next: make([]uint32, q.PerConn)}
	for i := range q.PerConn {
		// Channels far apart, so that no two clients share all of theirs.
		c.channels = append(c.channels, (number+i*97)%q.Channels)
	}
	slices.Sort(c.channels)
	c.answers = protocols[q.Protocol].answers(q.PerConn)
	return c
}

// fragileBuffer is the receive buffer of a client that may stop reading.
const fragileBuffer = 4096

func (l *Load) dial(to netip.AddrPort, secure *tls.Config, hello []byte, c *conn) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("load: %w", err)
	}
	c.fd = fd
	if c.fragile {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, fragileBuffer); err != nil {
			return fmt.Errorf("load: %w", err)
		}
	}
	err = unix.Connect(fd, &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()})
	if err != nil && err != unix.EINPROGRESS {
		return fmt.Errorf("load: connecting: %w", err)
	}
	if err := (&socket{fd: fd}).poll(unix.POLLOUT); err != nil {
		return err
	}
	if secure != nil {
		if c.tls, err = shake(fd, secure); err != nil {
			return err
		}
	}
	l.conns[fd] = c
	if err := unix.EpollCtl(l.epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)}); err != nil {
		return fmt.Errorf("load: %w", err)
	}
	if err := c.write(hello); err != nil {
		return fmt.Errorf("load: handshake: %w", err)
	}
	return nil
}

func (l *Load) sayJoin(c *conn) error {
	var b []byte
	for _, text := range l.protocol.join(c.channels) {
		b = appendFrame(b, opText, []byte(text))
	}
	if err := c.write(b); err != nil {
		return fmt.Errorf("load: joining: %w", err)
	}
	return nil
}

// stop makes fragile clients stop reading, until so many have.
func (l *Load) stop(n int) error {
	for _, c := range l.conns {
		if c.stopped {
			n--
		}
	}
	for _, c := range l.conns {
		if n > 0 && c.fragile && !c.stopped {
			if err := unix.EpollCtl(l.epoll, unix.EPOLL_CTL_DEL, c.fd, nil); err != nil {
				return fmt.Errorf("load: %w", err)
			}
			c.stopped = true
			n--
		}
	}
	return nil
}

// poll waits for readable clients once and reads from them.
func (l *Load) poll(deadline time.Time) error {
	wait := time.Until(deadline)
	if wait <= 0 {
		return errors.New("load: time is up")
	}
	timeout := int(wait/time.Millisecond) + 1
	if l.awake {
		timeout = 0
	}
	n, err := unix.EpollWait(l.epoll, l.events, timeout)
	if err != nil && err != unix.EINTR {
		return fmt.Errorf("load: %w", err)
	}
	if n > 0 {
		began := time.Now()
		defer func() { l.worked += time.Since(began) }()
	}
	for _, e := range l.events[:max(n, 0)] {
		if err := l.readable(l.conns[int(e.Fd)]); err != nil {
			return err
		}
	}
	return nil
}

// arrived counts messages of a client.
func (l *Load) arrived(c *conn, n int) {
	before := c.got
	c.got += n
	if before < l.due && c.got >= l.due {
		l.behind--
	}
}

func (l *Load) expect(q control.Expect, a *control.LoadReply) error {
	l.sampling, l.samples = q.Latency, l.samples[:0]
	l.due, l.behind = q.Messages, 0
	if err := l.stop(q.Stopped); err != nil {
		return err
	}
	for _, c := range l.conns {
		if !c.stopped && c.got < l.due {
			l.behind++
		}
	}
	l.awake = true
	defer func() { l.awake = false }()
	deadline := time.Now().Add(q.Within)
	for l.behind > 0 {
		if err := l.poll(deadline); err != nil {
			return fmt.Errorf("%w: %d of %d clients have fewer than %d messages", err, l.behind, len(l.conns), l.due)
		}
	}
	for _, c := range l.conns {
		if !c.stopped && c.got > l.due {
			return fmt.Errorf("load: a client has %d messages, want %d", c.got, l.due)
		}
	}
	if q.Latency && len(l.samples) > 0 {
		slices.Sort(l.samples)
		a.P50, a.P99 = stats.Percentile(l.samples, 50), stats.Percentile(l.samples, 99)
	}
	return nil
}
