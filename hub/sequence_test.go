package hub_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"forge.lthn.ai/core/go-ws/hub"
)

// seeded returns a source of randomness whose seed a failing test prints.
func seeded(t testing.TB) *rand.Rand {
	seed := rand.Uint64()
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("seed %d", seed)
		}
	})
	return rand.New(rand.NewPCG(seed, 0))
}

// numbered is run and count as one number.
func numbered(run, n uint64) uint64 { return run<<32 | n }

// seenSet is what a window should know, without a bound.
type seenSet struct {
	seen       map[uint64]bool
	first, top uint64
	missed     map[uint64]bool
}

// check takes a number and says how many are missed in all.
func (m *seenSet) check(seq uint64) (fresh bool, missed int) {
	if m.seen == nil {
		m.seen, m.missed = map[uint64]bool{}, map[uint64]bool{}
		m.first = seq
	}
	fresh = !m.seen[seq]
	m.seen[seq] = true
	delete(m.missed, seq)
	if seq > m.top {
		before := m.top
		m.top = seq
		// Whatever is 64 behind by now, and was not before, is overdue.
		for n := max(m.first, before-min(before, 64)); n+hub.WindowSize <= m.top; n++ {
			if !m.seen[n] {
				m.missed[n] = true
			}
		}
	}
	return fresh, len(m.missed)
}

func TestWindowKnowsWhatASetKnows(t *testing.T) {
	r := seeded(t)
	for range 300 {
		var w hub.Window
		model := seenSet{}
		base := numbered(1+r.Uint64N(3), 1+r.Uint64N(1000))
		var next, missed int64
		var sent []uint64
		for range 400 {
			var seq uint64
			switch p := r.IntN(100); {
			case p < 20 && len(sent) > 0: // again
				seq = sent[max(0, len(sent)-1-r.IntN(100))]
			case p < 40 && next > 0: // late, or again
				seq = base + uint64(r.Int64N(next))
			case p < 43 && missed < hub.MaxOverdue/2: // a gap
				next += 1 + r.Int64N(200)
				seq = base + uint64(next)
				next++
			default:
				seq = base + uint64(next)
				next++
			}
			sent = append(sent, seq)
			if model.seen != nil && seq < model.first && seq+hub.WindowSize <= model.top {
				continue // the window says of these that they are new, always
			}
			fresh, change := w.Check(seq)
			missed += change
			wantFresh, wantMissed := model.check(seq)
			if fresh != wantFresh || missed != int64(wantMissed) {
				t.Fatalf("number %d of the run, the %dth that came: got fresh %v, missed %d; want %v, %d",
					uint32(seq), len(sent), fresh, missed, wantFresh, wantMissed)
			}
		}
	}
}

func TestWindowLetsThroughWhatTheFirstNumberOvertook(t *testing.T) {
	var w hub.Window
	for i, seq := range []uint64{500, 499, 450, 437, 436, 400} {
		if fresh, missed := w.Check(numbered(1, seq)); !fresh || missed != 0 {
			t.Errorf("number %d, %d after the first: got fresh %v, missed %d; want true, 0", seq, i, fresh, missed)
		}
	}
	for _, seq := range []uint64{499, 450, 437, 500} {
		if fresh, _ := w.Check(numbered(1, seq)); fresh {
			t.Errorf("number %d again: got fresh, want a duplicate", seq)
		}
	}
	var missed int64
	for seq := uint64(501); seq < 700; seq++ {
		_, more := w.Check(numbered(1, seq))
		missed += more
	}
	if missed != 0 {
		t.Errorf("after numbers from 501 on: got %d missed, want 0: those before the first were never awaited", missed)
	}
}

func TestMissedIsExactOnceSixtyFourLaterNumbersCame(t *testing.T) {
	var w hub.Window
	w.Check(numbered(1, 1))
	total := int64(0)
	for seq := uint64(3); seq <= 65; seq++ { // 2 is lost
		_, missed := w.Check(numbered(1, seq))
		total += missed
	}
	if total != 0 {
		t.Errorf("63 numbers after the lost one: got %d missed, want 0: it may still come", total)
	}
	if _, missed := w.Check(numbered(1, 66)); missed != 1 {
		t.Errorf("64 numbers after the lost one: got %d missed, want 1", missed)
	}
	if fresh, missed := w.Check(numbered(1, 2)); !fresh || missed != -1 {
		t.Errorf("the lost one, after all: got fresh %v, missed %d; want true, -1", fresh, missed)
	}
	if fresh, missed := w.Check(numbered(1, 2)); fresh || missed != 0 {
		t.Errorf("the lost one, once more: got fresh %v, missed %d; want false, 0", fresh, missed)
	}
	// A leap of a thousand: all between but the last 63 are overdue.
	if _, missed := w.Check(numbered(1, 1067)); missed != 1000-63 {
		t.Errorf("a leap over 1,000 numbers: got %d missed, want %d", missed, 1000-63)
	}
}

