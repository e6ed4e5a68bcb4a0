package hubtest_test

import (
	"fmt"
	"net/http"
	"time"

	"forge.lthn.ai/core/go-ws/hub"
	"forge.lthn.ai/core/go-ws/hub/hubtest"
	"forge.lthn.ai/core/go-ws/hub/wire"
)

// faultyTransport is the fake with one thing broken. A nil function leaves the
// fake's own.
type faultyTransport struct {
	*hubtest.Transport
	accept  func(w http.ResponseWriter, r *http.Request, o *hub.AcceptOptions) (done bool)
	prepare func(t hub.FrameType, payload []byte) hub.Frame
	conn    func(c *faultyConn)
	// overlooks says that bytes which break the protocol are taken in silence.
	overlooks bool
}

func (t *faultyTransport) Accept(w http.ResponseWriter, r *http.Request, o hub.AcceptOptions) (hub.Conn, error) {
	if t.accept != nil && t.accept(w, r, &o) {
		return nil, fmt.Errorf("faulty")
	}
	c, err := t.Transport.Accept(w, r, o)
	if err != nil || t.conn == nil {
		return c, err
	}
	f := &faultyConn{Conn: c, t: t}
	t.conn(f)
	return f, nil
}

func (t *faultyTransport) Prepare(ft hub.FrameType, payload []byte) hub.Frame {
	if t.prepare != nil {
		return t.prepare(ft, payload)
	}
	return t.Transport.Prepare(ft, payload)
}

type faultyConn struct {
	hub.Conn
	t *faultyTransport

	start    func(r hub.Receiver)
	send     func(frames []hub.Frame) (int, error)
	ping     func() error
	lastRead func() time.Time
	resume   func()
	protocol func() string
	close    func(code wire.CloseCode, reason string) error

	// receiver's methods, given the real receiver
	receive  func(r hub.Receiver, t hub.FrameType, payload []byte) bool
	writable func(r hub.Receiver)
	closed   func(r hub.Receiver, err error)
}

func (c *faultyConn) Start(r hub.Receiver) {
	if c.start != nil {
		c.start(r)
		return
	}
	c.Conn.Start(&faultyReceiver{r, c})
}

func (c *faultyConn) Send(frames []hub.Frame) (int, error) {
	if c.send != nil {
		return c.send(frames)
	}
	return c.Conn.Send(frames)
}

func (c *faultyConn) Ping() error {
	if c.ping != nil {
		return c.ping()
	}
	return c.Conn.Ping()
}

func (c *faultyConn) LastRead() time.Time {
	if c.lastRead != nil {
		return c.lastRead()
	}
	return c.Conn.LastRead()
}

func (c *faultyConn) Resume() {
	if c.resume != nil {
		c.resume()
		return
	}
	c.Conn.Resume()
}

func (c *faultyConn) Subprotocol() string {
	if c.protocol != nil {
		return c.protocol()
	}
	return c.Conn.Subprotocol()
}

func (c *faultyConn) Close(code wire.CloseCode, reason string) error {
	if c.close != nil {
		return c.close(code, reason)
	}
	return c.Conn.Close(code, reason)
}

type faultyReceiver struct {
	hub.Receiver
	c *faultyConn
}

func (r *faultyReceiver) Receive(t hub.FrameType, payload []byte) bool {
	if r.c.receive != nil {
		return r.c.receive(r.Receiver, t, payload)
	}
	return r.Receiver.Receive(t, payload)
}

func (r *faultyReceiver) Writable() {
	if r.c.writable != nil {
		r.c.writable(r.Receiver)
		return
	}
	r.Receiver.Writable()
}

func (r *faultyReceiver) Closed(err error) {
	if r.c.closed != nil {
		r.c.closed(r.Receiver, err)
		return
	}
	r.Receiver.Closed(err)
}

// conns breaks connections.
func conns(f func(c *faultyConn)) faultyTransport { return faultyTransport{conn: f} }
