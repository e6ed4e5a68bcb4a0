package tests

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/nats-io/nats.go"
)

// tap is a dialer that reads along: it counts PINGs, which are round trips, and
// writes, and can make the server's deliveries vanish while all else passes.
type tap struct {
	pings, writes, conns, swallowed atomic.Int64
	mute                            atomic.Bool
	// onWrite, if set, may take a write upon itself.
	onWrite atomic.Pointer[func(conn net.Conn, b []byte) (n int, err error, taken bool)]
	// behind, if set, says what the client is made to read behind a line.
	behind atomic.Pointer[func(line string) string]
}

func (t *tap) option() nats.Option { return nats.SetCustomDialer(t) }

func (t *tap) Dial(network, address string) (net.Conn, error) {
	conn, err := net.Dial(network, address)
	if err != nil {
		return nil, err
	}
	t.conns.Add(1)
	return &tapped{Conn: conn, tap: t, in: bufio.NewReaderSize(conn, 64<<10)}, nil
}

type tapped struct {
	net.Conn
	tap *tap
	in  *bufio.Reader

	mu   sync.Mutex
	rest []byte // of what was read, to be handed on
}

func (c *tapped) Write(b []byte) (int, error) {
	c.tap.writes.Add(1)
	c.tap.pings.Add(int64(bytes.Count(b, []byte("PING\r\n"))))
	if f := c.tap.onWrite.Load(); f != nil {
		if n, err, taken := (*f)(c.Conn, b); taken {
			return n, err
		}
	}
	return c.Conn.Write(b)
}

// Read hands on whole protocol messages, a MSG with its payload.
func (c *tapped) Read(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.rest) == 0 {
		line, err := c.in.ReadString('\n')
		if err != nil {
			return 0, err
		}
		c.rest = []byte(line)
		fields := strings.Fields(line)
		if len(fields) == 0 || fields[0] != "MSG" {
			if f := c.tap.behind.Load(); f != nil {
				c.rest = append(c.rest, (*f)(line)...)
			}
			continue
		}
		size, err := strconv.Atoi(fields[len(fields)-1])
		if err != nil {
			return 0, err
		}
		payload := make([]byte, size+2)
		if _, err := io.ReadFull(c.in, payload); err != nil {
			return 0, err
		}
		c.rest = append(c.rest, payload...)
		if c.tap.mute.Load() {
			c.rest = nil
			c.tap.swallowed.Add(1)
		}
	}
	n := copy(b, c.rest)
	c.rest = c.rest[n:]
	return n, nil
}
