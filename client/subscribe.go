package client

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"forge.lthn.ai/core/go-ws/hub/wire"
)

// Handler is called with what happens on a channel, one delivery after another,
// in order, never two at a time, and beside the handlers of other channels. It
// may take its time: what comes meanwhile waits (ReconnectConfig.HandlerBacklog).
// It may call any method of the client but Run and Wait. ctx ends when the client
// does. A panic in it is not caught.
type Handler func(ctx context.Context, d Delivery)

// Delivery is what a handler gets: a frame of the hub's about its channel, or
// an error. Look at Err first.
type Delivery struct {
	// Frame is the hub's: a message that was published, or one of the type
	// subscribed. That one says that all that is published from now on arrives;
	// it comes again after each connection that was lost, when messages may have
	// been missed, so it is the moment to load the present state.
	wire.Frame
	// Local is set beside the type subscribed where the hub can't reach the other
	// hubs at the moment: until it can, only what is published at it arrives.
	Local bool
	// Err is a RequestError where the hub has refused the subscription, or a
	// DroppedError where messages before the next one were left out. Frame then
	// has the channel, and no message. A refused subscription is asked for again
	// with the next connection, and sooner where the error will pass
	// (unavailable, internal, rate_limited).
	Err error
}

// subscription is a channel and its handler, for as long as it is wanted.
type subscription struct {
	channel string
	box     *mailbox
}

// channelState is what a client wants of a channel, and what it has told the
// hub on the present connection. It is guarded by the client's lock.
type channelState struct {
	want *subscription // nil: to be left
	told *subscription // the one that the hub was last asked for; nil: none
	// asked are the ids of the subscribes for told, the first and the last.
	asked [2]uint64
	open  bool   // the last of them has no answer yet
	left  uint64 // id of an unsubscribe without an answer; zero: none
	dirty bool   // it is in the client's list of those

	retries int // that were refused for the moment, since it was accepted
	retry   *time.Timer
}

func (s *channelState) stopRetry() {
	if s.retry != nil {
		s.retry.Stop()
		s.retry = nil
	}
}

