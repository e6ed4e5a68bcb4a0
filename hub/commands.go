package hub

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"strings"
	"time"

	"forge.lthn.ai/core/go-ws/hub/wire"
)

func stack() string { return string(debug.Stack()) }

// handle does what a client's frame asks for and answers it.
func (c *Client) handle(cmd command) {
	f := cmd.frame
	if cmd.refusal != nil {
		c.refuse(f, cmd.refusal)
		return
	}
	var err error
	switch f.Type {
	case wire.TypePing:
		c.reply(wire.Frame{Type: wire.TypePong, ID: f.ID})
	case wire.TypeSubscribe:
		err = c.handleSubscribe(f)
	case wire.TypeUnsubscribe:
		err = c.handleUnsubscribe(f)
	case wire.TypePong:
		// It has shown life by being there.
	default:
		err = c.handleMessage(f)
	}
	if err != nil {
		c.refuse(f, err)
	}
}

// refuse tells the client what was wrong with its frame.
func (c *Client) refuse(f wire.Frame, err error) {
	c.hub.cfg.Logger.Debug("frame refused", slog.String("client", c.id), slog.String("type", string(f.Type)), slog.Any("error", err))
	visible, ok := errors.AsType[*RequestError](err)
	if !ok {
		visible = &RequestError{wire.ErrorInternal, "internal error"}
	}
	data, marshalErr := json.Marshal(wire.ErrorData{Code: visible.Code, Message: visible.Message})
	if marshalErr != nil {
		// Two strings always marshal.
		panic("hub: " + marshalErr.Error())
	}
	c.reply(wire.Frame{Type: wire.TypeError, Channel: channelOf(f), ID: f.ID, Data: data})
}

// plainText is an error of package wire's for people who know no packages.
func plainText(err error) string { return strings.TrimPrefix(err.Error(), "wire: ") }

// channelOf is the channel that an error answers about, where the frame named
// one that can be given back.
func channelOf(f wire.Frame) string {
	if f.Type != wire.TypeSubscribe && f.Type != wire.TypeUnsubscribe {
		return ""
	}
	channel, err := channelName(f)
	if err != nil || len(channel) > wire.MaxChannel {
		return ""
	}
	return channel
}

// channelName reads the data of subscribe and unsubscribe.
func channelName(f wire.Frame) (string, error) {
	var channel *string
	if err := json.Unmarshal(f.Data, &channel); err != nil || channel == nil {
		return "", &RequestError{wire.ErrorInvalidFrame, "data must be a string, the name of a channel"}
	}
	return *channel, nil
}

// channelAsked is the channel that a client asks to join or leave.
func (h *Hub) channelAsked(f wire.Frame) (string, error) {
	channel, err := channelName(f)
	if err != nil {
		h.refused(RefusedFrame)
		return "", err
	}
	if err := wire.CheckChannel(channel, h.cfg.MaxChannelLength); err != nil {
		h.refused(RefusedChannelName)
		return "", &RequestError{wire.ErrorInvalidChannel, plainText(err)}
	}
	return channel, nil
}

func (c *Client) handleSubscribe(f wire.Frame) error {
	h := c.hub
	channel, err := h.channelAsked(f)
	if err != nil {
		return err
	}
	if ask := h.cfg.OnSubscribe; ask != nil && !c.on(channel) {
		refusal := errPanicked
		h.contain("OnSubscribe", func() { refusal = ask(c.ctx, c, channel) })
		if refusal != nil {
			h.refused(RefusedSubscription)
			if _, visible := errors.AsType[*RequestError](refusal); visible {
				return refusal
			}
			h.callbackFailed("OnSubscribe", refusal)
			if errors.Is(refusal, ErrUnavailable) {
				return fmt.Errorf("%w: %w", &RequestError{wire.ErrorUnavailable, "not possible at the moment"}, refusal)
			}
			return fmt.Errorf("%w: %w", &RequestError{wire.ErrorForbidden, "not allowed"}, refusal)
		}
	}
	err = h.join(c.ctx, c, channel, func(local bool) Frame {
		reply := wire.Frame{Type: wire.TypeSubscribed, Channel: channel, ID: f.ID}
		if local {
			reply.Data = json.RawMessage(`{"local":true}`)
		}
		return h.replyFrame(reply)
	})
	switch {
	case errors.Is(err, ErrTooManySubscriptions):
		h.refused(RefusedMaxSubscriptions)
		return &RequestError{wire.ErrorTooManySubscriptions, fmt.Sprintf("at most %d subscriptions", h.cfg.MaxSubscriptions)}
	case err != nil:
		return fmt.Errorf("%w: %w", &RequestError{wire.ErrorUnavailable, "not possible at the moment"}, err)
	}
	return nil
}

func (c *Client) handleUnsubscribe(f wire.Frame) error {
	h := c.hub
	channel, err := h.channelAsked(f)
	if err != nil {
		return err
	}
	left := h.leave(c, channel)
	c.reply(wire.Frame{Type: wire.TypeUnsubscribed, Channel: channel, ID: f.ID})
	if tell := h.cfg.OnUnsubscribe; tell != nil && left {
		h.contain("OnUnsubscribe", func() { tell(c.ctx, c, channel) })
	}
	return nil
}

// applicationType reports whether frames of a type are the application's.
func applicationType(t wire.Type) bool {
	switch t {
	case wire.TypeSubscribed, wire.TypeUnsubscribed, wire.TypeError, wire.TypeReply,
		wire.TypeProcessOutput, wire.TypeProcessStatus:
		return false
	}
	return !wire.Reserved(t)
}

func (c *Client) handleMessage(f wire.Frame) error {
	h := c.hub
	if h.cfg.OnMessage == nil || !applicationType(f.Type) {
		h.refused(RefusedFrameType)
		return &RequestError{wire.ErrorUnknownType, "unknown type"}
	}
	var answer *Message
	err := errPanicked
	h.contain("OnMessage", func() { answer, err = h.cfg.OnMessage(c.ctx, c, f) })
	if err != nil {
		if _, visible := errors.AsType[*RequestError](err); visible {
			return err
		}
		h.callbackFailed("OnMessage", err)
		if errors.Is(err, ErrUnavailable) {
			return fmt.Errorf("%w: %w", &RequestError{wire.ErrorUnavailable, "not possible at the moment"}, err)
		}
		return err
	}
	if answer == nil {
		if f.ID != "" {
			c.reply(wire.Frame{Type: wire.TypeReply, ID: f.ID})
		}
		return nil
	}
	m := *answer
	if m.Type == "" {
		m.Type = wire.TypeReply
	}
	e := getEncoder()
	defer e.put()
	reply, err := e.frame(&m, "", time.Now())
	if err != nil {
		return fmt.Errorf("answering: %w", err)
	}
	reply.ID = f.ID
	frame, err := h.prepare(e.wire(&reply))
	if err != nil {
		return fmt.Errorf("answering: %w", err)
	}
	h.sendTo(c, frame)
	return nil
}
