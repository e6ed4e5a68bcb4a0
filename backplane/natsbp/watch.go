package natsbp

import (
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
)

// watch is the goroutine that decides whether the backplane has its server, and
// the only one that says so to the hub. It never calls what takes the client's
// lock: while a connection is silent that lock may be held for seconds.
type watch struct {
	b      *Backplane
	nc     *nats.Conn
	status chan nats.Status

	// The probe.
	arrived uint64 // what had come in at the last tick
	silence silence

	// What was dropped.
	reported uint64
	losing   bool // the hub was told Disrupted for it, and not Restored since
	retrying atomic.Bool
}

// silence is how long a probe has not come back. It counts ticks beside time: of
// time in which this process did not run, since its machine was stopped or gave
// the cores to others, the connection is not to blame.
type silence struct {
	since time.Time // when the probe was sent; zero: there is none
	ticks int
}

// tick reports whether the probe has been away for the patience.
func (s *silence) tick(now time.Time, interval, patience time.Duration) bool {
	s.ticks++
	return now.Sub(s.since) >= patience && time.Duration(s.ticks)*interval >= patience
}

// attachment is a new connection.
type attachment struct {
	nc     *nats.Conn
	status chan nats.Status
}

// settlement says how the subscriptions of a session are, unless the connection
// has ended since control began to see to them.
type settlement struct {
	session *session
	downs   uint64
	err     error // nil: all are live
	// seen is closed when watch has decided: control would make another
	// session before.
	seen chan struct{}
}

var errClosed = errors.New("closed")

func (w *watch) run() {
	b := w.b
	interval := b.cfg.ProbeInterval
	if interval <= 0 {
		interval = defaultProbeInterval // there is more to do than probing
	}
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case <-b.ctx.Done():
			w.end(errClosed)
			w.detach()
			return
		case a := <-b.attached:
			w.detach()
			w.nc, w.status = a.nc, a.status
		case status := <-w.status:
			w.see(status)
		case s := <-b.settled:
			w.settle(s)
		case <-b.in.losing:
			if !w.losing {
				w.reportDrops()
			}
		case <-tick.C:
			w.look()
		}
	}
}

func (w *watch) detach() {
	if w.nc != nil {
		// It takes the client's lock, which may take a while.
		nc, status := w.nc, w.status
		w.b.wait.Go(func() { nc.RemoveStatusListener(status) })
	}
	w.nc, w.status = nil, nil
}

// see takes the client's word about the connection. A channel that the client
// has closed says nothing.
func (w *watch) see(status nats.Status) {
	b := w.b
	switch status {
	case nats.CONNECTED:
	case nats.RECONNECTING, nats.DISCONNECTED, nats.CLOSED:
		w.down(errors.New("the connection was lost"))
	}
	b.lookAgain()
}

// down ends what there is.
func (w *watch) down(err error) {
	w.b.downs.Add(1)
	if w.end(err) && w.b.ctx.Err() == nil { // Close ends the connection too
		w.losing = false
		w.b.receiver.Disrupted(fmt.Errorf("natsbp: %w", err))
	}
}

// end ends the session, if there is one.
func (w *watch) end(err error) bool {
	b := w.b
	b.mu.Lock()
	s := b.session
	b.session = nil
	b.mu.Unlock()
	if s == nil {
		return false
	}
	s.err = err
	close(s.ended)
	return true
}

// settle begins a session.
func (w *watch) settle(set settlement) {
	defer close(set.seen)
	b := w.b
	// What the client has said since comes first.
	for more := true; more; {
		select {
		case status := <-w.status:
			w.see(status)
		default:
			more = false
		}
	}
	if set.downs != b.downs.Load() {
		b.lookAgain()
		return
	}
	if b.current() != set.session {
		w.begin(set.session)
	}
	if set.err != nil {
		b.receiver.Disrupted(fmt.Errorf("natsbp: %w", set.err))
		return
	}
	w.losing = false
	b.receiver.Restored()
	b.firstResult(nil)
}

func (w *watch) begin(s *session) {
	b := w.b
	if w.end(errMoved) { // its end was not told: the client's channel was full
		b.receiver.Disrupted(fmt.Errorf("natsbp: %w", errMoved))
	}
	b.mu.Lock()
	b.session = s
	b.mu.Unlock()
	b.sessions.Add(1)
	w.arrived, w.silence = b.in.arrived.Load(), silence{}
}

// look is what is done at every tick.
func (w *watch) look() {
	b := w.b
	b.recountSlow()
	w.lookAtDrops()
	s := b.current()
	if s == nil {
		b.lookAgain()
		return
	}
	if b.probing.Load() {
		w.probe(s)
	}
}

// probe sees to it that something comes in.
func (w *watch) probe(s *session) {
	b := w.b
	arrived := b.in.arrived.Load()
	switch {
	case arrived != w.arrived:
		w.arrived, w.silence = arrived, silence{}
	case w.silence.since.IsZero():
		w.silence.since = time.Now()
		b.sendProbe(s)
	case w.silence.tick(time.Now(), b.cfg.ProbeInterval, b.cfg.ProbeTimeout):
		w.silence = silence{}
		w.down(fmt.Errorf("nothing came in for %v, a probe neither: connecting anew", b.cfg.ProbeTimeout))
		w.reconnect(s.nc)
	}
}

// reconnect makes the client connect anew.
func (w *watch) reconnect(nc *nats.Conn) {
	if w.b.dialer != nil {
		w.b.dialer.cut()
		return
	}
	if !w.retrying.CompareAndSwap(false, true) {
		return
	}
	w.b.wait.Go(func() {
		defer w.retrying.Store(false)
		if err := nc.ForceReconnect(); err != nil {
			w.b.cfg.Logger.Warn("natsbp: reconnecting failed", slog.Any("error", err))
		}
	})
}

// lookAtDrops reports more drops, and their end.
func (w *watch) lookAtDrops() {
	b := w.b
	switch {
	case b.in.dropped.Load() > w.reported:
		w.reportDrops()
	case w.losing && b.settledDown():
		w.losing = false
		if b.current() != nil {
			b.receiver.Restored()
		}
	}
}

// reportDrops tells the hub, at once for the first ones and once a tick for
// those that follow.
func (w *watch) reportDrops() {
	dropped := w.b.in.dropped.Load()
	n := dropped - w.reported
	if n == 0 {
		return
	}
	w.reported, w.losing = dropped, true
	w.b.receiver.Disrupted(fmt.Errorf("natsbp: %d publications dropped: the hub does not keep up, PendingMessages or PendingBytes are full", n))
}
