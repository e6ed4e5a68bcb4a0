package natsbp

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"

	"forge.lthn.ai/core/go-ws/hub"
)

// control is the goroutine that has the client: it connects, subscribes and
// unsubscribes. It may be held up by the client for seconds.
type control struct {
	b     *Backplane
	nc    *nats.Conn         // nil: none, or closed for good
	probe *nats.Subscription // of nc
	done  chan struct{}      // closed when nc's last callback was called; nil for a program's connection
	retry *time.Timer        // when to look again unasked
	asked time.Time          // when the server refused topics that it had before; zero: it did not
	told  time.Time          // when an outage was logged last

	refusals mark // up to which they were looked at
}

const (
	// settlePatience bounds the round trip that makes subscriptions live.
	settlePatience = 5 * time.Second
	// retryRefused is how long after the server refused a topic that it had
	// before it is asked again.
	retryRefused = 5 * time.Second
	// logEvery bounds how often an outage is logged.
	logEvery = time.Minute
)

func (c *control) run() {
	b := c.b
	c.retry = time.NewTimer(0)
	defer c.retry.Stop()
	defer c.leave()
	for {
		select {
		case <-b.ctx.Done():
			return
		case <-b.poke:
		case <-c.retry.C:
		}
		if c.nc == nil && !c.connect() {
			continue
		}
		c.serve(b.takeRequests())
		if s := b.current(); s != nil {
			c.askAgain(s)
			continue
		}
		if c.nc.IsClosed() {
			c.lose()
			continue
		}
		if c.nc.IsConnected() {
			c.settle()
		}
	}
}

// again makes run look once more.
func (c *control) again(after time.Duration) { c.retry.Reset(after) }

// connect makes one attempt. What is to be left is forgotten meanwhile.
func (c *control) connect() bool {
	b := c.b
	if b.cfg.Conn != nil {
		b.chainErrorHandler(b.cfg.Conn)
		c.attach(b.cfg.Conn)
		return true
	}
	done := make(chan struct{})
	options := b.options
	theirs := options.ClosedCB
	options.ClosedCB = func(nc *nats.Conn) {
		if theirs != nil {
			theirs(nc)
		}
		close(done)
	}
	nc, err := options.Connect()
	if err != nil {
		c.away(err)
		b.firstResult(err)
		b.forgetRequests()
		c.again(reconnectDelay(5))
		return false
	}
	c.done = done
	c.attach(nc)
	return true
}

// attach takes a connection and hands it to watch.
func (c *control) attach(nc *nats.Conn) {
	c.nc, c.probe = nc, nil
	a := attachment{nc: nc, status: nc.StatusChanged(nats.CONNECTED, nats.RECONNECTING, nats.DISCONNECTED, nats.CLOSED)}
	select {
	case c.b.attached <- a:
	case <-c.b.ctx.Done():
		nc.RemoveStatusListener(a.status)
	}
	if !nc.IsConnected() {
		c.b.firstResult(nats.ErrDisconnected)
	}
}

// away logs an outage, once in a while.
func (c *control) away(err error) {
	if time.Since(c.told) < logEvery || c.b.ctx.Err() != nil {
		return
	}
	c.told = time.Now()
	c.b.cfg.Logger.Warn("natsbp: no server, trying on", slog.Any("error", explain(err)))
}

// lose gives up a connection that the client has closed for good, which it does
// after errors that the server calls fatal, and where the server refused the
// credentials twice.
func (c *control) lose() {
	b := c.b
	err := c.nc.LastError()
	if err == nil {
		err = nats.ErrConnectionClosed
	}
	c.away(err)
	b.forgetRequests()
	if b.cfg.Conn != nil {
		b.firstResult(err)
		return // it is the program's, nothing can be done
	}
	c.await()
	c.nc = nil
	c.again(reconnectDelay(5))
}

// leave gives the connection back, or closes it.
func (c *control) leave() {
	b := c.b
	b.forgetRequests()
	if c.nc == nil {
		return
	}
	if b.cfg.Conn == nil {
		c.nc.Close()
		c.await()
		return
	}
	for _, e := range b.clearTopics() {
		if e.sub != nil {
			_ = e.sub.Unsubscribe() // fails only where the connection is closed
		}
	}
	if c.probe != nil {
		_ = c.probe.Unsubscribe()
	}
}

// await waits until the client has called its last callback.
func (c *control) await() {
	if c.done != nil {
		<-c.done
	}
}

// settle makes a session: it waits until the server has all subscriptions.
func (c *control) settle() {
	c.bring(&session{nc: c.nc, generation: c.nc.Stats().Reconnects, ended: make(chan struct{})})
}

// askAgain subscribes anew, after a while, to topics that the server refused
// when the connection had come back.
func (c *control) askAgain(s *session) {
	if c.asked.IsZero() {
		return
	}
	if wait := retryRefused - time.Since(c.asked); wait > 0 {
		c.again(wait)
		return
	}
	c.bring(s)
}

