package natsbp

import (
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

// Config configures a Backplane. URL or Conn is required, all else has a
// default.
type Config struct {
	// URL names one server, or several with commas between them, as
	// nats://user:password@host:4222. Any server of a cluster is enough, the
	// client learns the others; more are of use while that one is away. The
	// scheme tls:// asks for TLS, ws:// and wss:// go through NATS's WebSocket
	// listener. Special characters in a password are percent-encoded. No error
	// and no log line shows what stands before the @.
	URL string
	// Options are handed on to nats.go, for a connection that the backplane
	// makes itself: credentials (nats.UserCredentials, nats.Nkey,
	// nats.UserInfo, nats.Token), TLS (nats.RootCAs, nats.ClientCert,
	// nats.Secure), a name, callbacks. Those that would break what a backplane
	// promises are refused: nats.NoEcho, nats.NoReconnect, a finite
	// nats.MaxReconnects, and nats.ReconnectBufSize but for -1.
	Options []nats.Option
	// Conn is a connection of the program's own, instead of URL and Options. It
	// must have been made with nats.MaxReconnects(-1) and
	// nats.ReconnectBufSize(-1), so that it never gives up, and so that nothing
	// that was published while the server was away is sent in a late burst; and
	// not with nats.NoEcho. Set nats.FlusherTimeout to a few seconds too: for
	// that long a connection that has fallen silent can hold everything up.
	// The backplane puts itself before the connection's error handler and calls
	// the one that was there; don't replace it, and don't let it block: refusals
	// come through it. While the connection's LastError is of something else, as
	// after a subscription of the program's was too slow, each Publish takes one
	// round trip more. The program closes the connection, after the hub has ended.
	Conn *nats.Conn
	// AcceptFiniteReconnects takes a Conn that gives up some day. The hub is
	// then without its backplane until the program ends.
	AcceptFiniteReconnects bool

	// Prefix begins every subject; "ws" by default. Hubs hear each other where
	// they have the same. It is made of letters, digits, "-" and "_", with dots
	// between tokens, at most 64 bytes. The channel "news" is published on
	// ws.c:news. An access list has to allow publishing and subscribing to
	// ws.> (that is, Prefix and .>).
	Prefix string

	// RequireBroker makes Start fail where no server can be reached at once.
	// By default it goes on trying.
	RequireBroker bool

	// PendingMessages and PendingBytes bound the publications that have come in
	// and not been handed to the hub yet: 65,536 and 64 MiB by default. What
	// comes when they are full is dropped, counted in Stats, and reported by
	// Disrupted. (As many messages again, 16,384 at most, may wait within the
	// client.)
	PendingMessages int
	PendingBytes    int

	// ProbeInterval is how long nothing may come in before the backplane sends
	// itself a probe through the server: 1 s by default; negative: never, and
	// then only NATS's own pings find a connection that is dead, later.
	ProbeInterval time.Duration
	// ProbeTimeout is how long a probe may take to come back before the
	// connection is given up and made anew: 5 s by default.
	ProbeTimeout time.Duration

	// Logger hears of connections, and of settings of the server that lose
	// messages. nil: slog.Default().
	Logger *slog.Logger
}

const (
	defaultPrefix          = "ws"
	defaultPendingMessages = 64 << 10
	defaultPendingBytes    = 64 << 20
	defaultProbeInterval   = time.Second
	defaultProbeTimeout    = 5 * time.Second
)

// withDefaults checks and completes a Config.
func (c Config) withDefaults() (Config, error) {
	if c.Prefix == "" {
		c.Prefix = defaultPrefix
	}
	if err := checkPrefix(c.Prefix); err != nil {
		return c, fmt.Errorf("natsbp: Config.Prefix: %w", err)
	}
	for _, n := range []struct {
		name    string
		value   *int
		instead int
	}{
		{"PendingMessages", &c.PendingMessages, defaultPendingMessages},
		{"PendingBytes", &c.PendingBytes, defaultPendingBytes},
	} {
		if *n.value < 0 {
			return c, fmt.Errorf("natsbp: Config.%s: %d is negative: every queue has a bound", n.name, *n.value)
		}
		if *n.value == 0 {
			*n.value = n.instead
		}
	}
	if c.ProbeInterval == 0 {
		c.ProbeInterval = defaultProbeInterval
	}
	if c.ProbeTimeout < 0 {
		return c, errors.New("natsbp: Config.ProbeTimeout: negative; a negative ProbeInterval turns probing off")
	}
	if c.ProbeTimeout == 0 {
		c.ProbeTimeout = defaultProbeTimeout
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	return c, nil
}

// options are those of a connection that the backplane makes itself.
func (c Config) options() (nats.Options, error) {
	o := nats.GetDefaultOptions()
	o.Name = "go-ws hub"
	// A publication is sent now or refused now.
	o.ReconnectBufSize = -1
	o.MaxReconnect = -1
	o.CustomReconnectDelayCB = reconnectDelay
	// The probe is quicker; pings find out where it is off.
	o.PingInterval = 10 * time.Second
	o.MaxPingsOut = 2
	// The client holds its lock while it writes to a socket that takes nothing.
	o.FlusherTimeout = 5 * time.Second
	for _, option := range c.Options {
		if option == nil {
			continue
		}
		if err := option(&o); err != nil {
			return o, fmt.Errorf("natsbp: Config.Options: %w", err)
		}
	}
	if err := checkOptions(o, false); err != nil {
		return o, fmt.Errorf("natsbp: Config.Options: %w", err)
	}
	o.RetryOnFailedConnect = false // the backplane tries again itself, and sees why
	servers, err := servers(c.URL)
	if err != nil {
		return o, fmt.Errorf("natsbp: Config.URL: %w", err)
	}
	o.Servers = append(o.Servers, servers...)
	if len(o.Servers) == 0 && o.Url == "" && o.InProcessServer == nil {
		return o, errors.New("natsbp: Config.URL: no server, and no Conn")
	}
	return o, nil
}

// checkOptions refuses settings that would break a promise.
func checkOptions(o nats.Options, finite bool) error {
	switch {
	case o.NoEcho:
		return errors.New("nats.NoEcho: a hub needs the echo of its own publications, to see that the way through the server works")
	case !o.AllowReconnect:
		return errors.New("nats.NoReconnect: the first cut would be the last")
	case o.MaxReconnect >= 0 && !finite:
		return fmt.Errorf("nats.MaxReconnects(%d): the connection would give up some day; use nats.MaxReconnects(-1), or for a Conn accept it by AcceptFiniteReconnects", o.MaxReconnect)
	case o.ReconnectBufSize >= 0:
		return errors.New("nats.ReconnectBufSize: what is published while the server is away would be sent in a late burst; use nats.ReconnectBufSize(-1)")
	}
	return nil
}

// servers takes a list of URLs apart. Its errors don't show them, since they may
// hold a password; nats.go's would.
func servers(list string) ([]string, error) {
	var all []string
	for i, server := range strings.Split(list, ",") {
		server = strings.TrimSpace(server)
		if server == "" {
			continue
		}
		full := server
		if !strings.Contains(full, "://") {
			full = "nats://" + full
		}
		u, err := url.Parse(full)
		if err != nil || u.Hostname() == "" {
			return nil, fmt.Errorf("server %d is no URL (it is not shown, it may hold a password, in which special characters must be percent-encoded)", i+1)
		}
		switch u.Scheme {
		case "nats", "tls", "ws", "wss":
		default:
			return nil, fmt.Errorf("server %d has the scheme %q, want nats, tls, ws or wss", i+1, u.Scheme)
		}
		all = append(all, server)
	}
	return all, nil
}
