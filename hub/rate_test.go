package hub_test

import (
	"testing"
	"testing/synctest"
	"time"

	"forge.lthn.ai/core/go-ws/hub"
)

// judged counts what a limit says to n frames at once.
func judged(r *hub.RateLimit, n int) (allowed, over, flood int) {
	for range n {
		switch r.Take() {
		case hub.RateAllowed:
			allowed++
		case hub.RateOver:
			over++
		case hub.RateFlood:
			flood++
		}
	}
	return allowed, over, flood
}

func TestRateLimitAllowsABurstThenRefusesThenGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := hub.NewRateLimit(10, 20)
		if allowed, over, flood := judged(r, 41); allowed != 20 || over != 20 || flood != 1 {
			t.Errorf("41 frames at once: got %d allowed, %d over, %d flood; want 20, 20, 1", allowed, over, flood)
		}
	})
}

func TestRateLimitFillsUpAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := hub.NewRateLimit(10, 20)
		judged(r, 20)
		time.Sleep(500 * time.Millisecond)
		if allowed, over, _ := judged(r, 6); allowed != 5 || over != 1 {
			t.Errorf("half a second after the burst: got %d allowed, %d over; want 5, 1", allowed, over)
		}
		// One refused frame has to be made up for first.
		time.Sleep(600 * time.Millisecond)
		if allowed, _, _ := judged(r, 6); allowed != 5 {
			t.Errorf("0.6 s after a refusal: got %d allowed, want 5", allowed)
		}
		time.Sleep(time.Hour)
		if allowed, over, _ := judged(r, 21); allowed != 20 || over != 1 {
			t.Errorf("after an hour: got %d allowed, %d over; want the burst, 20, and 1", allowed, over)
		}
	})
}

func TestRateLimitAllowsTheAverageForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := hub.NewRateLimit(10, 20)
		for i := range 10_000 {
			if got := r.Take(); got != hub.RateAllowed {
				t.Fatalf("frame %d at the average rate: got refused", i)
			}
			time.Sleep(100 * time.Millisecond)
		}
	})
}

func TestRateLimitCanBeOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := hub.NewRateLimit(-1, 1)
		if allowed, _, _ := judged(r, 10_000); allowed != 10_000 {
			t.Errorf("without a limit: got %d of 10,000 allowed", allowed)
		}
	})
}
