package hub

import "time"

// rateLimit is a token bucket for one client's frames. Its connection calls it,
// one frame at a time.
type rateLimit struct {
	perSecond float64
	burst     float64
	tokens    float64
	last      time.Time
}

type rateVerdict uint8

const (
	rateAllowed rateVerdict = iota
	// rateOver: the frame is refused.
	rateOver
	// rateFlood: the client has gone on for as long as its whole burst again.
	rateFlood
)

func newRateLimit(cfg *Config, now time.Time) rateLimit {
	return rateLimit{
		perSecond: float64(cfg.MaxMessagesPerSecond),
		burst:     float64(cfg.MessageBurst),
		tokens:    float64(cfg.MessageBurst),
		last:      now,
	}
}

// take judges one frame. Refused frames cost tokens too, down to minus a whole
// burst: a client must slow down before it is heard again.
func (r *rateLimit) take(now time.Time) rateVerdict {
	if r.perSecond < 0 {
		return rateAllowed
	}
	r.tokens = min(r.burst, r.tokens+now.Sub(r.last).Seconds()*r.perSecond)
	r.last = now
	if r.tokens -= 1; r.tokens >= 0 {
		return rateAllowed
	}
	if r.tokens < -r.burst {
		return rateFlood
	}
	return rateOver
}
