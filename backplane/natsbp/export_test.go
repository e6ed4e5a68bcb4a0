package natsbp

import (
	"time"

	"github.com/nats-io/nats.go"
)

// Escape and Unescape are what turns topics into tokens of subjects.
var (
	Escape   = escape
	Unescape = unescape
)

// LongestSubject is the longest that a topic can need.
const LongestSubject = maxPrefix + 1 + 3*maxTopic

// ReconnectDelay is the wait between attempts.
func ReconnectDelay(attempt int) time.Duration { return reconnectDelay(attempt) }

// Waiting is how many publications wait for a turn.
func Waiting(b *Backplane) int {
	b.out.mu.Lock()
	defer b.out.mu.Unlock()
	return len(b.out.list)
}

// Silence is what decides that a probe has been away for too long. It returns what
// is called at each tick.
func Silence(sent time.Time, interval, patience time.Duration) (tick func(now time.Time) bool) {
	s := silence{since: sent}
	return func(now time.Time) bool { return s.tick(now, interval, patience) }
}

// NewSession begins one on the connection that there is, and returns what waits
// until the server has worked through what was written in it.
func NewSession(nc *nats.Conn) (flush func(patience time.Duration) error) {
	s := &session{nc: nc, generation: nc.Stats().Reconnects, ended: make(chan struct{})}
	return s.flush
}

// Queue has the reader take messages, and returns how many wait for the hub now,
// and how many were dropped.
func Queue(b *Backplane, messages ...*nats.Msg) (waiting int, dropped uint64) {
	for _, m := range messages {
		b.take(m)
	}
	b.in.mu.Lock()
	defer b.in.mu.Unlock()
	return b.in.count, b.in.dropped.Load()
}

// Offer does what the client does with a message, and reports whether there was
// room for it. Take is the reader's turn.
func Offer(b *Backplane, m *nats.Msg) (room bool) {
	select {
	case b.in.messages <- m:
		return true
	default:
		return false
	}
}

func Take(b *Backplane) { b.take(<-b.in.messages) }

// Full says how often the client may have had no room, and whether it may have
// none now.
func Full(b *Backplane) (times uint64, now bool) { return b.in.full() }
