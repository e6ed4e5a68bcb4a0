package netfault

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

// Mode is what a frozen proxy does with the bytes that come in.
type Mode int

const (
	// Hold keeps the bytes, and the ends of connections too, and hands them on
	// after Thaw: a peer that is stopped, or a network that is away for less
	// than TCP's patience. Once buffers are full, writers block.
	Hold Mode = iota + 1
	// Swallow throws the bytes away: a network that does not come back for
	// these connections. Since no stream has holes, Thaw resets each connection
	// that has lost something, and those that were made meanwhile.
	Swallow
)

// Stats are a proxy's figures at one moment.
type Stats struct {
	// Open connections now.
	Open int
	// Accepted counts connections that were taken, Refused those that RefuseNew
	// turned away, Failed those of Accepted whose target could not be reached.
	Accepted, Refused, Failed int64
	// Cut counts connections that Cut, Reset and Thaw have ended.
	Cut int64
	// Up counts bytes handed on to the target, Down those handed on to clients.
	Up, Down int64
	// Held counts bytes that came in while the proxy held them back, whether
	// handed on since or not, Swallowed those that were thrown away.
	Held, Swallowed int64
}

// Proxy hands on TCP connections to a target. All methods may be called
// concurrently. Faults stay until they are taken back and hold for connections
// that are there and those that come.
type Proxy struct {
	listener net.Listener
	ctx      context.Context
	cancel   context.CancelFunc
	wait     sync.WaitGroup

	mu      sync.Mutex
	target  string
	frozen  Mode          // zero: it is not
	thawed  chan struct{} // closed by Thaw; of the present freeze
	delay   time.Duration
	refuse  bool
	closed  bool
	conns   map[*conn]struct{}
	stats   Stats
	changed chan struct{} // closed at the next change; nil where nobody waits
}

// Listen makes a proxy on a free port of 127.0.0.1. The target need not be
// there yet. Close ends it.
func Listen(target string) (*Proxy, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("netfault: listening: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	p := &Proxy{listener: listener, target: target, ctx: ctx, cancel: cancel, conns: make(map[*conn]struct{})}
	p.wait.Go(p.accept)
	return p, nil
}

// Addr is where clients connect to, as host:port.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// SetTarget sends connections that come from now on to another address.
func (p *Proxy) SetTarget(addr string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.target = addr
}

// Cut closes all connections on both sides, and returns how many when nothing
// of them is left. The peers see an end of file, or a reset where they had sent
// what was not read yet. New connections are taken as before.
func (p *Proxy) Cut() int { return p.end(false) }

// Reset is Cut by a TCP reset on both sides, for sure.
func (p *Proxy) Reset() int { return p.end(true) }

// Freeze makes all connections silent: nothing passes any more, and neither
// does an end of a connection. New ones are accepted and silent too; together
// with RefuseNew they are turned away. What is being written at this moment may
// still pass. Freezing what is frozen changes the mode.
func (p *Proxy) Freeze(m Mode) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.frozen == 0 {
		p.thawed = make(chan struct{})
	}
	p.frozen = m
	p.changedLocked()
}

// Thaw ends Freeze. It returns when the connections that cannot go on are gone.
func (p *Proxy) Thaw() {
	p.mu.Lock()
	var ended []*conn
	if p.frozen != 0 {
		// At once with the thaw: what breaks is known by now.
		ended = p.endLocked(true, func(c *conn) bool { return c.broken })
		p.frozen = 0
		close(p.thawed)
		p.changedLocked()
	}
	p.mu.Unlock()
	await(ended)
}

// Delay holds each byte back for d, in both directions, and does not make the
// stream narrower. Zero ends it.
func (p *Proxy) Delay(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.delay = d
}

// RefuseNew resets connections as soon as they are accepted, until it is called
// with false: the client's dial fails, or what it does next. Those that are
// there stay.
func (p *Proxy) RefuseNew(refuse bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refuse = refuse
}

// Stats returns the figures.
func (p *Proxy) Stats() Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stats
}

// Wait returns nil once the figures fulfil the condition, or the context's
// error. The condition is called with the proxy locked and must not call it.
func (p *Proxy) Wait(ctx context.Context, condition func(Stats) bool) error {
	for {
		p.mu.Lock()
		if condition(p.stats) {
			p.mu.Unlock()
			return nil
		}
		if p.changed == nil {
			p.changed = make(chan struct{})
		}
		changed, stats := p.changed, p.stats
		p.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("netfault: waiting, figures are %+v: %w", stats, ctx.Err())
		}
	}
}

// Close ends the proxy and all connections, and returns when nothing of it
// runs. It may be called more than once.
func (p *Proxy) Close() error {
	p.mu.Lock()
	first := !p.closed
	p.closed = true
	p.mu.Unlock()
	var err error
	if first {
		p.cancel()
		err = p.listener.Close()
		p.Cut()
	}
	p.wait.Wait()
	return err
}

func (p *Proxy) accept() {
	for {
		c, err := p.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue // the client has gone meanwhile
		}
		p.take(c.(*net.TCPConn))
	}
}

// take begins to serve a connection, or turns it away.
func (p *Proxy) take(client *net.TCPConn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || p.refuse {
		p.stats.Refused++
		p.changedLocked()
		reset(client)
		return
	}
	c := &conn{proxy: p, client: client, over: make(chan struct{}), gone: make(chan struct{})}
	c.ctx, c.cancel = context.WithCancel(p.ctx)
	c.broken = p.frozen == Swallow
	p.conns[c] = struct{}{}
	p.stats.Accepted++
	p.stats.Open++
	p.changedLocked()
	p.wait.Go(c.serve)
}

// end closes all connections and waits for them.
func (p *Proxy) end(hard bool) int {
	p.mu.Lock()
	ended := p.endLocked(hard, func(*conn) bool { return true })
	p.mu.Unlock()
	await(ended)
	return len(ended)
}

func (p *Proxy) endLocked(hard bool, which func(*conn) bool) []*conn {
	var ended []*conn
	for c := range p.conns {
		if which(c) && c.shutLocked(hard) {
			ended = append(ended, c)
			p.stats.Cut++
		}
	}
	p.changedLocked()
	return ended
}

func await(ended []*conn) {
	for _, c := range ended {
		<-c.gone
	}
}

func (p *Proxy) changedLocked() {
	if p.changed != nil {
		close(p.changed)
		p.changed = nil
	}
}

// reset closes a connection by a TCP reset.
func reset(c *net.TCPConn) {
	_ = c.SetLinger(0) // fails only where it is closed already
	_ = c.Close()
}
