package redisbp_test

import (
	"errors"
	"slices"
	"testing"

	"forge.lthn.ai/core/go-ws/backplane/redisbp"
)

// What waits for a receiver that hangs is bounded. The first words stay, and the
// last one is how things are.
func TestWordsForAReceiverThatHangsAreBounded(t *testing.T) {
	const most = 64
	first, lost := errors.New("first"), errors.New("lost")
	words := []error{first}
	for range 2 * most {
		words = append(words, nil, lost)
	}
	for n := most; n <= len(words); n++ {
		got := redisbp.Waiting(words[:n]...)
		if last := words[n-1]; len(got) != most || got[0] != first || got[most-1] != last {
			t.Fatalf("of %d words: got %d, %v to %v, want %d, %v to %v", n, len(got), got[0], got[len(got)-1], most, first, last)
		}
	}
}

// All is well is said once, and again after each loss.
func TestRestoredIsSaidOncePerLoss(t *testing.T) {
	lost := errors.New("lost")
	got := redisbp.Waiting(nil, nil, lost, lost, nil, nil)
	if want := []error{nil, lost, lost, nil}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
