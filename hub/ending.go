package hub

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"time"
	"unicode/utf8"

	"forge.lthn.ai/core/go-ws/hub/wire"
)

// ending says how a client ends. The first one counts.
type ending struct {
	reason DisconnectReason
	// code is what the client is told; zero cuts the connection.
	code wire.CloseCode
	text string
	// flush: what waits is written first.
	flush bool
	// cause is for the log.
	cause error
}

// end begins a client's end. It does not wait: a goroutine of the client's own
// sees it through. It may be called under any lock.
func (c *Client) end(e ending) {
	c.endMu.Lock()
	defer c.endMu.Unlock()
	if c.ended {
		return
	}
	c.ended, c.ending = true, e
	c.cancel()
	go c.finish(e)
}

// endSlow ends a client that does not read what it is sent.
func (c *Client) endSlow(why string) {
	c.end(ending{reason: DisconnectedSlow, code: wire.CloseSlowClient, text: why})
}

// endClosed ends a client whose connection is over.
func (c *Client) endClosed(err error) {
	e := ending{reason: DisconnectedByClient, cause: err}
	if closed, ok := errors.AsType[*CloseError](err); ok && !closed.Remote {
		e.reason = DisconnectedRefused
		switch closed.Code {
		case wire.CloseTooBig:
			c.hub.refused(RefusedTooBig)
		case wire.CloseInvalidData:
			c.hub.refused(RefusedInvalidData)
		case wire.ClosePolicy:
			// The transport's own limits.
			c.hub.refused(RefusedRate)
		default:
			c.hub.refused(RefusedProtocol)
		}
	}
	c.end(e)
}

// finish takes the client out of everything, closes its connection and tells
// the application. When it returns nothing of the client is left.
func (c *Client) finish(e ending) {
	h := c.hub
	defer h.clients.Done()
	<-c.ready
	// Frames that wait are dropped; one that is being handled ends in its time.
	c.in.stop()
	h.heartbeat.remove(c)
	h.leaveAll(c)
	h.roster.remove(c)
	if e.flush {
		c.flush()
	}
	c.out.abandon(&h.count)
	c.closeConn(e)
	<-c.in.idle
	h.seats.give(c.seat)
	if !c.admitted {
		return
	}
	h.countDisconnect(e.reason)
	h.cfg.Logger.Debug("client disconnected", slog.String("client", c.id), slog.String("reason", string(e.reason)),
		slog.Any("error", e.cause))
	if observe := h.cfg.Observer.Disconnected; observe != nil {
		observe(c, e.reason)
	}
	if f := h.cfg.OnDisconnect; f != nil {
		h.contain("OnDisconnect", func() { f(c, e.reason) })
	}
}

// flush waits until all that was queued is written, at most for WriteTimeout.
func (c *Client) flush() {
	c.out.seal()
	timeout := time.NewTimer(c.hub.cfg.WriteTimeout)
	defer timeout.Stop()
	select {
	case <-c.out.drained:
	case <-timeout.C:
	case <-c.hub.forced.Done():
		c.hub.cut.Store(true)
	}
}

// closeConn closes the connection; where the hub's time is up, without waiting
// for the client's answer.
func (c *Client) closeConn(e ending) {
	cut := make(chan struct{})
	stop := context.AfterFunc(c.hub.forced, func() {
		defer close(cut)
		if c.present != nil { // one that came too late never was a client
			c.hub.cut.Store(true)
		}
		_ = c.conn.Close(0, "")
	})
	// How a connection that is being given up came to its end changes nothing.
	_ = c.conn.Close(e.code, cutReason(e.text))
	if !stop() {
		<-cut
	}
}

// cutReason shortens a close reason to what a close frame holds.
func cutReason(text string) string {
	text = strings.ToValidUTF8(text, "\uFFFD")
	if len(text) <= wire.MaxCloseReason {
		return text
	}
	text = text[:wire.MaxCloseReason]
	for !utf8.ValidString(text) {
		text = text[:len(text)-1]
	}
	return text
}

// callbackFailed counts an error that a callback returned and the client does
// not see, and logs it: one a second at most, since a stranger may be able to
// cause it.
func (h *Hub) callbackFailed(name string, err error) {
	if errors.Is(err, errPanicked) {
		return // contain has said so
	}
	h.count.callbackErrors.Add(1)
	now := time.Now().UnixNano()
	last := h.loggedFailure.Load()
	if last != 0 && now-last < int64(time.Second) || !h.loggedFailure.CompareAndSwap(last, now) {
		h.cfg.Logger.Debug("callback failed", slog.String("callback", name), slog.Any("error", err))
		return
	}
	h.cfg.Logger.Warn("callback failed", slog.String("callback", name), slog.Any("error", err),
		slog.Uint64("failures", h.count.callbackErrors.Load()))
}

// errPanicked stands for the answer of a callback that gave none.
var errPanicked = errors.New("hub: the callback panicked")

// contain calls a callback. A panic in it is logged and counted, and false is
// returned.
func (h *Hub) contain(name string, f func()) (ok bool) {
	defer func() {
		if v := recover(); v != nil {
			h.count.panics.Add(1)
			h.cfg.Logger.Error("callback panicked", slog.String("callback", name), slog.Any("panic", v), slog.String("stack", stack()))
		}
	}()
	f()
	return true
}
