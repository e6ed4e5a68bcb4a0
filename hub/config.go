package hub

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"slices"
	"time"

	"forge.lthn.ai/core/go-ws/hub/wire"
)

// Config is all that a hub can be told. Only Transport is required. For every
// number and duration zero means the default that its comment gives, and a
// negative value switches it off where the comment says so; elsewhere New
// refuses it.
//
// Callbacks. A hub calls none of its callbacks while it holds a lock, so each
// may call any method of the hub and of the client, but for Run and Shutdown. A
// callback that panics is contained, logged and counted; an error that the
// client does not get to see is counted, and logged once a second at most. A
// callback must not end its goroutine by runtime.Goexit, as a test's FailNow and
// Fatal do: its client would never end, nor would Run. For one client OnConnect comes first and
// OnDisconnect last; between them OnSubscribe, OnUnsubscribe and OnMessage run
// one after another, in the order of the client's frames, on a goroutine that
// serves this client alone: one that blocks holds up this client's frames and
// nobody else. Callbacks of different clients run at the same time.
// Observer's functions, InjectTrace and ExtractTrace are not contained.
type Config struct {
	// Transport upgrades requests to connections.
	Transport Transport
	// Backplane joins this hub with others. Nil makes it a system of one.
	Backplane Backplane
	// Require names abilities that the backplane must have. New refuses a
	// backplane that lacks one.
	Require []Ability
	// Authenticator decides who may connect. Nil accepts everyone.
	Authenticator Authenticator

	// OnConnect is called for each client once it is admitted, on its
	// request's goroutine, before any of its frames is read. An error refuses
	// it: the client is closed with wire.ClosePolicy, where the error wraps
	// ErrUnavailable with wire.CloseTryAgainLater, and OnDisconnect is not called.
	// It may block: its context ends after HandshakeTimeout, and earlier when the
	// client is closed from this side. That the client has gone is noticed only
	// once OnConnect has returned. The client is connected already: broadcasts and what is sent to its user reach it, refused or not.
	OnConnect func(ctx context.Context, c *Client) error
	// OnDisconnect is called once for each client that OnConnect admitted,
	// when it is in no channel any more and its connection is closed.
	OnDisconnect func(c *Client, reason DisconnectReason)
	// OnAuthFailure is called on the request's goroutine before a refusal by
	// the Authenticator is answered. It must not write an answer.
	OnAuthFailure func(r *http.Request, result AuthResult)
	// OnSubscribe is asked before a client joins a channel by a frame of its
	// own. An error refuses it: the client sees a *RequestError's code and
	// message, of one that wraps ErrUnavailable ErrorUnavailable, and of any other
	// only ErrorForbidden.
	OnSubscribe func(ctx context.Context, c *Client, channel string) error
	// OnUnsubscribe is told when a client has left a channel by a frame of its
	// own. Those that it leaves by disconnecting are in
	// OnDisconnect's hands: the client's Subscriptions still name them there.
	OnUnsubscribe func(ctx context.Context, c *Client, channel string)
	// OnMessage takes frames whose type is the application's. What it returns
	// answers the frame: a message, whose type is TypeReply when empty and
	// whose id is the frame's, or an error, of which the client sees a
	// *RequestError's code and message, of one that wraps ErrUnavailable
	// ErrorUnavailable, and of any other only ErrorInternal.
	// With neither, a frame that carries an id is answered by an empty reply.
	// Without OnMessage such frames are answered with ErrorUnknownType.
	OnMessage func(ctx context.Context, c *Client, f wire.Frame) (*Message, error)

	// OnBackplaneHealth is told when Stats.Backplane.Healthy changes: nil when it
	// has become true, an error that says why when it has become false. A hub
	// begins unhealthy, and says nothing of that. Its calls come one after another, on
	// a goroutine of their own: while one blocks nothing else does, but for the end
	// of Run, and of what changes meanwhile only the last is told.
	OnBackplaneHealth func(err error)

	// HeartbeatInterval is how often each client is pinged; the pings of all
	// clients are spread over it. Default 30 s; negative: never.
	HeartbeatInterval time.Duration
	// PongTimeout is how long a client may be silent before it is closed; any
	// bytes from it count, not pongs alone. Default 60 s; negative: for ever.
	// It must be longer than HeartbeatInterval.
	PongTimeout time.Duration
	// WriteTimeout is how long a client's socket may stay full before it is
	// closed, and bounds the closing handshake. Default 10 s.
	WriteTimeout time.Duration
	// HandshakeTimeout bounds the Authenticator, and then OnConnect, by their
	// contexts: one that does not look at it is not bounded. The time before the request is
	// whole is the http.Server's: set its ReadHeaderTimeout. Default 10 s.
	HandshakeTimeout time.Duration
	// BackplaneTimeout bounds each call to the backplane that the hub makes by
	// itself, and a client's wait for a subscription. Default 5 s.
	BackplaneTimeout time.Duration
	// DrainTimeout is how long clients are drained when Run's context ends.
	// Default 8 s; negative: not at all.
	DrainTimeout time.Duration
	// DrainSpread is the time over which a draining hub spreads its closes, and
	// over which it asks clients to spread their coming back. Fewer than 500
	// clients are closed faster, one each 10 ms. Default 5 s; negative: all at
	// once.
	DrainSpread time.Duration

	// OutboxMessages bounds how many messages may wait for one client.
	// Default 4,096.
	OutboxMessages int
	// OutboxBytes bounds how many bytes may wait for one client, and so the
	// largest message that can be published. Default 1 MiB.
	OutboxBytes int
	// Overflow decides what happens to a client whose outbox is full. The
	// default is OverflowDisconnect.
	Overflow OverflowPolicy

	// MaxMessageBytes is the largest message taken from a client; a larger one
	// closes it with wire.CloseTooBig. Default 32,768.
	MaxMessageBytes int
	// MaxMessagesPerSecond is how many frames a client may send on average;
	// more are answered with ErrorRateLimited, and a client that goes on is
	// closed. Default 100; negative: any number.
	MaxMessagesPerSecond int
	// MessageBurst is how many frames a client may send at once. It is never
	// below MaxSubscriptions, so that a client can come back to all its
	// channels. Default 200, and so with the default of MaxSubscriptions 1,000.
	MessageBurst int
	// MaxSubscriptions is how many channels a client may be on. Default 1,000.
	MaxSubscriptions int
	// MaxChannelLength is the longest name of a channel, in bytes. Default
	// 255, at most 510.
	MaxChannelLength int
	// MaxClients is how many clients may be connected. Default 100,000.
	MaxClients int
	// MaxClientsPerUser is how many clients may share a UserID. Zero: any
	// number.
	MaxClientsPerUser int
	// MaxClientsPerAddress is how many clients may come from one address, for
	// IPv6 from one /64. Zero: any number, since many share one.
	MaxClientsPerAddress int
	// MaxHandshakes is how many upgrades may be under way at once. Default
	// 10,000.
	MaxHandshakes int

	// AllowedOrigins are patterns of origins beside the hub's own whose pages
	// may connect: "https://example.com", "https://*.example.com",
	// "http://localhost:*", or "*" for any at all, which lets any page in the
	// world use a visitor's cookies here. Requests without an Origin header
	// don't come from a page and are let through.
	AllowedOrigins []string
	// TrustedProxies are networks whose X-Forwarded-For and X-Forwarded-Proto
	// headers are believed.
	TrustedProxies []netip.Prefix

	// Logger defaults to slog.Default.
	Logger *slog.Logger
	// Observer is told what happens, for metrics and tracing.
	Observer Observer
	// InjectTrace returns the W3C trace context of a publish, empty for none.
	// It travels with the message to every hub.
	InjectTrace func(ctx context.Context) string
	// ExtractTrace returns a context that continues a trace. The Observer gets
	// it on the receiving hub.
	ExtractTrace func(ctx context.Context, trace string) context.Context
}