func TestANewRunBeginsAnew(t *testing.T) {
	var w hub.Window
	w.Check(numbered(1, 7))
	w.Check(numbered(1, 200))
	for _, step := range []struct {
		run, n uint64
		fresh  bool
	}{
		{2, 1, true},
		{1, 201, true}, // a straggler of the run before: its window is gone
		{2, 1, false},
		{2, 2, true},
		{5, 9, true},
		{5, 8, true},
		{5, 9, false},
	} {
		if fresh, missed := w.Check(numbered(step.run, step.n)); fresh != step.fresh || missed != 0 {
			t.Errorf("run %d, number %d: got fresh %v, missed %d; want %v, 0", step.run, step.n, fresh, missed, step.fresh)
		}
	}
}

func TestOverdueNumbersAreBounded(t *testing.T) {
	var w hub.Window
	total := int64(0)
	for i := range uint64(5000) {
		_, missed := w.Check(numbered(1, 1+3*i))
		total += missed
	}
	if got := w.Overdue(); got != hub.MaxOverdue {
		t.Errorf("after 10,000 losses: got %d overdue, want %d", got, hub.MaxOverdue)
	}
	if want := int64(2 * (4999 - 21)); total != want {
		t.Errorf("after two of three were lost: got %d missed, want %d", total, want)
	}
	if fresh, _ := w.Check(numbered(1, 2)); fresh {
		t.Error("a number that was given up: got fresh, want it dropped")
	}
	if _, missed := w.Check(numbered(1, 1<<31)); missed < 1<<30 {
		t.Errorf("a leap over %d numbers: got %d missed", uint32(1<<31), missed)
	}
	if got := w.Overdue(); got != hub.MaxOverdue {
		t.Errorf("after a leap: got %d overdue, want %d", got, hub.MaxOverdue)
	}
	for i := range uint64(100_000) {
		w.Check(numbered(1, 1<<31+1+i))
	}
	if got := w.Overdue(); got != 0 {
		t.Errorf("100,000 numbers after the last loss: got %d overdue, want 0", got)
	}
}

func TestSourcesAreBoundedAndForgetTheLeastUsed(t *testing.T) {
	var s hub.Sources
	for i := range hub.MaxSources {
		s.Check(fmt.Sprint("hub", i), numbered(1, 1))
	}
	s.Check("hub0", numbered(1, 2)) // used again, unlike hub1
	s.Check("new", numbered(1, 1))
	if got := s.Len(); got != hub.MaxSources {
		t.Errorf("with one source too many: got %d windows, want %d", got, hub.MaxSources)
	}
	if fresh, _ := s.Check("hub0", numbered(1, 2)); fresh {
		t.Error("a source in use was forgotten")
	}
	if fresh, _ := s.Check("hub1", numbered(1, 1)); !fresh {
		t.Error("the source that was used longest ago: got a duplicate, want it forgotten")
	}
	for range 3 {
		if fresh, missed := s.Check("hub0", 0); !fresh || missed != 0 {
			t.Errorf("number zero: got fresh %v, missed %d; want true, 0: it is not counted", fresh, missed)
		}
	}
}

func TestSequencerCountsPerTopicAndForgettingBeginsARun(t *testing.T) {
	var s hub.Sequencer
	a1, a2, b1 := s.Next("c:a"), s.Next("c:a"), s.Next("c:b")
	if a2 != a1+1 || uint32(a1) != 1 || uint32(b1) != 1 || a1>>32 == b1>>32 {
		t.Errorf("got numbers %x, %x, %x; want two in a row from 1, and 1 of another run", a1, a2, b1)
	}
	last := map[hub.Topic]uint64{"c:a": a2, "c:b": b1}
	for i := range hub.MaxSequenced + 10 {
		topic := hub.Topic(fmt.Sprint("c:", i))
		last[topic] = s.Next(topic)
	}
	if got := s.Len(); got != hub.MaxSequenced {
		t.Errorf("got %d topics remembered, want %d", got, hub.MaxSequenced)
	}
	for topic, before := range last {
		if got := s.Next(topic); got <= before {
			t.Fatalf("%s: got %x after %x, want a larger number whether it was forgotten or not", topic, got, before)
		}
	}
}
