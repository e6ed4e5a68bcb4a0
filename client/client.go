package client

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// ReconnectingClient is a client of a hub that keeps connected. All methods may
// be called concurrently, from handlers and callbacks too. A client runs once:
// New, then Run or Connect, and it is over.
type ReconnectingClient struct {
	cfg    ReconnectConfig
	log    *slog.Logger
	events announcer
	inbox  *mailbox // of OnMessage; nil without one

	// wall is the wall clock, which goes on while the machine sleeps.
	wall func() time.Time
	// draw is fullJitter.
	draw func(limit time.Duration) time.Duration

	first    chan struct{} // closed by the first connection
	stopped  chan struct{} // closed when nothing of the client runs but callbacks
	finished chan struct{} // closed when those have returned too
	wake     chan struct{} // has a token while there may be something to write
	asking   chan struct{} // has a token while Credentials is being called
	// callbacks are the goroutines that run the application's code. They are
	// begun by the client's own goroutines alone.
	callbacks sync.WaitGroup

	// Set by start, before any goroutine.
	life     context.Context // ends with Run's context and by Close
	end      context.CancelCauseFunc
	handlers context.Context // what handlers get

	mu       sync.Mutex
	started  bool
	closed   error // why calls fail; set once
	why      error // what Run returns; set before finished is closed
	state    ConnectionState
	session  *session // the present connection
	lastID   uint64
	channels map[string]*channelState
	dirty    []string // channels of which the hub is to be told something
	queue    queue
	requests map[uint64]*entry // sent on the present connection, without an answer yet
}

// ConnectionState says whether there is a connection.
type ConnectionState int

const (
	// StateDisconnected: there is none, and no attempt is under way. It may be
	// waiting for the next one.
	StateDisconnected ConnectionState = iota
	// StateConnecting: an attempt is under way.
	StateConnecting
	// StateConnected: the server has taken the connection.
	StateConnected
)

func (s ConnectionState) String() string {
	switch s {
	case StateDisconnected:
		return "disconnected"
	case StateConnecting:
		return "connecting"
	case StateConnected:
		return "connected"
	}
	return fmt.Sprintf("ConnectionState(%d)", int(s))
}

// New makes a client. It fails where the configuration can't work, with an error
// that names the field.
func New(cfg ReconnectConfig) (*ReconnectingClient, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	c := &ReconnectingClient{
		cfg:      cfg,
		log:      cfg.Logger,
		wall:     func() time.Time { return time.Now().Round(0) },
		draw:     fullJitter,
		first:    make(chan struct{}),
		stopped:  make(chan struct{}),
		finished: make(chan struct{}),
		wake:     make(chan struct{}, 1),
		asking:   make(chan struct{}, 1),
		channels: make(map[string]*channelState),
		requests: make(map[uint64]*entry),
	}
	c.events.owner = c
	if cfg.OnMessage != nil {
		c.inbox = &mailbox{owner: c, handle: cfg.OnMessage}
	}
	return c, nil
}

// Run connects, and keeps connected until ctx ends, Close is called, the server
// says that coming back is in vain, or MaxRetries are used up. It returns why:
// ctx's error, ErrClosed, or an error that wraps ErrRefused or
// ErrTooManyRetries. When it has returned nothing that the client has started is
// left: it waits for handlers and callbacks that run, whose context has ended.
// At a refusal, what waits for handlers is handled first.
func (c *ReconnectingClient) Run(ctx context.Context) error {
	if err := c.start(ctx); err != nil {
		return err
	}
	<-c.finished
	return c.why
}

// Connect does in the background what Run does, until Close, and returns nil
// when the first connection is there. Where ctx ends before, or the client, it
// returns the reason, and the client is closed. Later Wait tells why the client
// ended, and OnError is told of it.
func (c *ReconnectingClient) Connect(ctx context.Context) error {
	if err := c.start(context.WithoutCancel(ctx)); err != nil {
		return err
	}
	select {
	case <-c.first:
		return nil
	case <-c.stopped:
	case <-ctx.Done():
		_ = c.Close()
	}
	select {
	case <-c.first: // in this moment, or over already
		if ctx.Err() == nil {
			return nil
		}
	default:
	}
	if ctx.Err() != nil {
		return fmt.Errorf("client: connecting: %w", ctx.Err())
	}
	return c.reason()
}

