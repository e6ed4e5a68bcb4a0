package transport

import (
	"context"
	"errors"
	"io"
	"unicode/utf8"

	"nhooyr.io/websocket"

	"forge.lthn.ai/core/go-ws/hub"
	"forge.lthn.ai/core/go-ws/hub/wire"
)

// run reads until the connection is over, and then ends it. r is nil where
// Close came before Start: then it only reads up to the peer's close frame.
func (c *conn) run(r hub.Receiver) {
	// Where the peer has sent a close frame this stays as it is: the library
	// is left in the middle, see libraryConn.close.
	v, returned := verdict{}, false
	defer func() {
		if !returned {
			v = c.in.verdict(true)
		}
		c.finish(r, v)
	}()
	if r != nil {
		c.out.start(r)
	}
	v = c.read(r)
	returned = true
}

// read hands over messages until there can't be any more.
func (c *conn) read(r hub.Receiver) verdict {
	for c.in.await() {
		if v, ok := c.readOne(r); !ok {
			return v
		}
		if !c.waitResumed() {
			return verdict{err: errPaused}
		}
	}
	return c.in.verdict(false)
}

// readOne hands over the next message, or finds that only control frames have
// come. It reports false where that ended the connection: then the reader stays
// for finish.
func (c *conn) readOne(r hub.Receiver) (verdict, bool) {
	c.t.readers.borrow(c)
	// The context is never done: it would cost the connection. What ends a read
	// is the socket.
	mt, body, err := c.reader.ws.Reader(context.Background())
	if err == nil {
		if v, ok := c.message(r, mt, body); !ok {
			return v, false
		}
		if !c.in.scan.between() {
			return c.violation(wire.CloseProtocolError, "bytes behind the end of a compressed message"), false
		}
	} else if !errors.Is(err, errIdle) {
		return c.judge(err), false
	}
	c.t.readers.giveBack(c)
	return verdict{}, true
}

// errPaused is never seen: Closed gets what cut the connection.
var errPaused = errors.New("transport: cut while paused")

func (c *conn) judge(err error) verdict {
	var e websocket.CloseError
	return c.in.verdict(errors.As(err, &e))
}

// message reads one message and hands it over. It reports false where that
// ended the connection.
func (c *conn) message(r hub.Receiver, mt websocket.MessageType, body io.Reader) (verdict, bool) {
	pooled := getBuffer()
	defer putBuffer(pooled)
	b := *pooled
	for size := int64(0); ; {
		if len(b) == cap(b) {
			b = append(b, 0)[:len(b)] // as append grows
		}
		n, err := body.Read(b[len(b):cap(b)])
		if size += int64(n); size > c.limit {
			return c.tooBig(), false
		}
		// While closing nobody wants it.
		if !c.isClosing() {
			b = b[:len(b)+n]
		}
		*pooled = b
		if err == io.EOF {
			break
		}
		if err != nil {
			return c.judge(err), false
		}
	}
	t := hub.BinaryFrame
	if mt == websocket.MessageText {
		t = hub.TextFrame
		if !utf8.Valid(b) && !c.isClosing() {
			return c.violation(wire.CloseInvalidData, "text is not UTF-8"), false
		}
	}
	c.deliver(r, t, b)
	return verdict{}, true
}

func (c *conn) isClosing() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closing
}

// deliver calls Receive. While that pauses the connection, receiving stays set.
func (c *conn) deliver(r hub.Receiver, t hub.FrameType, b []byte) {
	c.mu.Lock()
	c.receiving, c.resumed = !c.closing, false
	c.mu.Unlock()
	if !c.receiving {
		return
	}
	more := r.Receive(t, b)
	c.mu.Lock()
	defer c.mu.Unlock()
	if more {
		c.receiving = false
	}
}

// waitResumed waits while the connection is paused. The message's buffer has
// gone by then. It reports false where the socket was closed meanwhile.
func (c *conn) waitResumed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.receiving && !c.resumed && !c.closing && c.cut == nil {
		c.in.putChunk()
		c.changed.Wait()
	}
	c.receiving = false
	return c.cut == nil
}
