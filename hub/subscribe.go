package hub

import (
	"context"
	"errors"
	"fmt"

	"forge.lthn.ai/core/go-ws/hub/wire"
)

// Subscribe puts a client on a channel. It returns when the subscription is
// live at the backplane, or at this hub alone while the backplane is away, at
// the latest when ctx ends. Joining a channel again is no error. OnSubscribe is
// not asked, and the client is told nothing.
//
// The error wraps ErrInvalidChannel, ErrTooManySubscriptions, ErrNoClient when
// the client is already going, or ctx's error.
func (h *Hub) Subscribe(ctx context.Context, c *Client, channel string) error {
	if err := wire.CheckChannel(channel, h.cfg.MaxChannelLength); err != nil {
		return fmt.Errorf("hub: subscribing: %w", err)
	}
	if err := h.join(ctx, c, channel, nil); err != nil {
		return fmt.Errorf("hub: subscribing to %q: %w", channel, err)
	}
	return nil
}

// Unsubscribe takes a client off a channel. Leaving a channel that it is not on
// is no error. OnUnsubscribe is not called, and the client is told nothing.
func (h *Hub) Unsubscribe(c *Client, channel string) {
	h.leave(c, channel)
}

// join puts a client on a channel. greet, if not nil, makes the frame that the
// client gets just before the channel's first message.
func (h *Hub) join(ctx context.Context, c *Client, channel string, greet func(local bool) Frame) error {
	c.subMu.Lock()
	_, already := c.subs[channel]
	full := len(c.subs) >= h.cfg.MaxSubscriptions
	gone := c.gone
	c.subMu.Unlock()
	switch {
	case gone:
		return ErrNoClient
	case full && !already:
		return ErrTooManySubscriptions
	}
	var held *topic
	local := false
	if h.interest != nil {
		held = h.interest.hold(Topic(wire.ChannelTopic(channel)))
		waitCtx, cancel := context.WithTimeout(ctx, h.cfg.BackplaneTimeout)
		defer cancel()
		live, err := h.interest.await(waitCtx, held)
		if err != nil && !(errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil) {
			h.interest.release(held)
			return err
		}
		local = !live
	}
	err := h.attach(c, channel, held, func() *Frame {
		if greet == nil {
			return nil
		}
		frame := greet(local)
		return &frame
	})
	if err != nil && held != nil {
		h.interest.release(held)
	}
	if errors.Is(err, errAlreadyOn) {
		return nil
	}
	return err
}

// errAlreadyOn says that a client is on a channel already.
var errAlreadyOn = errors.New("hub: already on the channel")

// attach makes a client one of the channel's subscribers.
func (h *Hub) attach(c *Client, channel string, held *topic, greeting func() *Frame) error {
	frame := greeting()
	var f fanOut
	greet := func() {
		if frame != nil {
			f.add(h, c, *frame, "", source{})
			f.schedule(h)
		}
	}
	defer f.finish(h)
	c.subMu.Lock()
	defer c.subMu.Unlock()
	if c.gone {
		return ErrNoClient
	}
	if _, ok := c.subs[channel]; ok {
		greet()
		return errAlreadyOn
	}
	if len(c.subs) >= h.cfg.MaxSubscriptions {
		return ErrTooManySubscriptions
	}
	sub := h.channels.add(channel, c, greet)
	sub.topic = held
	c.subs[channel] = sub
	return nil
}

// leave takes a client off a channel and reports whether it was on it.
func (h *Hub) leave(c *Client, channel string) bool {
	c.subMu.Lock()
	sub, ok := c.subs[channel]
	if ok = ok && !c.gone; ok {
		delete(c.subs, channel)
		h.channels.remove(sub)
	}
	c.subMu.Unlock()
	if ok && sub.topic != nil {
		h.interest.release(sub.topic)
	}
	return ok
}

// leaveAll takes a client off everything, for good. Its subscriptions keep their
// names, for OnDisconnect.
func (h *Hub) leaveAll(c *Client) {
	c.subMu.Lock()
	c.gone = true
	left := make([]*subscription, 0, len(c.subs)+1)
	for _, sub := range c.subs {
		h.channels.remove(sub)
		left = append(left, sub)
	}
	if c.userSub != nil {
		h.users.remove(c.userSub)
		left = append(left, c.userSub)
	}
	c.subMu.Unlock()
	for _, sub := range left {
		if sub.topic != nil {
			h.interest.release(sub.topic)
		}
	}
}

// joinUser puts a client among its user's. The backplane is told in the
// background.
func (h *Hub) joinUser(c *Client) {
	if c.userID == "" {
		return
	}
	c.subMu.Lock()
	defer c.subMu.Unlock()
	c.userSub = h.users.add(c.userID, c, nil)
	if h.interest != nil {
		c.userSub.topic = h.interest.hold(Topic(wire.UserTopic(c.userID)))
	}
}

// on reports whether the client is on a channel.
func (c *Client) on(channel string) bool {
	c.subMu.Lock()
	defer c.subMu.Unlock()
	_, ok := c.subs[channel]
	return ok
}
