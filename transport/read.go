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

// run waits for what comes, has a reader take it apart until the connection is
// over, and then ends it. r is nil where Close came before Start: then only what
// leads up to the peer's close frame is read.
func (c *conn) run(r hub.Receiver) {
	if r != nil {
		c.out.start(r)
	}
	c.finish(r, c.read(r))
}

// read hands over messages until there can't be any more.
func (c *conn) read(r hub.Receiver) verdict {
	for c.in.await() {
		c.t.readers.borrow(c)
		c.reader.work <- r
		o, ok := <-c.reader.done
		switch {
		case !ok:
			// The library was left in the middle, see libraryConn.close.
			return c.in.verdict(true)
		case o.over:
			return o.v
		}
		c.t.readers.giveBack(c)
		if !c.waitResumed() {
			return verdict{err: errPaused}
		}
	}
	return c.in.verdict(false)
}

// readSome hands over messages as long as there is something to read, and the
// receiver wants it.
func (c *conn) readSome(r hub.Receiver) outcome {
	for {
		// The context is never done: it would cost the connection. What ends a
		// read is the socket.
		mt, body, err := c.reader.ws.Reader(context.Background())
		if errors.Is(err, errIdle) {
			return outcome{}
		}
		if err != nil {
			return outcome{true, c.judge(err)}
		}
		if v, ok := c.message(r, mt, body); !ok {
			return outcome{true, v}
		}
		if !c.in.scan.between() {
			return outcome{true, c.violation(wire.CloseProtocolError, "bytes behind the end of a compressed message")}
		}
		if len(c.in.have) == 0 || c.in.scan.deflated || c.isPaused() {
			return outcome{}
		}
	}
}

func (c *conn) isPaused() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.receiving
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
