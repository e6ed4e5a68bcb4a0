package hubtest

import (
	"context"
	"errors"
	"slices"

	"forge.lthn.ai/core/go-ws/hub"
	"forge.lthn.ai/core/go-ws/hub/wire"
)

// Peer is the client's side of a connection that Transport.Dial made. It reads
// all the time, whether or not anybody calls Receive, answers pings and close
// frames, and keeps what it read without a bound. Stall makes it a slow client,
// SetSilent and Cut a dead one.
//
// All methods may be called concurrently; only Receive waits.
type Peer struct {
	c *conn
}

// PeerStats counts what a Peer's connection was told to write, and what of it
// the peer has read.
type PeerStats struct {
	// Batches is how many calls of Conn.Send took at least one frame, and
	// Blocked how many returned hub.ErrWouldBlock.
	Batches, Blocked int
	// Frames and Bytes (with the frames' headers) are of the messages that the
	// peer read, Pings and Pongs are the control frames.
	Frames int
	Bytes  int64
	Pings  int
	Pongs  int
}

// Send sends one message. It keeps no hold of payload. The server's reading it
// is not waited for, and what it has not read is kept without a bound. After
// the connection's end the error is that of Receive.
func (p *Peer) Send(t hub.FrameType, payload []byte) error {
	return p.send(item{t: t, payload: slices.Clone(payload), size: frameSize(len(payload))})
}

// SendText sends one text message.
func (p *Peer) SendText(s string) error { return p.Send(hub.TextFrame, []byte(s)) }

// Ping sends a ping. Its pong shows in Stats.
func (p *Peer) Ping() error { return p.send(item{kind: itemPing, size: frameSize(0)}) }

// Close sends a close frame and waits for nothing. A code of zero sends a
// frame without one. Receive tells of the answer.
func (p *Peer) Close(code wire.CloseCode, reason string) error {
	if code == 0 {
		code = wire.CloseNoStatus
	}
	return p.send(item{
		kind:  itemClose,
		close: hub.CloseError{Code: code, Reason: reason},
		size:  frameSize(2 + len(reason)),
	})
}

func (p *Peer) send(m item) error {
	c := p.c
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.end != nil:
		return c.end
	case c.over:
		return &hub.CloseError{Code: wire.CloseAbnormal}
	case c.peerClose:
		return errors.New("hubtest: peer has sent a close frame")
	}
	c.peerClose = m.kind == itemClose
	c.in = append(c.in, m)
	c.readLocked()
	return nil
}

// Receive returns the next message, waiting for it as long as ctx allows. After
// the last one the error is a *hub.CloseError: Remote and with the server's
// code and reason where a close frame came, of wire.CloseAbnormal where none
// did. While the peer stalls, only what came before is returned.
//
// The payload is shared with the other peers that got it: don't change it.
func (p *Peer) Receive(ctx context.Context) (hub.FrameType, []byte, error) {
	for {
		m, wake, err := p.next()
		if wake == nil {
			return m.t, m.payload, err
		}
		select {
		case <-wake:
		case <-ctx.Done():
			return 0, nil, ctx.Err()
		}
	}
}

// TryReceive is Receive without waiting: ok is false where nothing is there.
func (p *Peer) TryReceive() (t hub.FrameType, payload []byte, ok bool) {
	m, wake, err := p.next()
	return m.t, m.payload, wake == nil && err == nil
}

// next returns a message, the connection's end, or what to wait for.
func (p *Peer) next() (m item, wake <-chan struct{}, err error) {
	c := p.c
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case len(c.inbox) > 0:
		m = c.inbox[0]
		c.inbox[0] = item{}
		c.inbox = c.inbox[1:]
		return m, nil, nil
	case c.end != nil:
		return item{}, nil, c.end
	case c.over && len(c.out) == 0:
		return item{}, nil, &hub.CloseError{Code: wire.CloseAbnormal}
	}
	if c.wake == nil {
		c.wake = make(chan struct{})
	}
	return item{}, c.wake, nil
}

// Cut ends the connection as a broken network does: no close frame, and what
// neither side has read is lost.
func (p *Peer) Cut() {
	c := p.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.end == nil {
		c.end = &hub.CloseError{Code: wire.CloseAbnormal}
	}
	c.out, c.outBytes = nil, 0
	c.overLocked(errCut, false)
	c.wakeLocked()
}

// Stall makes the peer stop reading: the network takes Transport.Window more
// bytes, then Conn.Send returns hub.ErrWouldBlock. Pings and close frames are
// not answered either. It can still send.
func (p *Peer) Stall() {
	p.c.mu.Lock()
	defer p.c.mu.Unlock()
	p.c.stalled = true
}

// Unstall makes the peer read again, at once all that was held up.
func (p *Peer) Unstall() {
	c := p.c
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stalled = false
	out := c.out
	c.out, c.outBytes = nil, 0
	for _, m := range out {
		c.deliverLocked(m)
	}
	c.wakeLocked()
	c.drainedLocked()
}

// SetSilent makes the peer answer no pings, or answer them again. What it left
// unanswered stays so.
func (p *Peer) SetSilent(silent bool) {
	p.c.mu.Lock()
	defer p.c.mu.Unlock()
	p.c.silent = silent
}

// Stats returns the counters.
func (p *Peer) Stats() PeerStats {
	p.c.mu.Lock()
	defer p.c.mu.Unlock()
	return p.c.stats
}

// Unread is how many messages and control frames of the peer's the server has
// not taken yet, as while it is paused.
func (p *Peer) Unread() int {
	p.c.mu.Lock()
	defer p.c.mu.Unlock()
	return len(p.c.in)
}

// Subprotocol is what was negotiated, empty for none.
func (p *Peer) Subprotocol() string { return p.c.subprotocol }

// Done is closed when the connection is over and its receiver has been told.
func (p *Peer) Done() <-chan struct{} { return p.c.done }
