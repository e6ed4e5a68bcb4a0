package client

import (
	"net/http"
	"time"
)

// SetDraw replaces the jitter. To be called before the client is started.
func SetDraw(c *ReconnectingClient, draw func(limit time.Duration) time.Duration) { c.draw = draw }

// SetWall replaces the wall clock. To be called before the client is started.
func SetWall(c *ReconnectingClient, wall func() time.Time) { c.wall = wall }

// ChannelStates is how many channels the client remembers anything of.
func ChannelStates(c *ReconnectingClient) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.channels)
}

// Waiting is how many messages wait to be written, and how many requests for
// their answers.
func Waiting(c *ReconnectingClient) (messages, bytes, requests int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.queue.waiting), c.queue.bytes, len(c.requests)
}

func ParseHint(reason string) (time.Duration, bool) { return parseHint(reason) }

func ParseRetryAfter(h http.Header, now time.Time) time.Duration { return parseRetryAfter(h, now) }

var ParseFrame = parseFrame
