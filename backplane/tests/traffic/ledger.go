package traffic

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// forever is the end of what has not ended.
const forever = time.Duration(1<<63 - 1)

// stream is what one publisher publishes on one channel, numbered from zero.
type stream struct{ publisher, channel int }

// publication is one message, and when its publish began and ended.
type publication struct {
	began, ended time.Duration
	err          error
}

// subscriber is one member's, and what it got.
type subscriber struct {
	member int
	// Publications from then until then must arrive.
	from, until time.Duration
	got         map[stream]*received
}

// received is what a subscriber got of one stream.
type received struct {
	// at is when each number came first; zero: not yet. It is as long as the
	// highest number that came.
	at []time.Duration
	// newest is when the newest publication was published that came.
	newest time.Duration
}

// ledger writes everything down. Times count from the start.
type ledger struct {
	start time.Time
	last  atomic.Int64 // what now has returned

	mu          sync.Mutex
	changed     chan struct{} // closed at the next change; nil where nobody waits
	streams     map[stream][]publication
	retired     map[int]bool // publishers
	subscribers []*subscriber
	spans       []*Span
	signals     []Signal
	doubled     []Event
	reordered   []Event
	strange     []string
	deliveries  int
}

func (l *ledger) init() {
	l.start = time.Now()
	l.streams = make(map[stream][]publication)
	l.retired = make(map[int]bool)
}

// now is later than at any call before, so that there is one order of events,
// and never zero.
func (l *ledger) now() time.Duration {
	for {
		last := l.last.Load()
		now := max(time.Since(l.start), time.Duration(last+1))
		if l.last.CompareAndSwap(last, int64(now)) {
			return now
		}
	}
}

func (l *ledger) countMembers() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.subscribers)
}

func (l *ledger) addSubscriber(member int) *subscriber {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := &subscriber{member: member, from: forever, until: forever, got: make(map[stream]*received)}
	l.subscribers = append(l.subscribers, s)
	return s
}

func (l *ledger) addPublisher(id, channels int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range channels {
		l.streams[stream{id, c}] = nil
	}
}

func (l *ledger) retire(publishers []int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, id := range publishers {
		l.retired[id] = true
	}
}

// begins and ends say which publications a subscriber must get.
func (l *ledger) begins(s *subscriber) {
	at := l.now()
	l.mu.Lock()
	defer l.mu.Unlock()
	s.from = at
}

func (l *ledger) ends(s *subscriber, at time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s.until = at
}

func (l *ledger) addSpan(s *Span) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.spans = append(l.spans, s)
}

func (l *ledger) endSpan(s *Span) {
	at := l.now()
	l.mu.Lock()
	defer l.mu.Unlock()
	s.ended = at
}

// publishing numbers a publication that begins.
func (l *ledger) publishing(s stream) (number int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.streams[s] = append(l.streams[s], publication{began: l.now(), ended: forever})
	return len(l.streams[s]) - 1
}

func (l *ledger) published(s stream, number int, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := &l.streams[s][number]
	p.ended, p.err = l.now(), err
	l.changedLocked()
}

// delivered takes what a subscriber got.
func (l *ledger) delivered(sub *subscriber, channel, text string) {
	s, number, err := decode(text)
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.changedLocked()
	l.deliveries++
	publications := l.streams[s]
	if err != nil || number < 0 || number >= len(publications) || channel != channelName(s.channel) {
		l.strange = append(l.strange, fmt.Sprintf("member %d got %.100q on channel %q", sub.member, text, channel))
		return
	}
	got := sub.got[s]
	if got == nil {
		got = &received{}
		sub.got[s] = got
	}
	at := l.now()
	event := Event{Member: sub.member, Publisher: s.publisher, Channel: channel, Number: number,
		Began: publications[number].began, Delivered: at}
	switch {
	case number >= len(got.at):
		got.at = append(got.at, make([]time.Duration, number+1-len(got.at))...)
		got.at[number] = at
	case got.at[number] != 0:
		l.doubled = append(l.doubled, event)
	default:
		got.at[number] = at
		l.reordered = append(l.reordered, event)
	}
	got.newest = max(got.newest, publications[number].began)
}

func (l *ledger) signalled(member int, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.signals = append(l.signals, Signal{Member: member, At: l.now(), Disrupted: err})
	l.changedLocked()
}

func (l *ledger) countSignals(member int) (disrupted, restored int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.signals {
		switch {
		case s.Member != member:
		case s.Disrupted != nil:
			disrupted++
		default:
			restored++
		}
	}
	return disrupted, restored
}

func (l *ledger) noteStrange(what string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.strange = append(l.strange, what)
	l.changedLocked()
}

// silence names a stream of which a subscriber has not heard anything that
// was published after at, and is empty where there is none.
func (l *ledger) silence(at time.Duration, which func(*subscriber) bool) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, sub := range l.subscribers {
		if sub.until != forever || which != nil && !which(sub) {
			continue
		}
		for s, publications := range l.streams {
			got := sub.got[s]
			if l.retired[s.publisher] || got != nil && got.newest >= at {
				continue
			}
			last := "nothing was published"
			if n := len(publications); n > 0 {
				last = fmt.Sprintf("the last publish, number %d, returned %v", n-1, publications[n-1].err)
			}
			return fmt.Sprintf("member %d hears nothing of publisher %d on %s; %s", sub.member, s.publisher, channelName(s.channel), last)
		}
	}
	return ""
}

// wait waits until missing returns nothing. It is called without a lock.
func (l *ledger) wait(missing func() string) error {
	timeout := time.NewTimer(hang)
	defer timeout.Stop()
	for {
		l.mu.Lock()
		if l.changed == nil {
			l.changed = make(chan struct{})
		}
		changed := l.changed
		l.mu.Unlock()
		what := missing()
		if what == "" {
			return nil
		}
		select {
		case <-changed:
		case <-timeout.C:
			return fmt.Errorf("after %v: %s", hang, what)
		}
	}
}

func (l *ledger) changedLocked() {
	if l.changed != nil {
		close(l.changed)
		l.changed = nil
	}
}

// spanLocked names the span that excuses a publication: one that it was
// published in, or, for a subscriber that did not get it, one that began before
// anything later had come.
func (l *ledger) spanLocked(p publication, number int, got *received) string {
	for _, span := range l.spans {
		if p.began <= span.ended && p.ended >= span.began {
			return span.name
		}
		if got != nil && p.ended < span.began && !cameLater(got, number, span.began) {
			return span.name
		}
	}
	return ""
}

// cameLater reports whether a later number had come before a moment.
func cameLater(got *received, number int, before time.Duration) bool {
	return number < len(got.at) && slices.ContainsFunc(got.at[number+1:], func(at time.Duration) bool {
		return at != 0 && at < before
	})
}