// Subscribe puts the client on a channel, now and after each reconnect, until
// Unsubscribe. It waits for nothing: the handler is told when the subscription is
// live, or refused. It fails where the channel has a handler (ErrSubscribed), the
// name can't be one, or the client has ended.
func (c *ReconnectingClient) Subscribe(channel string, handle Handler) error {
	switch {
	case handle == nil:
		return errors.New("client: Subscribe without a handler")
	case channel == "" || !utf8.ValidString(channel) || strings.HasPrefix(channel, "$"):
		return errors.New("client: no name for a channel: it is empty, not UTF-8, or begins with $")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed != nil {
		return c.closed
	}
	state := c.channels[channel]
	if state == nil {
		state = &channelState{}
		c.channels[channel] = state
	} else if state.want != nil {
		return ErrSubscribed
	}
	state.want = &subscription{
		channel: channel,
		box:     &mailbox{owner: c, handle: handle, channel: channel},
	}
	c.touchLocked(channel, state)
	return nil
}

// Unsubscribe takes the client off a channel. The handler is not called any more,
// unless it is being called at this moment. A channel that the client is not on
// is no error.
func (c *ReconnectingClient) Unsubscribe(channel string) {
	c.mu.Lock()
	state := c.channels[channel]
	if state == nil || state.want == nil {
		c.mu.Unlock()
		return
	}
	box := state.want.box
	state.want = nil
	state.retries = 0
	state.stopRetry()
	if !c.forgetLocked(channel, state) {
		c.touchLocked(channel, state)
	}
	c.mu.Unlock()
	box.close()
}

// touchLocked has the writer tell the hub of a channel.
func (c *ReconnectingClient) touchLocked(channel string, state *channelState) {
	if c.session == nil || state.dirty {
		return
	}
	state.dirty = true
	c.dirty = append(c.dirty, channel)
	c.poke()
}

// forgetLocked drops the state of a channel of which nothing is wanted and of
// which the hub knows nothing.
func (c *ReconnectingClient) forgetLocked(channel string, state *channelState) bool {
	if state.want != nil || state.told != nil || state.left != 0 {
		return false
	}
	if state.dirty {
		c.dirty = slices.DeleteFunc(c.dirty, func(s string) bool { return s == channel })
	}
	delete(c.channels, channel)
	return true
}

// tellLocked makes the frames that tell the hub of what has changed.
func (c *ReconnectingClient) tellLocked() [][]byte {
	var frames [][]byte
	for _, channel := range c.dirty {
		state := c.channels[channel]
		state.dirty = false
		if state.told != nil && state.told != state.want {
			c.lastID++
			state.left = c.lastID
			state.told, state.open = nil, false
			frames = append(frames, channelFrame(wire.TypeUnsubscribe, channel, c.lastID))
		}
		if state.want != nil && !state.open {
			c.lastID++
			if state.told == nil {
				state.asked[0] = c.lastID
			}
			state.told, state.open, state.asked[1] = state.want, true, c.lastID
			frames = append(frames, channelFrame(wire.TypeSubscribe, channel, c.lastID))
		}
	}
	c.dirty = c.dirty[:0]
	return frames
}

// resumeLocked has the writer subscribe to everything, on a new connection.
func (c *ReconnectingClient) resumeLocked() {
	for channel, state := range c.channels {
		c.touchLocked(channel, state)
	}
	slices.Sort(c.dirty)
}

// suspendLocked forgets what the hub was told, since the connection is gone.
func (c *ReconnectingClient) suspendLocked() {
	for channel, state := range c.channels {
		state.told, state.open, state.left, state.dirty = nil, false, 0, false
		state.stopRetry()
		if state.want == nil {
			delete(c.channels, channel)
		}
	}
	c.dirty = nil
}

// subscribedLocked takes the answer to a subscribe, and returns what the handler
// is told, if it is anybody's.
func (c *ReconnectingClient) subscribedLocked(f wire.Frame) (*mailbox, letter) {
	state := c.channels[f.Channel]
	if state == nil || state.told == nil || state.told != state.want {
		return nil, letter{}
	}
	// Without an id the hub says of itself how things stand.
	if f.ID != "" {
		id := parseID(f.ID)
		if id < state.asked[0] || id > state.asked[1] {
			return nil, letter{}
		}
		if id == state.asked[1] {
			state.open = false
		}
		state.left = 0 // answers come in order: whatever became of that one
		state.retries = 0
		state.stopRetry()
	}
	var data wire.SubscribedData
	if len(f.Data) > 0 {
		// Data in another form says nothing that this version knows.
		_ = json.Unmarshal(f.Data, &data)
	}
	return state.told.box, letter{Delivery: Delivery{Frame: f, Local: data.Local}}
}

// refusedLocked takes an error that answers a subscribe or an unsubscribe, and
// returns what the handler is told. It reports false where it answers neither.
func (c *ReconnectingClient) refusedLocked(f wire.Frame) (*mailbox, letter, bool) {
	id := parseID(f.ID)
	if id == 0 {
		return nil, letter{}, false
	}
	for channel, state := range c.channels {
		switch {
		case id == state.left:
			state.left = 0
			c.forgetLocked(channel, state)
			return nil, letter{}, true
		case state.told != nil && state.open && id == state.asked[1]:
			state.open = false
			refusal := requestError(f)
			if state.told != state.want {
				return nil, letter{}, true // being left anyway
			}
			if refusal.temporary() {
				c.retryLocked(channel, state)
			}
			f.Channel = channel
			return state.told.box, letter{Delivery: Delivery{Frame: f, Err: refusal}}, true
		}
	}
	return nil, letter{}, false
}

// retryLocked asks for a channel again in a while, on the same connection.
func (c *ReconnectingClient) retryLocked(channel string, state *channelState) {
	state.retries++
	delays := newBackoff(&c.cfg, c.draw)
	delays.retries = state.retries - 1
	state.stopRetry()
	// It runs on a goroutine of the timer's for a moment, and finds out that it
	// is late.
	var timer *time.Timer
	timer = time.AfterFunc(delays.next(verdict{}), func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if state.retry == timer {
			state.retry = nil
			c.touchLocked(channel, state)
		}
	})
	state.retry = timer
}

// limitedLocked is told that the hub has refused a frame unseen, and did not say
// which: every subscribe and unsubscribe without an answer may be the one.
func (c *ReconnectingClient) limitedLocked() {
	for channel, state := range c.channels {
		switch {
		case state.retry != nil:
		case state.want != nil && state.told == state.want && state.open:
			state.open = false
			c.retryLocked(channel, state)
		case state.want == nil && state.left != 0:
			// As if it had not been left: then it will be.
			state.left, state.told = 0, &subscription{channel: channel}
			c.retryLocked(channel, state)
		}
	}
}

// leftLocked takes the answer to an unsubscribe.
func (c *ReconnectingClient) leftLocked(f wire.Frame) {
	if state := c.channels[f.Channel]; state != nil && state.left != 0 && parseID(f.ID) == state.left {
		state.left = 0
		c.forgetLocked(f.Channel, state)
	}
}
