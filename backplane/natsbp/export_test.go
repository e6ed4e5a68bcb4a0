package natsbp

import "time"

// Escape and Unescape are what turns topics into tokens of subjects.
var (
	Escape   = escape
	Unescape = unescape
)

// LongestSubject is the longest that a topic can need.
const LongestSubject = maxPrefix + 1 + 3*maxTopic

// ReconnectDelay is the wait between attempts.
func ReconnectDelay(attempt int) time.Duration { return reconnectDelay(attempt) }
