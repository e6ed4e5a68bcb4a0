package hub

import (
	"math/bits"
	"slices"
	"sync"
)

// A hub numbers what it publishes on each topic, and every receiver keeps a
// window of the numbers that it has seen from each source: a number that comes
// twice is dropped, one that leaves the window unseen is counted as missed.
// Numbers may come in any order, since publishes of different goroutines
// overtake each other on their way to the broker, and a goroutine that loses
// its processor is overtaken by thousands. So those that left the window unseen
// are remembered: one that comes after all is taken, and counted as missed no
// longer.
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
	// overdue are the numbers that left the window unseen, the smallest first,
	// as far as it is bounded.
	overdue []uint64
	// used orders windows by their last use.
	used uint64
}

const (
	windowSize = 64
	// maxOverdue bounds how many numbers are overdue, and overdueSpan how far
	// behind they are, before they are given up.
	maxOverdue  = 1024
	overdueSpan = 1 << 16
)

// check takes a number. It reports whether the number is new, and how many
// more are missed now: -1 where the number itself was.
func (w *window) check(seq uint64) (fresh bool, missed int64) {
	run, topRun := seq>>32, w.top>>32
	switch {
	case w.top == 0 || run > topRun:
		// The first that is heard of a run. It may have overtaken others, which
		// are let through; those that never come were before this hub listened.
		w.top, w.first, w.seen, w.overdue = seq, seq, 1, nil
		return true, 0
	case run < topRun:
		// A straggler of an earlier run; its window is gone.
		return true, 0
	case seq > w.top:
		return true, w.advance(seq - w.top)
	}
	behind := w.top - seq
	switch {
	case behind < windowSize:
	case seq < w.first:
		// Overtaken by the first that was heard. Whether it came before is not
		// known, but losing it would be worse.
		return true, 0
	default:
		return w.catchUp(seq)
	}
	if w.seen&(1<<behind) != 0 {
		return false, 0
	}
	w.seen |= 1 << behind
	return true, 0
}

// advance moves the window on and returns how many numbers left it unseen.
func (w *window) advance(ahead uint64) (missed int64) {
	shift := min(ahead, windowSize)
	// Bit j of leaving stands for the number newest-j.
	leaving := ^w.seen >> (windowSize - shift)
	newest := w.top - windowSize + shift
	if counted := int64(newest - w.first + 1); counted <= 0 {
		leaving = 0
	} else if counted < windowSize {
		leaving &= 1<<counted - 1
	}
	// The numbers after those never were in the window.
	jumped := ahead - shift
	missed = int64(bits.OnesCount64(leaving)) + int64(jumped)
	for leaving != 0 {
		j := bits.Len64(leaving) - 1
		leaving &^= 1 << j
		w.overdue = append(w.overdue, newest-uint64(j))
	}
	for n := min(jumped, maxOverdue); n > 0; n-- {
		w.overdue = append(w.overdue, newest+jumped-n+1)
	}
	// Shifting by the whole width gives zero.
	w.seen = w.seen<<shift | 1
	w.top += ahead
	w.giveUp()
	return missed
}

// giveUp forgets the oldest of the overdue numbers.
func (w *window) giveUp() {
	if len(w.overdue) == 0 {
		return
	}
	old := max(len(w.overdue)-maxOverdue, 0)
	for old < len(w.overdue) && w.top-w.overdue[old] > overdueSpan {
		old++
	}
	if w.overdue = w.overdue[old:]; len(w.overdue) == 0 {
		w.overdue = nil
	}
}

// catchUp takes a number that is behind the window.
func (w *window) catchUp(seq uint64) (fresh bool, missed int64) {
	i, ok := slices.BinarySearch(w.overdue, seq)
	if !ok {
		// It came already, or so long ago that nobody knows.
		return false, 0
	}
	if w.overdue = slices.Delete(w.overdue, i, i+1); len(w.overdue) == 0 {
		w.overdue = nil
	}
	return true, -1
}

// sources are the windows of one topic.
type sources struct {
	mu      sync.Mutex
	windows map[string]*window
	clock   uint64
}

// maxSources bounds how many sources a topic remembers.
const maxSources = 1024

func (s *sources) check(source string, seq uint64) (fresh bool, missed int64) {
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
