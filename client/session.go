package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"nhooyr.io/websocket"

	"forge.lthn.ai/core/go-ws/hub/wire"
)

const (
	// closeTimeout bounds a closing handshake.
	closeTimeout = 2 * time.Second
	// lastWords is how long the reader has to find a close frame, once the
	// connection takes nothing more.
	lastWords = time.Second
	// maxBatch is about how many bytes of messages are written at once.
	maxBatch = maxCorked
)

// session is one connection. Its context ends with it, with the reason.
type session struct {
	conn *websocket.Conn
	body *body
	ctx  context.Context
	fail context.CancelCauseFunc // the first reason stays

	reader, writer sync.WaitGroup
}

func newSession(conn *websocket.Conn, b *body) *session {
	s := &session{conn: conn, body: b}
	s.ctx, s.fail = context.WithCancelCause(context.Background())
	return s
}

// connected makes a connection the present one.
func (c *ReconnectingClient) connected(s *session, before, attempts int) {
	c.setState(StateConnected, s)
	c.poke()
	c.log.Info("connected", "url", safeURL(c.cfg.URL), "attempt", attempts)
	if f := c.cfg.OnConnect; f != nil {
		c.events.push(f)
	}
	if before == 0 {
		close(c.first)
	} else if f := c.cfg.OnReconnect; f != nil {
		c.events.push(func() { f(attempts) })
	}
}

// disconnected takes leave of the connection, whose goroutines have ended.
func (c *ReconnectingClient) disconnected(why error) {
	c.setState(StateDisconnected, nil)
	c.mu.Lock()
	c.suspendLocked()
	var unsent []*entry
	if !c.cfg.QueueWhileAway {
		unsent = c.queue.takeAll()
	}
	unanswered := c.requests
	c.requests = make(map[uint64]*entry)
	c.mu.Unlock()
	for _, e := range unsent {
		e.sent <- ErrNotConnected
	}
	for _, e := range unanswered {
		e.reply <- answer{err: fmt.Errorf("%w: %w", ErrConnectionLost, why)}
	}
	c.log.Info("disconnected", "url", safeURL(c.cfg.URL), "error", why)
	if f := c.cfg.OnDisconnect; f != nil {
		c.events.push(func() { f(why) })
	}
}

// serve works a connection until it ends, and returns why it did.
func (c *ReconnectingClient) serve(s *session) error {
	s.reader.Go(func() {
		why := c.read(s)
		if c.life.Err() != nil {
			why = c.asked() // it was the client that closed
		}
		s.fail(why)
	})
	s.writer.Go(func() {
		if err := c.write(s); err != nil {
			s.fail(err)
		}
	})
	c.watchOver(s)
	if c.life.Err() != nil && s.ctx.Err() == nil {
		s.close(c.asked())
	}
	// An error says that it is closed already.
	_ = s.conn.CloseNow()
	s.writer.Wait()
	s.reader.Wait()
	return context.Cause(s.ctx)
}

// close says goodbye, and gives the server a moment to answer.
func (s *session) close(why error) {
	defer s.fail(why)
	hurry := time.AfterFunc(closeTimeout, func() { _ = s.body.Close() })
	defer hurry.Stop()
	s.writer.Wait() // nothing may follow the close frame
	_ = s.conn.Close(websocket.StatusNormalClosure, "")
}

// watchOver returns when the connection has ended or the client is to end. It
// pings when the server is silent.
func (c *ReconnectingClient) watchOver(s *session) {
	if c.cfg.PingInterval < 0 {
		select {
		case <-s.ctx.Done():
		case <-c.life.Done():
		}
		return
	}
	watch := c.newWatch()
	for {
		left := c.cfg.PingInterval - time.Since(s.body.lastRead())
		if left <= 0 || watch.jumped() {
			if !c.ping(s) {
				s.fail(ErrPongTimeout)
				return
			}
			left = c.cfg.PingInterval
		}
		timer := time.NewTimer(min(left, tick))
		select {
		case <-timer.C:
		case <-s.ctx.Done():
			timer.Stop()
			return
		case <-c.life.Done():
			timer.Stop()
			return
		}
	}
}

// ping reports whether the server lives, or the client is to end.
func (c *ReconnectingClient) ping(s *session) bool {
	began := time.Now()
	ctx, cancel := context.WithTimeout(s.ctx, c.cfg.PongTimeout)
	defer cancel()
	stop := context.AfterFunc(c.life, cancel)
	defer stop()
	// Any bytes are life: the pong may stand behind much else.
	return s.conn.Ping(ctx) == nil || s.body.lastRead().After(began) || s.ctx.Err() != nil || c.life.Err() != nil
}

// read hands on what comes, and returns why nothing comes any more.
func (c *ReconnectingClient) read(s *session) error {
	var buf bytes.Buffer
	for {
		kind, r, err := s.conn.Reader(s.ctx)
		if err != nil {
			return ended(err)
		}
		buf.Reset()
		if _, err := buf.ReadFrom(io.LimitReader(r, int64(c.cfg.ReadLimit)+1)); err != nil {
			return ended(err)
		}
		switch {
		case buf.Len() > c.cfg.ReadLimit:
			return s.leave(websocket.StatusMessageTooBig, fmt.Errorf("client: the server sent a message of more than %d bytes", c.cfg.ReadLimit))
		case kind != websocket.MessageText:
			c.report(fmt.Errorf("%w: it is binary", errFrame))
			continue
		case !utf8.Valid(buf.Bytes()):
			return s.leave(websocket.StatusInvalidFramePayloadData, errors.New("client: the server sent text that is not UTF-8"))
		}
		f, err := parseFrame(buf.Bytes())
		if err != nil {
			c.report(err)
			continue
		}
		if !c.receive(s, f, buf.Len()) {
			return ErrSlowHandler
		}
		if buf.Cap() > maxBatch {
			buf = bytes.Buffer{} // a long message is no reason to stay big
		}
	}
}

