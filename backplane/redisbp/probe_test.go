package redisbp_test

import (
	"math"
	"testing"

	"forge.lthn.ai/core/go-ws/backplane/redisbp"
)

// An earlier connection's probe may come late, on the next one, whose count is
// lower: it must not end that one as deaf.
func TestAProbeOfAnEarlierConnectionDoesNotCount(t *testing.T) {
	for _, c := range []struct {
		sent uint64
		read []uint64
		want uint64
	}{
		{1, nil, 1},
		{1, []uint64{1}, 0},
		{3, []uint64{1, 3, 2}, 0},
		{1, []uint64{500}, 1},
		{2, []uint64{500, 1, math.MaxUint64}, 1},
	} {
		if got := redisbp.Behind(c.sent, c.read...); got != c.want {
			t.Errorf("%d sent, %d read: got %d missing, want %d", c.sent, c.read, got, c.want)
		}
	}
}