// Wait waits until the client has ended and nothing of it runs any more,
// handlers and callbacks included, and returns what Run returns. Not to be
// called from those.
func (c *ReconnectingClient) Wait(ctx context.Context) error {
	select {
	case <-c.finished:
		return c.why
	case <-ctx.Done():
		return fmt.Errorf("client: waiting for the end: %w", ctx.Err())
	}
}

// Close ends the client, with a closing handshake that is given 2 s at most. It
// may be called at any time, by handlers and callbacks too. When it has returned
// nothing of the client runs any more but those of them that ran when it was
// called; no handler is called any more. OnDisconnect and OnStateChange are still
// told, and Wait waits for them. It always returns nil.
func (c *ReconnectingClient) Close() error {
	c.mu.Lock()
	if c.closed == nil {
		c.closed = ErrClosed
	}
	started := c.started
	var unsent []*entry
	if !started {
		// Nothing runs, and nothing will.
		c.started = true
		c.why = ErrClosed
		unsent = c.queue.takeAll()
		close(c.stopped)
		close(c.finished)
	}
	c.mu.Unlock()
	for _, e := range unsent {
		e.sent <- ErrClosed
	}
	if started && c.end != nil {
		c.end(ErrClosed)
		<-c.stopped
		c.dropDeliveries() // after a refusal some may wait still
	}
	return nil
}

// State says whether there is a connection at the moment.
func (c *ReconnectingClient) State() ConnectionState {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state
}

// start begins the client's life.
func (c *ReconnectingClient) start(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed != nil {
		return c.closed
	}
	if c.started {
		return errors.New("client: it has been started already")
	}
	c.started = true
	c.life, c.end = context.WithCancelCause(ctx)
	c.handlers = c.life
	go c.run()
	return nil
}

// reason is why the client has ended.
func (c *ReconnectingClient) reason() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.why
}

// run is the client's own goroutine.
func (c *ReconnectingClient) run() {
	why := c.keepConnected()
	c.finish(why)
	if c.life.Err() != nil {
		c.dropDeliveries()
	}
	close(c.stopped)
	// After a refusal handlers see what came before it, unless Close hurries them.
	hurried := make(chan struct{})
	stop := context.AfterFunc(c.life, func() {
		defer close(hurried)
		c.dropDeliveries()
	})
	c.callbacks.Wait()
	if !stop() {
		<-hurried
	}
	c.end(why)
	close(c.finished)
}

// finish makes all later calls fail.
func (c *ReconnectingClient) finish(why error) {
	asked := c.life.Err() != nil
	c.mu.Lock()
	c.why = why
	if c.closed == nil {
		c.closed = ErrClosed
	}
	if !errors.Is(why, ErrClosed) {
		c.closed = fmt.Errorf("%w: %w", ErrClosed, why)
	}
	failed := c.queue.takeAll()
	closed := c.closed
	for _, state := range c.channels {
		state.stopRetry()
	}
	c.mu.Unlock()
	for _, e := range failed {
		e.sent <- closed
	}
	if asked {
		c.log.Info("client ended", "url", safeURL(c.cfg.URL))
	} else {
		c.log.Error("client ended", "url", safeURL(c.cfg.URL), "error", why)
		c.report(why)
	}
}

// dropDeliveries leaves out what waits for handlers.
func (c *ReconnectingClient) dropDeliveries() {
	c.mu.Lock()
	boxes := make([]*mailbox, 0, len(c.channels)+1)
	for _, state := range c.channels {
		if state.want != nil {
			boxes = append(boxes, state.want.box)
		}
	}
	c.mu.Unlock()
	if c.inbox != nil {
		boxes = append(boxes, c.inbox)
	}
	for _, box := range boxes {
		box.close()
	}
}

// report tells OnError.
func (c *ReconnectingClient) report(err error) {
	if c.cfg.OnError == nil {
		return
	}
	c.events.pushError(func(left int) {
		if left > 0 {
			err = fmt.Errorf("%w (%d errors before it were left out)", err, left)
		}
		c.cfg.OnError(err)
	})
}

// setState sets the state beside the present connection, and tells
// OnStateChange. Only the client's own goroutine does.
func (c *ReconnectingClient) setState(state ConnectionState, s *session) {
	c.mu.Lock()
	changed := c.state != state
	c.state, c.session = state, s
	if s != nil {
		c.resumeLocked()
	}
	c.mu.Unlock()
	if f := c.cfg.OnStateChange; changed && f != nil {
		c.events.push(func() { f(state) })
	}
}

// poke wakes the writer.
func (c *ReconnectingClient) poke() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}
