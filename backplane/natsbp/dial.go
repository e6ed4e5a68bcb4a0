package natsbp

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// dialer makes the sockets of a connection that the backplane owns, and can end
// the one that is there without asking the client, which holds its lock while it
// writes or connects.
type dialer struct {
	ctx    context.Context // ends what is being dialled
	cancel context.CancelFunc
	dial   func(ctx context.Context, network, address string) (net.Conn, error)
	noTLS  bool

	mu     sync.Mutex
	socket net.Conn // the last one that was made
	shut   bool
}

var errDialerShut = errors.New("natsbp: closed")

// newDialer stands before whatever o dials with, and puts itself into o.
func newDialer(o *nats.Options) *dialer {
	d := &dialer{}
	d.ctx, d.cancel = context.WithCancel(context.Background())
	switch custom, base, inProcess := o.CustomDialer, o.Dialer, o.InProcessServer; {
	case inProcess != nil:
		d.dial = func(context.Context, string, string) (net.Conn, error) { return inProcess.InProcessConn() }
		// With it the client would not ask for a dialer.
		o.InProcessServer = nil
		o.SkipHostLookup = true
	case custom != nil:
		d.dial = func(_ context.Context, network, address string) (net.Conn, error) {
			return custom.Dial(network, address)
		}
		skip, ok := custom.(interface{ SkipTLSHandshake() bool })
		d.noTLS = ok && skip.SkipTLSHandshake()
	default:
		if base == nil {
			base = &net.Dialer{}
		}
		own := *base
		if own.Timeout == 0 {
			own.Timeout = o.Timeout
		}
		if o.AllowMultipathTCP != nil {
			own.SetMultipathTCP(*o.AllowMultipathTCP)
		}
		look, shuffle := !o.SkipHostLookup, !o.NoRandomize
		d.dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			if !look {
				return own.DialContext(ctx, network, address)
			}
			return dialAny(ctx, own, network, address, shuffle)
		}
		o.SkipHostLookup = true
	}
	o.CustomDialer = d
	return d
}

// dialAny tries the addresses of a host by chance, so that hubs spread over the
// servers behind one name. The client does the same, but waits for the name's
// lookup whatever happens.
func dialAny(ctx context.Context, dialer net.Dialer, network, address string, shuffle bool) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	resolver := dialer.Resolver
	if resolver == nil {
		resolver = net.DefaultResolver
	}
	lookup, cancel := context.WithTimeout(ctx, dialer.Timeout)
	defer cancel()
	hosts, err := resolver.LookupHost(lookup, host)
	if err != nil {
		return nil, err
	}
	if shuffle {
		rand.Shuffle(len(hosts), func(i, j int) { hosts[i], hosts[j] = hosts[j], hosts[i] })
	}
	dialer.Timeout /= time.Duration(len(hosts))
	var conn net.Conn
	for _, host := range hosts {
		if conn, err = dialer.DialContext(ctx, network, net.JoinHostPort(host, port)); err == nil {
			return conn, nil
		}
	}
	return nil, err
}

// Dial is what nats.go calls.
func (d *dialer) Dial(network, address string) (net.Conn, error) {
	raw, err := d.dial(d.ctx, network, address)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.shut {
		_ = raw.Close() // nobody has used it
		return nil, errDialerShut
	}
	d.socket = &socket{Conn: raw}
	return d.socket, nil
}

// SkipTLSHandshake is what nats.go asks a dialer that has made TLS itself.
func (d *dialer) SkipTLSHandshake() bool { return d.noTLS }

// cut closes the socket that is there: the client connects anew.
func (d *dialer) cut() {
	d.mu.Lock()
	socket := d.socket
	d.mu.Unlock()
	if socket != nil {
		_ = socket.Close() // the client sees it
	}
}

// end is cut for ever.
func (d *dialer) end() {
	d.mu.Lock()
	d.shut = true
	d.mu.Unlock()
	d.cancel()
	d.cut()
}

// socket ends with the first write that fails. The client would go on after a
// write that has timed out, without what it was to write.
type socket struct{ net.Conn }

func (s *socket) Write(b []byte) (int, error) {
	n, err := s.Conn.Write(b)
	if err != nil {
		_ = s.Close() // the write's error counts
	}
	return n, err
}

// reconnectDelay is how long to wait when all servers have been tried in vain:
// from 50 ms up to 2 s, each time half of it by chance, so that a fleet of hubs
// doesn't come back as one.
func reconnectDelay(attempt int) time.Duration {
	wait := 2 * time.Second
	if attempt < 6 {
		wait = 50 * time.Millisecond << attempt
	}
	return wait/2 + rand.N(wait/2)
}
