package load

import (
	"bytes"
	"compress/flate"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"slices"

	"golang.org/x/sys/unix"

	"forge.lthn.ai/core/go-ws/examples/bench/internal/payload"
)

// conn is one client.
type conn struct {
	fd       int
	tls      *tls.Conn // nil without TLS
	channels []int
	// next is the sequence that is due on each of channels.
	next []uint32
	// got counts messages.
	got int
	// answers that joining still waits for; done when it is zero.
	answers  int
	upgraded bool
	// fragile clients may be told to stop reading.
	fragile, stopped bool
	// partial is the begin of a frame, message that of a fragmented message.
	partial, message []byte
}

// errAgain says that the socket holds nothing more.
var errAgain = errors.New("load: nothing to read")

func (c *conn) read(b []byte) (int, error) {
	if c.tls != nil {
		n, err := c.tls.Read(b)
		if n > 0 {
			return n, nil
		}
		if wait, ok := errors.AsType[wouldBlock](err); ok {
			return 0, wait
		}
		return n, err
	}
	for {
		n, err := unix.Read(c.fd, b)
		switch {
		case err == unix.EINTR:
		case err == unix.EAGAIN:
			return 0, errAgain
		case err != nil:
			return 0, err
		case n == 0:
			return 0, io.EOF
		default:
			return n, nil
		}
	}
}

// write writes a few bytes, for which a socket always has room here.
func (c *conn) write(b []byte) error {
	var n int
	var err error
	if c.tls != nil {
		n, err = c.tls.Write(b)
	} else {
		n, err = unix.Write(c.fd, b)
	}
	if err == nil && n < len(b) {
		err = io.ErrShortWrite
	}
	return err
}

// take reads one message's payload.
func (l *Load) take(c *conn, b []byte, now int64) error {
	found := 0
	for rest := b; ; found++ {
		m, after, ok := payload.Next(rest)
		if !ok {
			break
		}
		rest = after
		i := slices.Index(c.channels, m.Channel)
		if i < 0 {
			return fmt.Errorf("load: a message of channel %d, which the client is not on", m.Channel)
		}
		if m.Sequence != c.next[i] {
			return fmt.Errorf("load: channel %d: got message %d, want %d: lost, twice, or out of order", m.Channel, m.Sequence, c.next[i])
		}
		c.next[i]++
		if l.sampling && !c.fragile {
			l.samples = append(l.samples, now-m.Sent)
		}
	}
	if found > 0 {
		l.messages += found
		l.frames++
		l.arrived(c, found)
	}
	if ping := []byte(l.protocol.ping); len(ping) > 0 && hasLine(b, ping) {
		if err := c.write(appendFrame(nil, opText, ping)); err != nil {
			return err
		}
	}
	if c.answers > 0 && found == 0 {
		if bytes.Contains(b, []byte(`"error"`)) {
			return fmt.Errorf("load: joining failed: %s", b)
		}
		c.answers -= bytes.Count(b, []byte(l.protocol.joined))
		if c.answers <= 0 {
			l.joined++
		}
	}
	return nil
}

func hasLine(b, line []byte) bool {
	if !bytes.Contains(b, line) {
		return false // the usual case, and a fast one
	}
	for one := range bytes.Lines(b) {
		if bytes.Equal(bytes.TrimSpace(one), line) {
			return true
		}
	}
	return false
}

// frame takes one frame.
func (l *Load) frame(c *conn, f Frame, now int64) error {
	switch f.Opcode {
	case opPing:
		return c.write(appendFrame(nil, opPong, f.Payload))
	case opPong:
		return nil
	case opClose:
		return fmt.Errorf("load: the server closed a connection: %q", f.Payload)
	case opText, opBinary, opContinuation:
	default:
		return errFrame
	}
	if f.Compressed {
		b, err := l.inflate(f.Payload)
		if err != nil {
			return err
		}
		f.Payload = b
	}
	if f.Final && f.Opcode != opContinuation {
		return l.take(c, f.Payload, now)
	}
	if c.message = append(c.message, f.Payload...); !f.Final {
		return nil
	}
	err := l.take(c, c.message, now)
	c.message = c.message[:0]
	return err
}

// inflate undoes permessage-deflate for messages of one frame. All clients of a
// broadcast get the same bytes, so that the last result often serves again.
func (l *Load) inflate(b []byte) ([]byte, error) {
	if bytes.Equal(b, l.deflated) {
		return l.inflated.Bytes(), nil
	}
	l.deflated = append(l.deflated[:0], b...)
	l.inflated.Reset()
	// What RFC 7692 leaves away, and an empty last block.
	tail := "\x00\x00\xff\xff\x01\x00\x00\xff\xff"
	r := flate.NewReader(io.MultiReader(bytes.NewReader(b), bytes.NewReader([]byte(tail))))
	if _, err := l.inflated.ReadFrom(r); err != nil {
		return nil, fmt.Errorf("load: inflate: %w", err)
	}
	return l.inflated.Bytes(), nil
}

// readable reads all that a client has.
func (l *Load) readable(c *conn) error {
	for {
		kept := copy(l.buf, c.partial)
		n, err := c.read(l.buf[kept:])
		if errors.Is(err, errAgain) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("load: reading: %w", err)
		}
		l.bytes += n
		now := payload.Now()
		b := l.buf[:kept+n]
		full := len(b) == len(l.buf)
		if !c.upgraded {
			used, err := upgraded(b, l.deflate)
			if err != nil {
				return err
			}
			if used > 0 {
				c.upgraded = true
				if err := l.sayJoin(c); err != nil {
					return err
				}
			}
			b = b[used:]
		}
		for c.upgraded {
			f, used, err := ParseFrame(b)
			if err != nil {
				return err
			}
			if used == 0 {
				break
			}
			b = b[used:]
			if err := l.frame(c, f, now); err != nil {
				return err
			}
		}
		if len(b) == len(l.buf) {
			return fmt.Errorf("load: a frame of more than %d bytes", len(l.buf))
		}
		c.partial = append(c.partial[:0], b...)
		if !full && c.tls == nil {
			return nil
		}
	}
}
