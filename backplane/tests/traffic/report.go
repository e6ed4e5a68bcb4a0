package traffic

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// Event is what became of one publication at one subscriber. Times count from
// the run's start.
type Event struct {
	// Member is the subscriber's.
	Member    int
	Publisher int
	Channel   string
	Number    int
	// Began and Ended are the publish's.
	Began, Ended time.Duration
	// Delivered is zero for what was lost.
	Delivered time.Duration
	// Err is what the publish returned.
	Err error
	// Span is the name of the one that excuses it; empty where none does.
	Span string
}

func (e Event) String() string {
	s := fmt.Sprintf("number %d of publisher %d on %s", e.Number, e.Publisher, e.Channel)
	if e.Member >= 0 {
		s += fmt.Sprintf(" at member %d", e.Member)
	}
	s += fmt.Sprintf(" (published from %v to %v", e.Began, e.Ended)
	if e.Ended == forever {
		s = s[:len(s)-len(fmt.Sprint(e.Ended))] + "now"
	}
	if e.Err != nil {
		s += fmt.Sprintf(": %v", e.Err)
	}
	if e.Delivered != 0 {
		s += fmt.Sprintf(", delivered at %v", e.Delivered)
	}
	return s + ")"
}

// Signal is one call of a bare member's receiver.
type Signal struct {
	Member int
	At     time.Duration
	// Disrupted is the reason; nil means that it was Restored.
	Disrupted error
}

// Report is what became of everything.
type Report struct {
	// Published counts calls of Publish, Acknowledged those that returned nil.
	Published, Acknowledged int
	// Deliveries counts those at all subscribers.
	Deliveries int
	// Failed are the publishes that returned an error; Member is -1.
	Failed []Event
	// Lost are the acknowledged ones that a subscriber has not got.
	Lost []Event
	// Doubled are deliveries of what had come before, Reordered those of what
	// was published before something that had come.
	Doubled, Reordered []Event
	// Strange describes what nobody has published, and clients that were closed.
	Strange []string
	// Signals of bare members, in their order.
	Signals []Signal
	// Slowest is the longest publish.
	Slowest time.Duration

	t   testing.TB
	cfg Config
}

// In filters events by the name of their span.
func In(span string, events []Event) []Event {
	return slices.DeleteFunc(slices.Clone(events), func(e Event) bool { return e.Span != span })
}

func (r *Run) report(until time.Duration) *Report {
	l := &r.ledger
	l.mu.Lock()
	defer l.mu.Unlock()
	out := &Report{
		Deliveries: l.deliveries, Strange: l.strange, Signals: l.signals,
		Doubled: l.doubled, Reordered: l.reordered, t: r.t, cfg: r.cfg,
	}
	for _, events := range [][]Event{out.Doubled, out.Reordered} {
		for i := range events {
			e := &events[i]
			p := l.streams[stream{e.Publisher, channelIndex(e.Channel)}][e.Number]
			e.Ended, e.Err = p.ended, p.err
			e.Span = l.spanLocked(p, e.Number, nil)
		}
	}
	for s, publications := range l.streams {
		for number, p := range publications {
			l.settleLocked(out, s, number, p, until)
		}
	}
	for _, events := range [][]Event{out.Failed, out.Lost} {
		slices.SortFunc(events, func(a, b Event) int { return int(a.Began - b.Began) })
	}
	return out
}

func (l *ledger) settleLocked(out *Report, s stream, number int, p publication, until time.Duration) {
	event := Event{Member: -1, Publisher: s.publisher, Channel: channelName(s.channel), Number: number,
		Began: p.began, Ended: p.ended, Err: p.err}
	out.Published++
	out.Slowest = max(out.Slowest, p.ended-p.began)
	if p.err != nil {
		if l.firstLocked() <= p.began && p.ended <= until {
			event.Span = l.spanLocked(p, number, nil)
			out.Failed = append(out.Failed, event)
		}
		return
	}
	out.Acknowledged++
	for _, sub := range l.subscribers {
		if p.began < sub.from || p.ended > sub.until {
			continue
		}
		got := sub.got[s]
		if got == nil {
			got = &received{}
		}
		if number < len(got.at) && got.at[number] != 0 {
			continue
		}
		event.Member = sub.member
		event.Span = l.spanLocked(p, number, got)
		out.Lost = append(out.Lost, event)
	}
}

// firstLocked is when the first subscriber was ready. What failed before was
// the start.
func (l *ledger) firstLocked() time.Duration {
	first := forever
	for _, sub := range l.subscribers {
		first = min(first, sub.from)
	}
	return first
}

func channelIndex(name string) (i int) {
	_, _ = fmt.Sscanf(name, "traffic-%d", &i) // its own
	return i
}

// Check fails the test for all that is not allowed: see the package's comment.
// It logs the figures.
func (r *Report) Check() {
	r.t.Helper()
	r.t.Logf("traffic: %d published, %d acknowledged, %d failed, %d deliveries, %d lost in spans, slowest publish %v",
		r.Published, r.Acknowledged, len(r.Failed), r.Deliveries, len(r.Lost)-len(In("", r.Lost)), r.Slowest)
	late := func(e Event) bool { return r.cfg.LateAfterError && e.Err != nil }
	for _, c := range []struct {
		what   string
		events []Event
	}{
		{"lost outside of all spans", In("", r.Lost)},
		{"failed outside of all spans", In("", r.Failed)},
		{"delivered twice", r.Doubled},
		{"delivered after a later one", slices.DeleteFunc(slices.Clone(r.Reordered), late)},
	} {
		if len(c.events) > 0 {
			r.t.Errorf("%s: got %d publications, want none; the first ones: %v", c.what, len(c.events), c.events[:min(len(c.events), 3)])
		}
	}
	if len(r.Strange) > 0 {
		r.t.Errorf("strange: got %d, want none; the first ones: %q", len(r.Strange), r.Strange[:min(len(r.Strange), 3)])
	}
	if bound := min(10*r.cfg.PublishTimeout, r.cfg.PublishTimeout+hang); r.Slowest > bound {
		r.t.Errorf("the slowest publish: took %v, want %v at most with contexts of %v", r.Slowest, bound, r.cfg.PublishTimeout)
	}
}
