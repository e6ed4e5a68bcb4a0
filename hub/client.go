package hub

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"forge.lthn.ai/core/go-ws/hub/wire"
)

// Client is one connection to a hub. Its methods may be called concurrently, at
// any time, from callbacks too.
type Client struct {
	// Set before anybody else sees the client.
	hub         *Hub
	id          string
	userID      string
	claims      map[string]any
	address     netip.Addr
	conn        Conn
	ctx         context.Context
	cancel      context.CancelFunc
	expiresAt   time.Time
	connectedAt time.Time
	seat        seat

	out  outbox
	in   inbox
	rate rateLimit // the connection's reader's

	present *subscription // to broadcasts
	wheel   wheelPlace    // guarded by heartbeat.mu, nextPing the clock's

	// subMu guards what the client is on. gone: it joins nothing any more.
	subMu   sync.Mutex
	subs    map[string]*subscription
	userSub *subscription
	gone    bool

	// endMu guards how the client ends.
	endMu  sync.Mutex
	ended  bool
	ending ending
	// ready is closed when OnConnect has returned and the connection reads.
	ready chan struct{}
	// admitted says what OnConnect answered. Set before ready is closed.
	admitted bool
}

// ID is the client's id: the hub's, a dot, and 128 random bits. No two clients
// of any hubs share one.
func (c *Client) ID() string { return c.id }

// UserID is who the Authenticator said the client is, empty for nobody.
func (c *Client) UserID() string { return c.userID }

// Claims are what the Authenticator gave with the client. The map is the
// Authenticator's own: change it only if nobody else reads it.
func (c *Client) Claims() map[string]any { return c.claims }

// Context carries the values of the upgrade request's context and ends when
// the client does.
func (c *Client) Context() context.Context { return c.ctx }

// RemoteAddr is the client's address: the request's, or behind a trusted proxy
// what the proxy says. It is the zero Addr where that is no IP address.
func (c *Client) RemoteAddr() netip.Addr { return c.address }

// ConnectedAt is when the client was admitted.
func (c *Client) ConnectedAt() time.Time { return c.connectedAt }

// Subscriptions are the names of the channels that the client is on, sorted. In
// OnDisconnect they are those that it was on at the end.
func (c *Client) Subscriptions() []string {
	c.subMu.Lock()
	defer c.subMu.Unlock()
	names := make([]string, 0, len(c.subs))
	for name := range c.subs {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// Close ends the client: what waits for it is still written, then it gets the
// close code and the reason, which is cut to wire.MaxCloseReason bytes. Codes
// of 4000 to 4499 ask it to come back, 4500 to 4999 not to. Close returns at
// once; OnDisconnect tells when the client is gone. Only the first call counts.
func (c *Client) Close(code wire.CloseCode, reason string) {
	c.end(ending{reason: DisconnectedByServer, code: code, text: reason, flush: true})
}

// Send queues a message for this client alone. The error wraps ErrNoClient
// where the client is already going, or goes because its outbox was full,
// ErrInvalidMessage or ErrTooLarge.
func (c *Client) Send(m Message) error {
	e := getEncoder()
	defer e.put()
	payload, err := e.message(&m, "", time.Now())
	if err != nil {
		return fmt.Errorf("hub: sending to client: %w", err)
	}
	frame, err := c.hub.prepare(payload)
	if err != nil {
		return fmt.Errorf("hub: sending to client: %w", err)
	}
	if !c.hub.sendTo(c, frame) {
		return fmt.Errorf("hub: sending to client: %w", ErrNoClient)
	}
	return nil
}

// reply queues a frame of the hub's own.
func (c *Client) reply(f wire.Frame) {
	c.hub.sendTo(c, c.hub.replyFrame(f))
}

// replyFrame encodes a frame of the hub's own.
func (h *Hub) replyFrame(f wire.Frame) Frame {
	f.Timestamp = time.Now()
	e := getEncoder()
	defer e.put()
	return h.cfg.Transport.Prepare(TextFrame, e.wire(&f))
}
