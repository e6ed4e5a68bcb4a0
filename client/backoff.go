package client

import (
	"math"
	"math/rand/v2"
	"time"
)

// backoff says how long to wait before the next attempt. It is one goroutine's.
type backoff struct {
	initial, max time.Duration
	multiplier   float64
	maxServer    time.Duration
	// draw returns a duration from zero up to the limit; nil without jitter.
	draw func(limit time.Duration) time.Duration

	// retries since the last connection that lasted.
	retries int
	// renewed: the last delay was none, for new credentials.
	renewed bool
}

func newBackoff(c *ReconnectConfig, draw func(time.Duration) time.Duration) *backoff {
	b := &backoff{
		initial: c.InitialBackoff, max: c.MaxBackoff, multiplier: c.BackoffMultiplier,
		maxServer: c.MaxServerDelay, draw: draw,
	}
	if c.DisableJitter {
		b.draw = nil
	}
	return b
}

// fullJitter is any duration from zero to the limit.
func fullJitter(limit time.Duration) time.Duration { return rand.N(limit + 1) }

// ceiling is the longest delay before the n-th retry, counted from 1.
func (b *backoff) ceiling(n int) time.Duration {
	d := float64(b.initial) * math.Pow(b.multiplier, float64(n-1))
	if d >= float64(b.max) { // infinity too
		return b.max
	}
	return time.Duration(d)
}

// next counts a retry and returns how long to wait before it.
func (b *backoff) next(v verdict) time.Duration {
	b.retries++
	again := b.renewed
	b.renewed = v.credentials && !again
	limit := b.ceiling(b.retries)
	delay := limit
	if b.draw != nil {
		delay = b.draw(limit)
	}
	asked := min(v.delay, b.maxServer)
	switch {
	case b.renewed:
		// Once: a server that calls everything expired must not be hammered.
		return 0
	case v.hinted:
		// The server has spread its clients already.
		return asked
	case asked == 0:
		return delay
	case b.draw != nil:
		// Many were told the same, so the delay spreads them behind it.
		return asked + delay
	}
	return max(asked, delay)
}

// lasted begins anew: the connection was good.
func (b *backoff) lasted() { b.retries, b.renewed = 0, false }