// leave ends the connection for the server's fault, and tells it.
func (s *session) leave(code websocket.StatusCode, why error) error {
	hurry := time.AfterFunc(lastWords, func() { _ = s.body.Close() })
	defer hurry.Stop()
	_ = s.conn.Close(code, "")
	return why
}

// ended is what the library says of the end of a connection.
func ended(err error) error {
	closed, ok := errors.AsType[websocket.CloseError](err)
	if !ok {
		return &CloseError{Code: wire.CloseAbnormal, err: cause(err)}
	}
	return &CloseError{Code: wire.CloseCode(closed.Code), Reason: closed.Reason}
}

// cause leaves out where in the library an error came up, which tells a reader
// nothing.
func cause(err error) error {
	for strings.HasPrefix(err.Error(), "failed to ") {
		inner := errors.Unwrap(err)
		if inner == nil {
			break
		}
		err = inner
	}
	return err
}

// receive hands on a frame. It reports false where the connection is to be given
// up.
func (c *ReconnectingClient) receive(s *session, f wire.Frame, size int) bool {
	c.mu.Lock()
	box, l, failed := c.routeLocked(f)
	c.mu.Unlock()
	if failed != nil {
		c.report(failed)
	}
	if box == nil {
		return true
	}
	if l.size < 0 {
		l.size = size
	}
	return box.push(l)
}

// routeLocked finds out whose a frame is. A message's size is -1 here. The error
// is for OnError.
func (c *ReconnectingClient) routeLocked(f wire.Frame) (*mailbox, letter, error) {
	if wire.Reserved(f.Type) {
		return nil, letter{}, nil // of a later version, and not for applications
	}
	switch f.Type {
	case wire.TypeSubscribed:
		box, l := c.subscribedLocked(f)
		return box, l, nil
	case wire.TypeUnsubscribed:
		c.leftLocked(f)
		return nil, letter{}, nil
	case wire.TypeReply, wire.TypePong:
		c.answeredLocked(f)
		return nil, letter{}, nil
	case wire.TypeError:
		if c.answeredLocked(f) {
			return nil, letter{}, nil
		}
		if box, l, ok := c.refusedLocked(f); ok {
			return box, l, nil
		}
		if f.Channel == "" || f.ID != "" || c.channels[f.Channel] == nil {
			failed := requestError(f)
			if failed.Code == wire.ErrorRateLimited && f.ID == "" {
				c.limitedLocked()
			}
			return nil, letter{}, failed
		}
	}
	// An application may answer with a type of its own. Messages of channels have
	// ids of their own.
	if f.Channel == "" && c.answeredLocked(f) {
		return nil, letter{}, nil
	}
	message := letter{Delivery: Delivery{Frame: f}, size: -1}
	state := c.channels[f.Channel]
	switch {
	case f.Channel == "" || state == nil:
		return c.inbox, message, nil
	case state.want == nil || state.left != 0 || state.told != nil && state.told != state.want:
		return nil, letter{}, nil // of a subscription that is over
	}
	return state.want.box, message, nil
}

// write sends what there is to send, in as few writes as it takes. It returns an
// error where the connection takes nothing more.
func (c *ReconnectingClient) write(s *session) error {
	defer s.body.more.Store(false)
	for {
		select {
		case <-c.wake:
		case <-s.ctx.Done():
			return nil
		case <-c.life.Done():
			return nil
		}
		for c.life.Err() == nil {
			frames, taken := c.batch()
			if len(frames) == 0 {
				break
			}
			if err := c.writeBatch(s, frames, taken); err != nil {
				return err
			}
		}
	}
}

// batch takes what is to be written next.
func (c *ReconnectingClient) batch() (frames [][]byte, taken []*entry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	frames = c.tellLocked()
	taken = c.queue.take(maxBatch)
	for _, e := range taken {
		frames = append(frames, e.frame)
		if e.id != 0 {
			c.requests[e.id] = e
		}
	}
	return frames, taken
}

// writeBatch writes frames together, and tells the senders of those that are
// messages. After a failure it waits a little: why the server has ended the
// connection may be still to be read.
func (c *ReconnectingClient) writeBatch(s *session, frames [][]byte, taken []*entry) error {
	// When the context of a failed write ends the library closes the connection:
	// so not before the reader had its time.
	ctx, cancel := context.WithTimeout(s.ctx, c.cfg.WriteTimeout)
	defer cancel()
	err := s.writeAll(ctx, frames)
	for _, e := range taken {
		if err != nil {
			c.lost(e, cause(err))
		} else {
			e.sent <- nil
		}
	}
	if err == nil {
		return nil
	}
	hurry := time.NewTimer(lastWords)
	defer hurry.Stop()
	select {
	case <-hurry.C:
	case <-s.ctx.Done():
	case <-c.life.Done():
	}
	return &CloseError{Code: wire.CloseAbnormal, err: cause(err)}
}

// lost tells of a message that was being written.
func (c *ReconnectingClient) lost(e *entry, err error) {
	c.mu.Lock()
	delete(c.requests, e.id)
	c.mu.Unlock()
	e.sent <- fmt.Errorf("%w: %w", ErrConnectionLost, err)
}

func (s *session) writeAll(ctx context.Context, frames [][]byte) error {
	for i, frame := range frames {
		s.body.more.Store(i < len(frames)-1)
		if err := s.conn.Write(ctx, websocket.MessageText, frame); err != nil {
			return err
		}
	}
	return nil
}
