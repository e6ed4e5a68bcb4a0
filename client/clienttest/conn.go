package clienttest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"nhooyr.io/websocket"

	"forge.lthn.ai/core/go-ws/hub/wire"
)

// maxFrames is how many frames wait for Next. Of more the oldest are left out.
const maxFrames = 4096

// Conn is a client's connection, seen from the server. All methods may be called
// concurrently.
type Conn struct {
	server *Server
	ws     *websocket.Conn
	end    *end

	// Guarded by the server's lock.
	channels map[string]bool
	frames   []wire.Frame // that Next has not returned yet
	gone     bool
	code     wire.CloseCode
	reason   string
}

func newConn(s *Server, ws *websocket.Conn, e *end) *Conn {
	return &Conn{server: s, ws: ws, end: e, channels: make(map[string]bool)}
}

// run takes what the client sends, until the connection ends.
func (c *Conn) run() {
	ctx := context.Background()
	code, reason := wire.CloseAbnormal, ""
	for {
		_, data, err := c.ws.Read(ctx)
		if closed, ok := errors.AsType[websocket.CloseError](err); ok {
			code, reason = wire.CloseCode(closed.Code), closed.Reason
		}
		if err != nil {
			break
		}
		f, err := wire.ParseFrame(data)
		if err != nil {
			f = wire.Frame{Type: wire.TypeError, Data: data}
		}
		c.take(ctx, f)
	}
	// An error says that it is closed already.
	_ = c.ws.CloseNow()
	c.server.change(func() {
		c.gone, c.code, c.reason = true, code, reason
		delete(c.server.conns, c)
	})
}

// take records a frame and answers it.
func (c *Conn) take(ctx context.Context, f wire.Frame) {
	var answers []wire.Frame
	handled := false
	if c.server.cfg.Answer != nil {
		answers, handled = c.server.cfg.Answer(c, f)
	}
	if !handled {
		answers = c.likeAHub(f)
	}
	c.server.change(func() {
		if len(c.frames) >= maxFrames {
			c.frames = slices.Delete(c.frames, 0, 1)
		}
		c.frames = append(c.frames, f)
	})
	for _, a := range answers {
		if a.Type == wire.TypeUnsubscribed {
			c.server.change(func() { delete(c.channels, a.Channel) })
		}
		// What can't be sent ends the connection, which run notices.
		_ = c.Send(ctx, a)
		if a.Type == wire.TypeSubscribed { // comes before the channel's first message
			c.server.change(func() { c.channels[a.Channel] = true })
		}
	}
}

func (c *Conn) likeAHub(f wire.Frame) []wire.Frame {
	a := wire.Frame{ID: f.ID}
	switch f.Type {
	case wire.TypeSubscribe, wire.TypeUnsubscribe:
		if json.Unmarshal(f.Data, &a.Channel) != nil || a.Channel == "" {
			a.Type = wire.TypeError
			a.Data = json.RawMessage(`{"code":"invalid_channel","message":"no channel"}`)
			break
		}
		a.Type = wire.TypeSubscribed
		if f.Type == wire.TypeUnsubscribe {
			a.Type = wire.TypeUnsubscribed
		}
	case wire.TypePing:
		a.Type = wire.TypePong
	default:
		if f.ID == "" {
			return nil
		}
		a.Type = wire.TypeReply
	}
	return []wire.Frame{a}
}

// Next returns what the client has sent, one frame after another. It waits for
// the next one. What was no frame is one of the type error, with the bytes as its
// data.
func (c *Conn) Next(ctx context.Context) (wire.Frame, error) {
	var f wire.Frame
	err := c.server.await(ctx, "a frame", func() bool {
		if len(c.frames) == 0 {
			return false
		}
		f, c.frames = c.frames[0], c.frames[1:]
		return true
	})
	return f, err
}

// Frames returns what the client has sent and Next has not returned yet.
func (c *Conn) Frames() []wire.Frame {
	c.server.mu.Lock()
	defer c.server.mu.Unlock()
	return slices.Clone(c.frames)
}

// Channels that the client is on, sorted.
func (c *Conn) Channels() []string {
	c.server.mu.Lock()
	defer c.server.mu.Unlock()
	return slices.Sorted(maps.Keys(c.channels))
}

// Send sends a frame to this client. Where it has no timestamp it gets one.
func (c *Conn) Send(ctx context.Context, f wire.Frame) error {
	if f.Timestamp.IsZero() {
		f.Timestamp = time.Now()
	}
	return c.SendText(ctx, string(wire.AppendFrame(nil, &f)))
}

// SendText sends any text as a message.
func (c *Conn) SendText(ctx context.Context, text string) error {
	if err := c.ws.Write(ctx, websocket.MessageText, []byte(text)); err != nil {
		return fmt.Errorf("clienttest: sending: %w", err)
	}
	return nil
}

// Close closes the connection with a code and a reason, and waits a little for
// the client's answer.
func (c *Conn) Close(code wire.CloseCode, reason string) error {
	if err := c.ws.Close(websocket.StatusCode(code), reason); err != nil {
		return fmt.Errorf("clienttest: closing: %w", err)
	}
	return nil
}

// Cut ends the connection without a word.
func (c *Conn) Cut() { c.end.cut() }

// Freeze lets nothing through any more, in neither direction, and tells nobody.
func (c *Conn) Freeze() { c.end.freeze(true) }

// Thaw ends Freeze; what was held back goes through.
func (c *Conn) Thaw() { c.end.freeze(false) }

// Gone waits until the connection has ended, and returns the code and reason that
// the client closed it with, or gave the server's back with; wire.CloseAbnormal
// where it closed without one.
func (c *Conn) Gone(ctx context.Context) (wire.CloseCode, string, error) {
	var code wire.CloseCode
	var reason string
	err := c.server.await(ctx, "the end of a connection", func() bool {
		code, reason = c.code, c.reason
		return c.gone
	})
	return code, reason, err
}
