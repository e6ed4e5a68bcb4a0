//go:build !race

package hub_test

import "testing"

// With -benchtime 2000x this takes a moment; what a message costs on the way to
// its receivers must not depend on how many they are.
func TestBenchmarksAllocateAtMost(t *testing.T) {
	for _, tc := range []struct {
		name  string
		bench func(*testing.B)
		// most allocations an operation: data put into an interface by the
		// benchmark, the frame and its bytes, the message's id, and what an
		// operation on a few outboxes in a thousand adds.
		most int64
	}{
		{"Broadcast_100", BenchmarkBroadcast_100, 4},
		{"Broadcast_100_OneByOne", BenchmarkBroadcast_100_OneByOne, 5}, // one to wait for it
		{"Broadcast_100_Parallel", BenchmarkBroadcast_100_Parallel, 4},
		{"SendToChannel_50", BenchmarkSendToChannel_50, 4},
		{"SendToChannel_50_Parallel", BenchmarkSendToChannel_50_Parallel, 4},
		{"MultiChannelFanOut", BenchmarkMultiChannelFanOut, 4},
		{"SubscribeUnsubscribe", BenchmarkSubscribeUnsubscribe, 5},
		{"ConcurrentSubscribers", BenchmarkConcurrentSubscribers, 5},
	} {
		r := testing.Benchmark(tc.bench)
		if r.N == 0 {
			t.Errorf("%s: failed", tc.name)
		}
		t.Logf("%s: %s", tc.name, r.MemString())
		if got := r.AllocsPerOp(); got > tc.most {
			t.Errorf("%s: got %d allocations an operation, want %d at most", tc.name, got, tc.most)
		}
	}
}
