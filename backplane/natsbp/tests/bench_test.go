package tests

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"forge.lthn.ai/core/go-ws/backplane/natsbp"
	"forge.lthn.ai/core/go-ws/backplane/natsbp/tests/natstest"
	"forge.lthn.ai/core/go-ws/hub"
)

// Each goroutine waits for its result and publishes the next one.
func BenchmarkPublish(b *testing.B) {
	s := natstest.Start(b, server.Options{})
	for _, goroutines := range []int{1, 64, 512} {
		b.Run(fmt.Sprintf("goroutines=%d", goroutines), func(b *testing.B) {
			m := connected(b, natsbp.Config{URL: natstest.URL(natstest.Addr(s))})
			p := hub.Publication{Topic: "c:bench", ID: "1", Envelope: make([]byte, 256)}
			var left atomic.Int64
			left.Store(int64(b.N))
			var all sync.WaitGroup
			b.ReportAllocs()
			b.ResetTimer()
			for range goroutines {
				all.Go(func() {
					for left.Add(-1) >= 0 {
						if _, err := m.Publish(context.Background(), p); err != nil {
							b.Errorf("Publish: got %v, want nil", err)
							return
						}
					}
				})
			}
			all.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "publishes/s")
		})
	}
}

// The time from Publish at one backplane to Deliver at another.
func BenchmarkLatency(b *testing.B) {
	s := natstest.Start(b, server.Options{})
	arrived := make(chan struct{}, 1)
	sub := newMember(b, natsbp.Config{URL: natstest.URL(natstest.Addr(s))})
	sub.on("c:bench", func() { arrived <- struct{}{} })
	sub.start()
	sub.join("c:bench")
	pub := connected(b, natsbp.Config{URL: natstest.URL(natstest.Addr(s))})
	p := hub.Publication{Topic: "c:bench", ID: "1", Envelope: make([]byte, 256)}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := pub.Publish(context.Background(), p); err != nil {
			b.Fatal(err)
		}
		<-arrived
	}
}

// 10,000 channels joined by the hub's batches of 512, and in one call; and what
// one of them costs in memory.
func BenchmarkSubscribe(b *testing.B) {
	s := natstest.Start(b, server.Options{})
	const many = 10_000
	topics := make([]hub.Topic, many)
	for i := range topics {
		topics[i] = hub.Topic(fmt.Sprintf("c:channel-%d", i))
	}
	for _, batch := range []int{512, many} {
		b.Run(fmt.Sprintf("batch=%d", batch), func(b *testing.B) {
			var took time.Duration
			var bytes uint64
			for range b.N {
				m := connected(b, natsbp.Config{URL: natstest.URL(natstest.Addr(s))})
				before := heap()
				start := time.Now()
				for i := 0; i < many; i += batch {
					m.join(topics[i:min(i+batch, many)]...)
				}
				took += time.Since(start)
				bytes += heap() - before
				if err := m.Close(); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(took.Milliseconds())/float64(b.N), "ms/10000")
			// The server lives in this process too.
			b.ReportMetric(float64(bytes)/float64(b.N)/many, "B/channel")
		})
	}
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
