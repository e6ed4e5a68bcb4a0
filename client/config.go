package client

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"net/url"
	"time"
)

// subprotocol is version 1 of the protocol, JSON.
const subprotocol = "go-ws.v1.json"

// ReconnectConfig is what a client needs to know. Only URL is required. A field
// that is zero has its default; durations of more than a year are a year. It is
// looked at once, by New.
type ReconnectConfig struct {
	// URL of the hub, such as "wss://example.com/ws". The schemes are ws, wss,
	// http and https. Its query and password appear in no log and no error.
	URL string
	// Header is sent with each upgrade.
	Header http.Header
	// Subprotocols to offer. Default: "go-ws.v1.json", which is the one that
	// this client speaks.
	Subprotocols []string
	// HTTPClient makes the upgrade; TLS, proxies and cookies are its
	// transport's. Default: a client of its own with a new TCP connection for
	// each attempt, so that a balancer may choose another hub. Redirects are not
	// followed: one is a StatusError, as any other answer that is no upgrade.
	HTTPClient *http.Client
	// Credentials, where set, is called before each attempt, one call at a time,
	// on a goroutine of its own, and what it returns goes into this attempt alone. last is why the
	// attempt or the connection before has ended, nil for the first one: a
	// StatusError of 401 or a CloseError of wire.CloseCredentialsExpired says
	// that the last credentials are good no more. An error makes the attempt
	// fail, and one that wraps ErrRefused ends the client. HandshakeTimeout
	// bounds ctx.
	Credentials func(ctx context.Context, last error) (Credentials, error)

	// InitialBackoff is the longest delay before the first attempt to come back.
	// Default 1 s.
	InitialBackoff time.Duration
	// MaxBackoff is the longest delay at all. Default 30 s.
	MaxBackoff time.Duration
	// BackoffMultiplier is how the delay grows from one attempt to the next, 1 or
	// more. Default 2.
	BackoffMultiplier float64
	// MaxRetries is how many attempts may follow one another without a connection
	// that lasts for StableAfter, the first one not counted. 0: no limit.
	MaxRetries int
	// DisableJitter makes each delay as long as it may be. By default it is drawn
	// anew between zero and that, so that clients which lost their hub together
	// don't come back together.
	DisableJitter bool
	// StableAfter is how long a connection must last until the backoff begins
	// again from InitialBackoff. Default 10 s.
	StableAfter time.Duration
	// MaxServerDelay bounds what a server may ask to wait, by Retry-After or by
	// the hint of a hub that shuts down. Default 5 min.
	MaxServerDelay time.Duration

	// HandshakeTimeout bounds an attempt, Credentials included. Default 10 s.
	HandshakeTimeout time.Duration
	// PingInterval is how long the server may be silent until it is pinged.
	// Default 20 s; negative: never.
	PingInterval time.Duration
	// PongTimeout is how long it may then be silent before the connection is
	// given up. Default 10 s.
	PongTimeout time.Duration
	// WriteTimeout is how long the socket may take nothing. Default 10 s.
	WriteTimeout time.Duration

	// QueueWhileAway keeps messages that are sent without a connection, within
	// the two limits below, and those that wait when one is lost, and sends them
	// in order once there is one. By default they are refused at once with
	// ErrNotConnected.
	QueueWhileAway bool
	// QueueMessages and QueueBytes bound what waits to be sent, with a connection
	// too. Default 1,024 messages and 1 MiB.
	QueueMessages int
	QueueBytes    int

	// ReadLimit is the longest message that is read, in bytes. Past it the
	// connection is closed with 1009. Default 1 MiB, a hub's longest.
	ReadLimit int
	// HandlerBacklog and HandlerBacklogBytes bound what waits for one handler,
	// which runs meanwhile. Default 1,024 messages and 1 MiB.
	HandlerBacklog      int
	HandlerBacklogBytes int
	// Overflow is what happens past that bound. Default OverflowDropOldest.
	Overflow Overflow

	// OnConnect is called for each connection, the first one and later ones.
	OnConnect func()
	// OnReconnect is called after OnConnect for each connection but the first,
	// with the number of attempts that it took, 1 or more.
	OnReconnect func(attempt int)
	// OnDisconnect is called when a connection has ended, with the reason: a
	// CloseError, ErrPongTimeout, ErrSlowHandler, ErrClosed or the context's.
	OnDisconnect func(err error)
	// OnStateChange is called for each change of State.
	OnStateChange func(ConnectionState)
	// OnError is called with what went wrong and has no other way to the
	// application: an attempt that failed, a frame that can't be read, an error
	// of the hub's that answers nothing (a RequestError: server_error, or what
	// Send was answered), and the end of the client where nobody closed it. Past
	// 256 that wait they are left out, and the next one says how many.
	OnError func(err error)
	// OnMessage is called with each message that is no subscription's: to
	// everybody, to this user or client, on a channel that the server has put the
	// client on. Types that the protocol reserves are ignored. It has a backlog of
	// its own, as each handler.
	OnMessage Handler

	// Logger defaults to slog.Default. Credentials and the query of the URL are
	// not logged.
	Logger *slog.Logger
}

