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

// NewSession begins one on the connection that there is, and returns what waits
// until the server has worked through what was written in it.
func NewSession(nc *nats.Conn) (flush func(patience time.Duration) error) {
	s := &session{nc: nc, generation: nc.Stats().Reconnects, ended: make(chan struct{})}
	return s.flush
}
