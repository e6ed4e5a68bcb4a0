package hub

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	mathrand "math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"forge.lthn.ai/core/go-ws/hub/wire"
)

// Hub holds the clients that are connected to one process and carries messages
// to them: from this process, and through the backplane from all others. Its
// methods may be called concurrently.
//
// A hub runs once: New, Run, and when Run has returned it is over.
type Hub struct {
	cfg     Config
	id      string
	origins []originPattern
	count   counters

	roster    *roster
	channels  *registry
	users     *registry
	seats     seats
	flusher   *flusher
	heartbeat *heartbeat
	interest  *interest // nil without a backplane
	fleet     *fleet
	health    *health
	sequence  sequencer
	recent    recent

	// loggedFailure is when a callback's error was last logged at Warn, in
	// nanoseconds.
	loggedFailure atomic.Int64

	// stop is closed to begin the end, draining when it has begun, done when
	// Run has returned.
	stop, done chan struct{}
	// started is closed when the hub takes clients.
	started chan struct{}
	// forced ends when there is no more time for clients to leave in peace.
	forced context.Context
	force  context.CancelFunc
	// cut: clients were cut off because there was no time left.
	cut atomic.Bool
	// clients counts those that have not been seen through to their end.
	clients sync.WaitGroup

	mu    sync.Mutex
	state hubState
	// carries: messages can be published, in state's running and draining.
	carries atomic.Bool
	// shutdown is the context of the Shutdown call that closed stop.
	shutdown context.Context
}

type hubState uint8

const (
	stateNew hubState = iota
	stateStarting
	stateRunning
	stateDraining
	stateClosed
)

// New makes a hub. Its error names every field of the Config that can't work.
// Nothing runs before Run.
func New(cfg Config) (*Hub, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	h := &Hub{
		cfg:      cfg,
		id:       rand.Text(),
		roster:   newRoster(),
		channels: newRegistry(),
		users:    newRegistry(),
		stop:     make(chan struct{}),
		done:     make(chan struct{}),
		started:  make(chan struct{}),
	}
	// validate has parsed them once.
	h.origins, _ = parseOrigins(cfg.AllowedOrigins)
	h.forced, h.force = context.WithCancel(context.Background())
	h.flusher = newFlusher(h)
	h.heartbeat = newHeartbeat(h)
	if cfg.Backplane != nil {
		h.interest = newInterest(h, cfg.Backplane)
		h.fleet, h.health = newFleet(h), newHealth(h)
	}
	return h, nil
}

// ID is the hub's own id, random and new for each Hub.
func (h *Hub) ID() string { return h.id }

// Run runs the hub until ctx ends or Shutdown is called; then it drains its
// clients and closes them. When it returns, all callbacks about clients have
// returned, every client's connection is closed and no goroutine of the hub is
// left; the backplane is closed too. Requests that were in the Authenticator are
// refused after that, on the HTTP server's goroutines.
//
// Run returns nil when it ended because it was told to, ErrAlreadyRan when it
// is called again, and what the backplane says when it can't start or close.
func (h *Hub) Run(ctx context.Context) error {
	if err := h.begin(); err != nil {
		return err
	}
	defer close(h.done)
	if started, err := h.startBackplane(ctx); !started {
		h.setState(stateClosed)
		h.force()
		return err
	}
	h.flusher.start()
	h.heartbeat.start()
	h.setState(stateRunning)
	close(h.started)

	select {
	case <-ctx.Done():
	case <-h.stop:
	}
	h.setState(stateDraining)
	drain, cancel := h.drainContext(ctx)
	h.drain(drain)
	cancel()

	h.setState(stateClosed)
	h.heartbeat.stop()
	h.flusher.stop()
	return h.stopBackplane()
}

// drainContext ends when draining has to: with the context of the Shutdown that
// was called, and DrainTimeout after Run's has ended.
func (h *Hub) drainContext(run context.Context) (context.Context, context.CancelFunc) {
	parent := context.Background()
	select {
	case <-h.stop:
		parent = h.shutdown
	default:
	}
	ctx, cancel := context.WithCancel(parent)
	var timer sync.WaitGroup
	timer.Go(func() {
		select {
		case <-run.Done():
		case <-ctx.Done():
			return
		}
		timeout := time.NewTimer(max(h.cfg.DrainTimeout, 0))
		defer timeout.Stop()
		select {
		case <-timeout.C:
			cancel()
		case <-ctx.Done():
		}
	})
	return ctx, func() {
		cancel()
		timer.Wait()
	}
}

// begin makes sure that a hub runs once, and not after Shutdown.
func (h *Hub) begin() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.state != stateNew || h.shutdown != nil {
		return ErrAlreadyRan
	}
	// Not yet running, but no longer new.
	h.state = stateStarting
	return nil
}

func (h *Hub) setState(s hubState) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.state = s
	h.carries.Store(s == stateRunning || s == stateDraining)
}

