package natsbp

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"forge.lthn.ai/core/go-ws/hub"
)

// startWait is how long Start waits for the server's first answer.
const startWait = 2 * time.Second

// Backplane joins a hub to others through NATS: it implements hub.Backplane.
// All methods may be called concurrently.
type Backplane struct {
	cfg      Config
	subjects subjects
	probe    string // the subject that this backplane alone listens to

	// Of a connection that the backplane makes itself; dialer is nil where it
	// is the program's.
	options nats.Options
	dialer  *dialer

	// ctx is the backplane's life: Close ends it.
	ctx    context.Context
	cancel context.CancelFunc
	wait   sync.WaitGroup
	gone   chan struct{} // closed when Close is done

	out      outbound
	in       inbound
	refusals refusals

	// Between control, watch and those who call.
	poke     chan struct{}   // control: look again
	attached chan attachment // control to watch: there is a new connection
	settled  chan settlement // control to watch: how the subscriptions are
	first    chan error      // control and watch to Start: how the first attempt ended
	downs    atomic.Uint64   // counts what watch has seen of ends of connections
	sessions atomic.Uint64   // counts sessions that began
	probing  atomic.Bool     // false: the server refuses it

	mu       sync.Mutex
	receiver hub.BackplaneReceiver // nil until Start
	closed   bool
	session  *session // nil while the server is away
	topics   map[hub.Topic]*entry
	requests []*request // for control, in order
}

var _ hub.Backplane = (*Backplane)(nil)

// New makes a backplane that is not connected yet: Start, which the hub calls,
// does that. An error names the setting that can't work.
func New(cfg Config) (*Backplane, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	b := &Backplane{
		cfg:      cfg,
		subjects: subjects{root: cfg.Prefix + "."},
		gone:     make(chan struct{}),
		poke:     make(chan struct{}, 1),
		attached: make(chan attachment),
		settled:  make(chan settlement),
		first:    make(chan error, 1),
		topics:   make(map[hub.Topic]*entry),
	}
	b.probe = b.subjects.probe(rand.Text())
	b.probing.Store(cfg.ProbeInterval > 0)
	b.ctx, b.cancel = context.WithCancel(context.Background())
	b.out.init()
	b.in.init(cfg.PendingMessages)
	b.refusals.init()
	switch {
	case cfg.Conn == nil:
		if b.options, err = cfg.options(); err != nil {
			return nil, err
		}
		b.dialer = newDialer(&b.options)
		theirs := b.options.AsyncErrorCB
		b.options.AsyncErrorCB = func(nc *nats.Conn, sub *nats.Subscription, err error) {
			if !b.asyncError(sub, err) && theirs != nil {
				theirs(nc, sub, err)
			}
		}
	case cfg.URL != "" || len(cfg.Options) > 0:
		return nil, errors.New("natsbp: Config.Conn: given together with URL or Options, which would do nothing")
	case cfg.Conn.IsClosed():
		return nil, errors.New("natsbp: Config.Conn: closed")
	default:
		if err := checkOptions(cfg.Conn.Opts, cfg.AcceptFiniteReconnects); err != nil {
			return nil, fmt.Errorf("natsbp: Config.Conn: %w", err)
		}
	}
	return b, nil
}

// Start connects. It returns when the first attempt has ended, whatever came of
// it, or at the latest after two seconds. An error says that the server refuses
// the credentials, or that its certificate or ours is no good; with
// Config.RequireBroker also that no server is there.
func (b *Backplane) Start(ctx context.Context, r hub.BackplaneReceiver) error {
	if r == nil {
		return errors.New("natsbp: start: no receiver")
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("natsbp: start: %w", err)
	}
	if err := b.open(r); err != nil {
		return fmt.Errorf("natsbp: start: %w", err)
	}
	patience := time.NewTimer(startWait)
	defer patience.Stop()
	timeout := patience.C
	if b.cfg.RequireBroker {
		timeout = nil // the context's time is what the caller gives
	}
	select {
	case err := <-b.first:
		if err != nil && (b.cfg.RequireBroker || permanent(err)) {
			_ = b.Close() // its own error would not say more
			return fmt.Errorf("natsbp: start: %w", explain(err))
		}
		return nil
	case <-timeout:
		return nil
	case <-b.gone:
		return errors.New("natsbp: start: closed")
	case <-ctx.Done():
		if b.cfg.RequireBroker {
			_ = b.Close()
			return fmt.Errorf("natsbp: start: no server answers: %w", ctx.Err())
		}
		return nil
	}
}

