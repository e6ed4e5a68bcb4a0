package hub

import "time"

// peers are the other hubs that are known to live, by their ids. Ids are random
// and new for each Hub, so that one that is started again in another's place is
// another, and the two can't be mistaken for each other.
type peers struct {
	// until is when each is taken for gone, unless it is heard again.
	until map[string]time.Time
}

const (
	// fleetPace is the time between two announcements of a large fleet, all hubs
	// together: 100 a second at each hub, of about 60 bytes. Up to 200 hubs
	// announce themselves every minAnnounce, 1,000 hubs every 10 s.
	fleetPace   = 10 * time.Millisecond
	minAnnounce = 2 * time.Second
	// silentFor is how many of its announcements a hub may miss before it is taken
	// for gone.
	silentFor = 3
	// settleTime is how long a hub that has just come gives the others to answer
	// its announcement, beside their pace.
	settleTime = time.Second
	// maxPeers bounds what is remembered. Others are not known.
	maxPeers = 10_000
)

// heard remembers that a hub lives. It reports whether the hub was not known,
// and whether there was room for it.
func (p *peers) heard(id string, until time.Time) (fresh, ok bool) {
	_, known := p.until[id]
	if !known && len(p.until) >= maxPeers {
		return false, false
	}
	if p.until == nil {
		p.until = make(map[string]time.Time)
	}
	p.until[id] = until
	return !known, true
}

func (p *peers) forget(id string) { delete(p.until, id) }

// prune forgets those that were silent for too long and returns them.
func (p *peers) prune(now time.Time) (gone []string) {
	for id, until := range p.until {
		if !now.Before(until) {
			delete(p.until, id)
			gone = append(gone, id)
		}
	}
	return gone
}

// pace is the time that this hub leaves between two messages to all others: its
// share of what each hub is to hear.
func (p *peers) pace() time.Duration { return time.Duration(1+len(p.until)) * fleetPace }

// interval is how often this hub announces itself.
func (p *peers) interval() time.Duration { return max(minAnnounce, p.pace()) }

// silence is how long this hub's own announcements may not come back.
func (p *peers) silence() time.Duration { return silentFor * p.interval() }

// budget is a token bucket.
type budget struct {
	tokens float64
	last   time.Time
}

// take takes a token, of which one comes each interval, up to burst.
func (b *budget) take(now time.Time, interval time.Duration, burst float64) bool {
	if b.last.IsZero() {
		b.tokens = burst
	} else {
		b.tokens = min(burst, b.tokens+float64(now.Sub(b.last))/float64(interval))
	}
	b.last = now
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}

// due is when there is a token.
func (b *budget) due(interval time.Duration) time.Time {
	if b.tokens >= 1 {
		return b.last
	}
	// A little later, so that rounding leaves nobody short.
	return b.last.Add(time.Duration((1-b.tokens)*float64(interval)) + time.Microsecond)
}
