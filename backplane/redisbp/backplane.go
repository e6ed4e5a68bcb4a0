package redisbp

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"forge.lthn.ai/core/go-ws/hub"
	"github.com/redis/go-redis/v9"
)

// Backplane joins hubs through Redis. It serves one hub, which starts and
// closes it. All methods may be called concurrently.
type Backplane struct {
	cfg     Config
	client  redis.UniversalClient
	cluster *redis.ClusterClient // nil without a Cluster
	single  *redis.Client        // nil with one
	owned   bool                 // the client is closed by Close
	names   names
	id      string // of this backplane's probes

	// maxPayload is cfg.MaxPayload, or what the server takes if that is less.
	maxPayload atomic.Int64
	warned     atomic.Bool // of settings

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	wait   sync.WaitGroup // links and what else runs
	// first is how the first attempt to connect ended; nil for well.
	first chan error
	// topology wakes the goroutine that follows a Cluster's, reload the one that
	// asks for it.
	topology, reload chan struct{}

	// Lock order: mu, then a lane's mu or that of signals. Neither is held
	// during a system call or a call of the receiver.
	mu       sync.Mutex
	phase    phase
	receiver hub.BackplaneReceiver
	signals  *signals
	parts    []*partition
	// liveParts counts the partitions that are live.
	liveParts int
	links     map[string]*link   // the newest, by the node's address
	all       map[*link]struct{} // those too that a newer one replaces
	changed   chan struct{}      // closed and replaced when partitions change hands
	closed    chan struct{}      // closed when Close is done
}

type phase uint8

const (
	phaseNew phase = iota
	phaseStarted
	phaseClosed
)

// startPatience is how long Start waits for the outcome of the first attempt.
const startPatience = time.Second

var _ hub.Backplane = (*Backplane)(nil)

// New makes a backplane. It checks the configuration and reaches no network. Its
// errors name the field that is wrong and never hold a password.
func New(cfg Config) (*Backplane, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	b := &Backplane{
		cfg: cfg, client: cfg.Client, id: rand.Text(),
		first: make(chan error, 1), topology: make(chan struct{}, 1), reload: make(chan struct{}, 1),
		links: make(map[string]*link), all: make(map[*link]struct{}), changed: make(chan struct{}), closed: make(chan struct{}),
	}
	if cfg.Client != nil {
		if err := checkClient(cfg.Client, cfg.DangerouslyAcceptClient); err != nil {
			return nil, err
		}
	} else {
		a, err := parseURL(cfg.URL, cfg.TLSConfig)
		if err != nil {
			return nil, fmt.Errorf("redisbp: Config.URL: %w", err)
		}
		b.client, b.owned = a.client(), true
	}
	b.cfg.URL = "" // it may hold a password
	b.cluster, _ = b.client.(*redis.ClusterClient)
	b.single, _ = b.client.(*redis.Client)
	b.names = names{prefix: cfg.Prefix}
	parts := 1
	if b.cluster != nil && !cfg.NoSharding {
		parts = cfg.Partitions
		b.names.partitions = parts
	}
	for i := range parts {
		b.parts = append(b.parts, &partition{index: i, wanted: make(map[string]hub.Topic)})
	}
	b.maxPayload.Store(int64(cfg.MaxPayload))
	b.ctx, b.cancel = context.WithCancel(context.Background())
	return b, nil
}

// Start begins to connect and waits for the outcome of the first attempt, at
// most for a second. An error says that Redis refuses what is configured (the
// password, the rights of the user), or with Config.RequireBroker that it can't
// be reached; the backplane is then closed. Otherwise it goes on trying for
// ever, and calls Restored once it has its broker.
func (b *Backplane) Start(ctx context.Context, r hub.BackplaneReceiver) error {
	if err := b.begin(ctx, r); err != nil {
		return err
	}
	var patience <-chan time.Time
	if !b.cfg.RequireBroker {
		timer := time.NewTimer(startPatience)
		defer timer.Stop()
		patience = timer.C
	}
	var err error
	select {
	case err = <-b.first:
		if !b.cfg.RequireBroker && !refused(err) {
			err = nil
		}
	case <-patience:
	case <-ctx.Done():
		if b.cfg.RequireBroker {
			err = ctx.Err()
		}
	}
	if err == nil {
		return nil
	}
	return errors.Join(fmt.Errorf("redisbp: start: %w", err), b.Close())
}

func (b *Backplane) begin(ctx context.Context, r hub.BackplaneReceiver) error {
	if r == nil {
		return errors.New("redisbp: start: no receiver")
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("redisbp: start: %w", err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	switch b.phase {
	case phaseClosed:
		return errors.New("redisbp: start: closed")
	case phaseStarted:
		return errors.New("redisbp: start: started before")
	}
	b.phase, b.receiver, b.signals = phaseStarted, r, newSignals(r)
	b.wait.Go(func() { b.signals.run(b.ctx) })
	if b.cluster != nil {
		b.wait.Go(b.followCluster)
		b.wait.Go(b.reloadCluster)
		return nil
	}
	l := b.linkLocked(b.single)
	for _, p := range b.parts {
		p.link, p.owner = l, l
	}
	l.start()
	return nil
}

// attempted takes note of how an attempt to connect ended.
func (b *Backplane) attempted(err error) {
	select {
	case b.first <- err:
	default:
	}
}

// Abilities of this backplane: none yet.
func (b *Backplane) Abilities() hub.Abilities { return hub.Abilities{} }

// Close ends the backplane and waits until nothing of it runs. With a client of
// the user's, a publication that is under way to a server that does not answer
// holds it up for the client's ReadTimeout.
func (b *Backplane) Close() error {
	b.mu.Lock()
	if b.phase == phaseClosed {
		b.mu.Unlock()
		<-b.closed
		return nil
	}
	b.phase = phaseClosed
	b.cancel()
	links := make([]*link, 0, len(b.all))
	for l := range b.all {
		l.stopLocked()
		links = append(links, l)
	}
	b.mu.Unlock()

	var err error
	if b.owned {
		// What is under way on its connections ends with them.
		if err = b.client.Close(); err != nil {
			err = fmt.Errorf("redisbp: close: %w", err)
		}
	}
	for _, l := range links {
		l.wait.Wait()
	}
	b.wait.Wait()
	close(b.closed)
	return err
}

// usableLocked says what keeps the backplane from being used, if anything does.
func (b *Backplane) usableLocked(doing string) error {
	switch b.phase {
	case phaseClosed:
		return fmt.Errorf("redisbp: %s: closed: %w", doing, hub.ErrUnavailable)
	case phaseNew:
		return fmt.Errorf("redisbp: %s: not started: %w", doing, hub.ErrUnavailable)
	}
	return nil
}
