package stats_test

import (
	"testing"

	"forge.lthn.ai/core/go-ws/examples/bench/internal/stats"
)

func TestMedian(t *testing.T) {
	for _, tc := range []struct {
		values []float64
		want   float64
		ok     bool
	}{
		{nil, 0, false},
		{[]float64{3}, 3, true},
		{[]float64{5, 1, 3}, 3, true},
		{[]float64{4, 1, 3, 2}, 2.5, true},
	} {
		if got, ok := stats.Median(tc.values); got != tc.want || ok != tc.ok {
			t.Errorf("Median(%v): got %v, %v, want %v, %v", tc.values, got, ok, tc.want, tc.ok)
		}
	}
}

func TestMedianLeavesTheOrder(t *testing.T) {
	values := []float64{3, 1, 2}
	stats.Median(values)
	if values[0] != 3 || values[1] != 1 || values[2] != 2 {
		t.Errorf("values: got %v, want [3 1 2]", values)
	}
}

func TestPercentile(t *testing.T) {
	hundred := make([]int64, 100)
	for i := range hundred {
		hundred[i] = int64(i + 1)
	}
	for _, tc := range []struct {
		sorted  []int64
		percent int
		want    int64
	}{
		{nil, 50, 0},
		{[]int64{7}, 99, 7},
		{[]int64{1, 2}, 50, 1},
		{[]int64{1, 2, 3}, 50, 2},
		{hundred, 50, 50},
		{hundred, 99, 99},
		{hundred, 100, 100},
		{hundred, 0, 1},
	} {
		if got := stats.Percentile(tc.sorted, tc.percent); got != tc.want {
			t.Errorf("Percentile(%d values, %d): got %d, want %d", len(tc.sorted), tc.percent, got, tc.want)
		}
	}
}