// startBackplane reports whether it has; the error beside false may be nil.
func (h *Hub) startBackplane(ctx context.Context) (started bool, err error) {
	if h.interest == nil {
		return true, nil
	}
	startCtx, cancel := context.WithTimeout(ctx, h.cfg.BackplaneTimeout)
	defer cancel()
	if err := h.cfg.Backplane.Start(startCtx, (*receiver)(h)); err != nil {
		closed := h.cfg.Backplane.Close()
		if ctx.Err() != nil {
			// It was told to end before it had begun.
			return false, closed
		}
		return false, errors.Join(fmt.Errorf("hub: starting the backplane: %w", err), closed)
	}
	h.interest.start()
	h.health.start()
	h.fleet.start()
	own := []*topic{h.fleet.control, h.interest.hold(wire.TopicBroadcast), h.interest.hold(Topic(wire.HubTopic(h.id)))}
	for _, t := range own {
		// So that nothing that comes from other hubs is missed from here on. A
		// broker that is away, or does not answer in time, is nobody's error.
		_, _ = h.interest.await(startCtx, t)
	}
	return true, nil
}

func (h *Hub) stopBackplane() error {
	if h.interest == nil {
		return nil
	}
	h.fleet.stop()
	h.health.stop()
	h.interest.stop()
	if err := h.cfg.Backplane.Close(); err != nil {
		return fmt.Errorf("hub: closing the backplane: %w", err)
	}
	return nil
}

// Shutdown makes Run drain and return, and waits for that. Clients get what
// waits for them and wire.CloseServiceRestart for as long as ctx allows;
// those that are left when it ends are cut off. It returns an error that wraps
// context.DeadlineExceeded when that happened, and nil when all left in peace.
// A hub that never ran can't run any more.
func (h *Hub) Shutdown(ctx context.Context) error {
	h.mu.Lock()
	if h.shutdown == nil {
		h.shutdown = ctx
		close(h.stop)
	}
	never := h.state == stateNew
	if never {
		h.state = stateClosed
		close(h.done)
		h.force()
	}
	h.mu.Unlock()
	select {
	case <-h.done:
	case <-ctx.Done():
		// Where another call's context, or Run's, was to decide, this one cuts
		// it short.
		h.force()
		<-h.done
	}
	if h.cut.Load() {
		return fmt.Errorf("hub: shutting down: clients were cut off: %w", context.DeadlineExceeded)
	}
	return nil
}

// Started returns a channel that is closed once the hub takes clients, a moment
// after Run was called. It stays open where Run fails, or the hub is shut down,
// before that. A program may start its HTTP server meanwhile: clients come back
// after a 503.
func (h *Hub) Started() <-chan struct{} { return h.started }

// Ready returns nil while the hub takes clients, and ErrNotRunning before and
// after. To wait for it, see Started.
func (h *Hub) Ready() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.state != stateRunning {
		return ErrNotRunning
	}
	return nil
}

// publishing reports whether messages can be published: until the last client
// is gone.
func (h *Hub) publishing() error {
	if !h.carries.Load() {
		return ErrNotRunning
	}
	return nil
}

// drain closes all clients, spread over time, and waits until they are gone. It
// cuts off those that are left when ctx ends.
func (h *Hub) drain(ctx context.Context) {
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		h.clients.Wait()
	}()
	h.closeSpread(ctx)
	select {
	case <-gone:
	case <-ctx.Done():
	case <-h.forced.Done():
	}
	h.force()
	select {
	case <-gone:
	default:
		h.cut.Store(true)
		for _, c := range h.roster.snapshot() {
			c.end(restart(h.cfg.DrainSpread))
		}
		<-gone
	}
}

// closeSpread begins the end of all clients, one after another.
func (h *Hub) closeSpread(ctx context.Context) {
	clients := h.roster.snapshot()
	spread := min(max(h.cfg.DrainSpread, 0), time.Duration(len(clients))*drainPace)
	h.cfg.Logger.Info("hub draining", slog.Int("clients", len(clients)), slog.Duration("spread", spread))
	began := time.Now()
	ticker := time.NewTicker(drainPace)
	defer ticker.Stop()
	for closed := 0; closed < len(clients); {
		due := len(clients)
		if elapsed := time.Since(began); elapsed < spread {
			due = min(due, 1+int(int64(due)*int64(elapsed)/int64(spread)))
		}
		for ; closed < due; closed++ {
			clients[closed].end(restart(spread))
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		case <-h.forced.Done():
			return
		}
	}
}

// drainPace is the time between the closes of a small hub.
const drainPace = 10 * time.Millisecond

// restart is the ending of a client whose hub goes away: it is to come back at
// a moment of its own within the spread.
func restart(spread time.Duration) ending {
	after := time.Duration(0)
	if spread > 0 {
		after = mathrand.N(spread)
	}
	return ending{
		reason: DisconnectedShutdown,
		code:   wire.CloseServiceRestart,
		text:   fmt.Sprintf(`{"reason":"restart","reconnectAfterMs":%d}`, after.Milliseconds()),
		flush:  true,
	}
}

// Handler returns the handler that upgrades requests to clients of this hub.
// See Config for what is checked. It answers 503 with Retry-After before Run
// and from the moment that the hub drains.
func (h *Hub) Handler() http.Handler { return http.HandlerFunc(h.serve) }