// Ability names an optional part of the Backplane port.
type Ability string

// AbilityHistory is Abilities.History.
const AbilityHistory Ability = "history"

// OverflowPolicy decides what a full outbox does. Whatever it is, the loss is
// counted and harms only the client that was too slow.
type OverflowPolicy int

const (
	// OverflowDisconnect closes the client with wire.CloseSlowClient.
	OverflowDisconnect OverflowPolicy = iota
	// OverflowDropOldest drops the messages that have waited longest. Messages
	// that are being written can't be dropped and do not count: a client may
	// hold twice its bounds for a moment.
	OverflowDropOldest
	// OverflowKeepLatest lets a message take the place of one that still waits
	// and has the same channel and Message.Key, overflow or not. A client whose
	// outbox is full all the same is closed.
	OverflowKeepLatest
)

func (c Config) withDefaults() Config {
	for _, d := range []struct {
		field *time.Duration
		value time.Duration
	}{
		{&c.HeartbeatInterval, 30 * time.Second},
		{&c.PongTimeout, 60 * time.Second},
		{&c.WriteTimeout, 10 * time.Second},
		{&c.HandshakeTimeout, 10 * time.Second},
		{&c.BackplaneTimeout, 5 * time.Second},
		{&c.DrainTimeout, 8 * time.Second},
		{&c.DrainSpread, 5 * time.Second},
	} {
		if *d.field == 0 {
			*d.field = d.value
		}
	}
	for _, d := range []struct {
		field *int
		value int
	}{
		{&c.OutboxMessages, 4096},
		{&c.OutboxBytes, 1 << 20},
		{&c.MaxMessageBytes, 32768},
		{&c.MaxMessagesPerSecond, 100},
		{&c.MessageBurst, 200},
		{&c.MaxSubscriptions, 1000},
		{&c.MaxChannelLength, 255},
		{&c.MaxClients, 100_000},
		{&c.MaxHandshakes, 10_000},
	} {
		if *d.field == 0 {
			*d.field = d.value
		}
	}
	if c.MessageBurst > 0 {
		c.MessageBurst = max(c.MessageBurst, c.MaxSubscriptions)
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	return c
}

// validate reports every field that cannot work, of a Config with its defaults.
func (c *Config) validate() error {
	var errs []error
	bad := func(field, format string, args ...any) {
		errs = append(errs, fmt.Errorf("hub: Config.%s: %s", field, fmt.Sprintf(format, args...)))
	}
	if c.Transport == nil {
		bad("Transport", "is required")
	}
	for _, f := range []struct {
		name  string
		value int64
	}{
		{"WriteTimeout", int64(c.WriteTimeout)},
		{"HandshakeTimeout", int64(c.HandshakeTimeout)},
		{"BackplaneTimeout", int64(c.BackplaneTimeout)},
		{"OutboxMessages", int64(c.OutboxMessages)},
		{"OutboxBytes", int64(c.OutboxBytes)},
		{"MaxMessageBytes", int64(c.MaxMessageBytes)},
		{"MessageBurst", int64(c.MessageBurst)},
		{"MaxSubscriptions", int64(c.MaxSubscriptions)},
		{"MaxChannelLength", int64(c.MaxChannelLength)},
		{"MaxClients", int64(c.MaxClients)},
		{"MaxClientsPerUser", int64(c.MaxClientsPerUser)},
		{"MaxClientsPerAddress", int64(c.MaxClientsPerAddress)},
		{"MaxHandshakes", int64(c.MaxHandshakes)},
	} {
		if f.value < 0 {
			bad(f.name, "is negative")
		}
	}
	if c.MaxChannelLength > wire.MaxChannel {
		bad("MaxChannelLength", "is over %d", wire.MaxChannel)
	}
	if c.PongTimeout > 0 && c.HeartbeatInterval > 0 && c.PongTimeout <= c.HeartbeatInterval {
		bad("PongTimeout", "%v is not longer than HeartbeatInterval, %v: every quiet client would be closed", c.PongTimeout, c.HeartbeatInterval)
	}
	if c.Overflow < OverflowDisconnect || c.Overflow > OverflowKeepLatest {
		bad("Overflow", "is unknown")
	}
	if _, err := parseOrigins(c.AllowedOrigins); err != nil {
		bad("AllowedOrigins", "%v", err)
	}
	if slices.ContainsFunc(c.TrustedProxies, func(p netip.Prefix) bool { return !p.IsValid() }) {
		bad("TrustedProxies", "holds an invalid prefix")
	}
	for _, ability := range c.Require {
		if err := c.lacks(ability); err != "" {
			bad("Require", "%s", err)
		}
	}
	return errors.Join(errs...)
}

func (c *Config) lacks(ability Ability) string {
	if ability != AbilityHistory {
		return fmt.Sprintf("unknown ability %q", ability)
	}
	if c.Backplane == nil || c.Backplane.Abilities().History == nil {
		return "the backplane has no history"
	}
	return ""
}