// Credentials are sent with one attempt to connect.
type Credentials struct {
	// Header is set on the request, such as Authorization.
	Header http.Header
	// Query is set in the URL. Servers and proxies log URLs: prefer a header.
	Query url.Values
}

// Overflow is what happens when more waits for a handler than may.
type Overflow int

const (
	// OverflowDropOldest leaves the oldest message out, and tells the handler
	// how many by a DroppedError before the next one.
	OverflowDropOldest Overflow = iota
	// OverflowReconnect gives the connection up with ErrSlowHandler and comes
	// back, after backoff. What waits is handled first; what is published
	// meanwhile is missed, as after any loss of the connection.
	OverflowReconnect
)

// withDefaults returns the configuration with what was left out, or what is
// wrong with it. Errors name the field and hold nothing of its value where that
// may be secret.
func (c ReconnectConfig) withDefaults() (ReconnectConfig, error) {
	if err := checkURL(c.URL); err != nil {
		return c, fmt.Errorf("client: ReconnectConfig.URL: %w", err)
	}
	if len(c.Subprotocols) == 0 {
		c.Subprotocols = []string{subprotocol}
	}
	for _, d := range []struct {
		name  string
		field *time.Duration
		value time.Duration
	}{
		{"InitialBackoff", &c.InitialBackoff, time.Second},
		{"MaxBackoff", &c.MaxBackoff, max(30*time.Second, c.InitialBackoff)},
		{"StableAfter", &c.StableAfter, 10 * time.Second},
		{"MaxServerDelay", &c.MaxServerDelay, 5 * time.Minute},
		{"HandshakeTimeout", &c.HandshakeTimeout, 10 * time.Second},
		{"PingInterval", &c.PingInterval, 20 * time.Second},
		{"PongTimeout", &c.PongTimeout, 10 * time.Second},
		{"WriteTimeout", &c.WriteTimeout, 10 * time.Second},
	} {
		if *d.field < 0 && d.name != "PingInterval" {
			return c, fmt.Errorf("client: ReconnectConfig.%s is negative: %v", d.name, *d.field)
		}
		*d.field = min(cmp.Or(*d.field, d.value), farOff) // their sums fit
	}
	for _, n := range []struct {
		name  string
		field *int
		value int
	}{
		{"MaxRetries", &c.MaxRetries, 0},
		{"QueueMessages", &c.QueueMessages, 1024},
		{"QueueBytes", &c.QueueBytes, 1 << 20},
		{"ReadLimit", &c.ReadLimit, 1 << 20},
		{"HandlerBacklog", &c.HandlerBacklog, 1024},
		{"HandlerBacklogBytes", &c.HandlerBacklogBytes, 1 << 20},
	} {
		if *n.field < 0 {
			return c, fmt.Errorf("client: ReconnectConfig.%s is negative: %d", n.name, *n.field)
		}
		*n.field = cmp.Or(*n.field, n.value)
	}
	c.ReadLimit = min(c.ReadLimit, math.MaxInt-1) // one byte more shows what is longer
	c.BackoffMultiplier = cmp.Or(c.BackoffMultiplier, 2)
	switch {
	case !(c.BackoffMultiplier >= 1) || math.IsInf(c.BackoffMultiplier, 0):
		return c, fmt.Errorf("client: ReconnectConfig.BackoffMultiplier is %v, and must be at least 1", c.BackoffMultiplier)
	case c.MaxBackoff < c.InitialBackoff:
		return c, fmt.Errorf("client: ReconnectConfig.MaxBackoff is %v, and must be at least InitialBackoff, %v", c.MaxBackoff, c.InitialBackoff)
	case c.Overflow != OverflowDropOldest && c.Overflow != OverflowReconnect:
		return c, fmt.Errorf("client: ReconnectConfig.Overflow is unknown: %d", c.Overflow)
	}
	c.Header = c.Header.Clone()
	c.HTTPClient = ownHTTPClient(c.HTTPClient)
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	return c, nil
}

func checkURL(raw string) error {
	u, err := url.Parse(raw)
	if err != nil {
		return errors.New("it can't be parsed") // the error's text holds parts of it
	}
	switch u.Scheme {
	case "ws", "wss", "http", "https":
	default:
		return fmt.Errorf("the scheme is %q, and must be ws, wss, http or https", u.Scheme)
	}
	if u.Host == "" {
		return errors.New("it names no host")
	}
	return nil
}

// ownHTTPClient is the caller's, or one that keeps no connection.
func ownHTTPClient(given *http.Client) *http.Client {
	if given != nil {
		return given
	}
	var own *http.Transport
	if standard, ok := http.DefaultTransport.(*http.Transport); ok {
		own = standard.Clone()
	} else {
		own = &http.Transport{Proxy: http.ProxyFromEnvironment}
	}
	own.DisableKeepAlives = true
	return &http.Client{Transport: own}
}
