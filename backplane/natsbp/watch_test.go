package natsbp_test

import (
	"testing"
	"time"

	"forge.lthn.ai/core/go-ws/backplane/natsbp"
)

// A connection is given up for its own silence, not for time in which the
// process did not run.
func TestTimeInWhichTheProcessStoodStillIsNoSilence(t *testing.T) {
	sent := time.Now()
	const interval, patience = time.Second, 5 * time.Second

	tick := natsbp.Silence(sent, interval, patience)
	for i := 1; i <= 5; i++ {
		if got, want := tick(sent.Add(time.Duration(i)*interval)), i == 5; got != want {
			t.Errorf("after %d ticks: got silent %t, want %t", i, got, want)
		}
	}

	stopped := natsbp.Silence(sent, interval, patience)
	for i := range 4 {
		if stopped(sent.Add(time.Hour + time.Duration(i)*interval)) {
			t.Errorf("after an hour's halt and %d ticks: got silent, want the probe awaited", i+1)
		}
	}
	if !stopped(sent.Add(time.Hour + 4*interval)) {
		t.Error("after an hour's halt and five ticks: got no end of patience, want silence")
	}

	// A tick that was late is followed by the next one at once.
	late := natsbp.Silence(sent, 10*time.Second, patience)
	if late(sent.Add(time.Millisecond)) {
		t.Error("a tick at once: got silent, want patience")
	}
}