// open lets everything run.
func (b *Backplane) open(r hub.BackplaneReceiver) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.closed:
		return errors.New("closed")
	case b.receiver != nil:
		return errors.New("started before")
	}
	b.receiver = r
	for range publishers {
		b.wait.Go(b.publish)
	}
	b.wait.Go(b.read)
	b.wait.Go(b.deliver)
	b.wait.Go((&watch{b: b}).run)
	b.wait.Go((&control{b: b}).run)
	return nil
}

// chainErrorHandler hears of a connection's errors and hands them on. There is
// no way to take it back, since another one may stand before it by then: after
// Close it only hands on.
func (b *Backplane) chainErrorHandler(nc *nats.Conn) {
	theirs := nc.ErrorHandler()
	nc.SetErrorHandler(func(nc *nats.Conn, sub *nats.Subscription, err error) {
		hidden := b.ctx.Err() == nil && b.asyncError(sub, err)
		if !hidden && theirs != nil {
			theirs(nc, sub, err)
		}
	})
}

// Abilities of this backplane: none. It keeps nothing.
func (b *Backplane) Abilities() hub.Abilities { return hub.Abilities{} }

// Close ends the backplane, and its connection unless it is Config.Conn. What is
// being published has an unknown outcome. A dialer of nats.SetCustomDialer has no
// context: Close waits until its Dial returns.
func (b *Backplane) Close() error {
	b.mu.Lock()
	first := !b.closed
	b.closed = true
	b.mu.Unlock()
	if !first {
		<-b.gone
		return nil
	}
	b.cancel()
	if b.dialer != nil {
		b.dialer.end() // whoever holds the client's lock gives it back
	}
	b.wait.Wait()
	close(b.gone)
	return nil
}

// Stats are a backplane's figures at one moment.
type Stats struct {
	// Connected says that all subscriptions are live.
	Connected bool
	// Server is the name that the server gives itself, while connected.
	Server string
	// Sessions counts how often the backplane got its server: once at the
	// start, and after each disruption.
	Sessions uint64
	// Dropped counts publications that came in and were thrown away, since the
	// hub did not keep up.
	Dropped uint64
}

// Stats returns the figures.
func (b *Backplane) Stats() Stats {
	s := b.current()
	stats := Stats{Sessions: b.sessions.Load(), Dropped: b.in.dropped.Load()}
	if s != nil {
		stats.Connected, stats.Server = true, s.server
	}
	return stats
}

// live returns the present session, or what is in its way.
func (b *Backplane) live() (*session, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.closed:
		return nil, fmt.Errorf("closed: %w", hub.ErrUnavailable)
	case b.receiver == nil:
		return nil, fmt.Errorf("not started: %w", hub.ErrUnavailable)
	case b.session == nil:
		return nil, fmt.Errorf("no server: %w", hub.ErrUnavailable)
	}
	return b.session, nil
}

// current returns the present session, or nil.
func (b *Backplane) current() *session {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.session
}

// lookAgain wakes control.
func (b *Backplane) lookAgain() {
	select {
	case b.poke <- struct{}{}:
	default: // it will look anyway
	}
}

// firstResult tells Start.
func (b *Backplane) firstResult(err error) {
	select {
	case b.first <- err:
	default: // it has heard, or will
	}
}
