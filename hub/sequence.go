package hub

import (
	"math/bits"
	"sync"
)

// A hub numbers what it publishes on each topic, and every receiver keeps a
// window of the numbers that it has seen from each source: a number that comes
// twice is dropped, one that leaves the window unseen is counted as missed.
// Within the window numbers may come in any order, since publishes of different
// goroutines overtake each other on their way to the broker.
//
// The upper half of a number is a run, the lower half counts within it, from 1.
// A publisher that has forgotten where it was on a topic begins a new run.

// sequencer numbers what this hub publishes.
type sequencer struct {
	mu   sync.Mutex
	runs uint32
	last map[Topic]uint64
}

// maxSequenced bounds how many topics a hub remembers its numbers of.
const maxSequenced = 100_000

func (s *sequencer) next(t Topic) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	seq, ok := s.last[t]
	if !ok || uint32(seq) == ^uint32(0) {
		if s.last == nil {
			s.last = make(map[Topic]uint64)
		}
		if len(s.last) >= maxSequenced {
			for old := range s.last {
				delete(s.last, old)
				break
			}
		}
		s.runs++
		seq = uint64(s.runs) << 32
	}
	seq++
	s.last[t] = seq
	return seq
}

// window is what a receiver has seen of one source on one topic.
type window struct {
	// top is the highest number seen, and bit i of seen stands for top-i.
	top  uint64
	seen uint64
	// first is the number that was seen first: smaller ones were not missed.
	first uint64
	// used orders windows by their last use.
	used uint64
}

const windowSize = 64

// check takes a number. It reports whether the number is new, and how many
// numbers left the window unseen.
func (w *window) check(seq uint64) (fresh bool, missed uint64) {
	run, topRun := seq>>32, w.top>>32
	switch {
	case w.top == 0 || run > topRun:
		// The first that is heard of a run. It may have overtaken others, which
		// are let through; those that never come were before this hub listened.
		w.top, w.first, w.seen = seq, seq, 1
		return true, 0
	case run < topRun:
		// A straggler of an earlier run; its window is gone.
		return true, 0
	case seq > w.top:
		missed = w.advance(seq - w.top)
		return true, missed
	}
	behind := w.top - seq
	if behind >= windowSize {
		// Too old to tell: it was counted as missed, or came already.
		return false, 0
	}
	if w.seen&(1<<behind) != 0 {
		return false, 0
	}
	w.seen |= 1 << behind
	return true, 0
}

// advance moves the window on and returns how many numbers left it unseen.
func (w *window) advance(ahead uint64) (missed uint64) {
	shift := min(ahead, windowSize)
	// Bit j of leaving stands for the number newest-j.
	leaving := ^w.seen >> (windowSize - shift)
	newest := int64(w.top) - windowSize + int64(shift)
	if counted := newest - int64(w.first) + 1; counted <= 0 {
		leaving = 0
	} else if counted < windowSize {
		leaving &= 1<<counted - 1
	}
	missed = uint64(bits.OnesCount64(leaving)) + ahead - shift
	// Shifting by the whole width gives zero.
	w.seen = w.seen<<shift | 1
	w.top += ahead
	return missed
}

// sources are the windows of one topic.
type sources struct {
	mu      sync.Mutex
	windows map[string]*window
	clock   uint64
}

// maxSources bounds how many sources a topic remembers.
const maxSources = 1024

func (s *sources) check(source string, seq uint64) (fresh bool, missed uint64) {
	if seq == 0 {
		return true, 0
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clock++
	w := s.windows[source]
	if w == nil {
		if s.windows == nil {
			s.windows = make(map[string]*window)
		}
		if len(s.windows) >= maxSources {
			s.forgetOldest()
		}
		w = new(window)
		s.windows[source] = w
	}
	w.used = s.clock
	return w.check(seq)
}

func (s *sources) forgetOldest() {
	oldest, used := "", ^uint64(0)
	for source, w := range s.windows {
		if w.used < used {
			oldest, used = source, w.used
		}
	}
	delete(s.windows, oldest)
}