// bring makes all subscriptions live, and tells watch.
func (c *control) bring(s *session) {
	b := c.b
	downs := b.downs.Load()
	// What the client has subscribed anew by itself may have been refused by now.
	m := c.refusals
	if err := c.subscribeAll(); err != nil {
		c.away(err)
		c.again(time.Second)
		return
	}
	if b.cfg.ProbeInterval > 0 {
		// So that its being refused is known before it counts.
		_ = c.nc.Publish(b.probe, nil) // flush tells
	}
	switch err := s.flush(settlePatience); {
	case errors.Is(err, errUnconfirmed):
		c.reconnect()
		c.away(err)
		c.again(time.Second)
		return
	case err != nil:
		c.away(err)
		c.again(100 * time.Millisecond)
		return
	}
	refused, err := b.refusedSince(&m, s, true)
	if err != nil {
		c.away(err)
		c.again(time.Second)
		return
	}
	c.refusals = m
	again := !c.asked.IsZero()
	err = c.refuse(refused)
	if err == nil {
		c.asked = time.Time{}
	} else {
		c.asked = time.Now()
		c.again(retryRefused)
		if again && b.current() == s {
			return // they know
		}
	}
	if b.current() != s {
		b.checkProbe(refused)
		c.inspect(s)
		c.told = time.Time{}
	}
	set := settlement{session: s, downs: downs, err: err, seen: make(chan struct{})}
	select {
	case b.settled <- set:
		<-set.seen
	case <-b.ctx.Done():
	}
}

// reconnect makes the client connect anew.
func (c *control) reconnect() {
	if c.b.dialer != nil {
		c.b.dialer.cut()
		return
	}
	_ = c.nc.ForceReconnect() // fails only where it is closed
}

// subscribeAll subscribes to whatever the present connection does not have: all
// on a new one, and what the server has refused.
func (c *control) subscribeAll() error {
	b := c.b
	if c.probe == nil {
		sub, err := c.nc.ChanSubscribe(b.probe, b.in.messages)
		if err != nil {
			return err
		}
		c.probe = sub
	}
	for _, e := range b.allTopics() {
		if e.nc != c.nc || e.refused != nil {
			if err := c.join(e); err != nil {
				return err
			}
		}
	}
	return nil
}

// join subscribes to one topic; the server does not know yet.
func (c *control) join(e *entry) error {
	b := c.b
	subject, err := b.subjects.of(e.name)
	if err != nil {
		return err
	}
	c.drop(e)
	sub, err := c.nc.ChanSubscribe(subject, b.in.messages)
	if err != nil {
		return err
	}
	e.nc, e.refused = c.nc, nil
	b.mu.Lock()
	e.sub = sub
	b.mu.Unlock()
	return nil
}

// drop ends a topic's subscription.
func (c *control) drop(e *entry) {
	if e.sub != nil && e.nc == c.nc {
		_ = e.sub.Unsubscribe() // fails only where there is none any more
	}
}

// refuse marks the topics that the server has refused, and returns an error if
// there are any.
func (c *control) refuse(refused refusedSince) error {
	if err := refused.limit(); err != nil {
		for _, e := range c.b.allTopics() {
			e.refused = err // it may be any of them
		}
		return fmt.Errorf("subscribing anew: %w", err)
	}
	var first error
	n := 0
	for _, e := range c.b.allTopics() {
		if e.sub == nil {
			continue
		}
		if err := refused.of(refusedSubscribe, e.sub.Subject); err != nil {
			e.refused = err
			n++
			first = err
		}
	}
	if n == 0 {
		return nil
	}
	return fmt.Errorf("the server refuses %d topics, among them: %w", n, first)
}

// checkProbe turns probing off where the server refuses it.
func (b *Backplane) checkProbe(refused refusedSince) {
	err := refused.of(refusedSubscribe, b.probe)
	if err == nil {
		err = refused.of(refusedPublish, b.probe)
	}
	b.probing.Store(b.cfg.ProbeInterval > 0 && err == nil)
	if err != nil {
		b.cfg.Logger.Warn("natsbp: the server refuses the probe: a connection that has died is found by NATS's pings only, later. Allow publishing and subscribing to "+b.cfg.Prefix+".>",
			slog.Any("error", err))
	}
}

// permanent reports whether a failure to connect will stay as long as nobody
// changes the configuration, here or there.
func permanent(err error) bool {
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return true
	}
	for _, e := range []error{
		nats.ErrAuthorization, nats.ErrAuthExpired, nats.ErrAuthRevoked, nats.ErrAccountAuthExpired,
		nats.ErrNkeyAndUser, nats.ErrNkeyButNoSigCB, nats.ErrUserButNoSigCB, nats.ErrNkeysNotSupported,
		nats.ErrTokenAlreadySet, nats.ErrUserInfoAlreadySet,
		nats.ErrSecureConnRequired, nats.ErrSecureConnWanted, fs.ErrNotExist, fs.ErrPermission,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// explain says what the client's errors leave out.
func explain(err error) error {
	switch {
	case errors.Is(err, nats.ErrAuthorization), errors.Is(err, nats.ErrAuthExpired),
		errors.Is(err, nats.ErrAuthRevoked), errors.Is(err, nats.ErrAccountAuthExpired):
		return fmt.Errorf("the server refuses the credentials: %w", err)
	case errors.Is(err, nats.ErrNoServers), errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("no server answers: %w: %w", err, hub.ErrUnavailable)
	}
	return err
}
