package tests

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"forge.lthn.ai/core/go-ws/backplane/redisbp"
	"forge.lthn.ai/core/go-ws/backplane/redisbp/tests/redistest"
	"forge.lthn.ai/core/go-ws/hub"
)

// deployments are the brokers that the benchmarks run on.
func deployments(b *testing.B, f func(b *testing.B, url string)) {
	b.Run("server", func(b *testing.B) { f(b, "redis://"+redistest.Start(b).Addr()) })
	b.Run("cluster", func(b *testing.B) { f(b, redistest.StartCluster(b, 3, 0, hang).URL()) })
}

func BenchmarkPublish(b *testing.B) {
	deployments(b, func(b *testing.B, url string) {
		bp, _ := start(b, redisbp.Config{URL: url})
		for _, publishers := range []int{1, 64} {
			b.Run(fmt.Sprintf("publishers=%d", publishers), func(b *testing.B) {
				b.ReportAllocs()
				var next atomic.Int64
				var all sync.WaitGroup
				b.ResetTimer()
				for i := range publishers {
					all.Go(func() {
						p := hub.Publication{Topic: hub.Topic(fmt.Sprint("c:bench-", i)), ID: "id", Envelope: make([]byte, 256)}
						for next.Add(1) <= int64(b.N) {
							if _, err := bp.Publish(context.Background(), p); err != nil {
								b.Error(err)
								return
							}
						}
					})
				}
				all.Wait()
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
			})
		}
	})
}

// counter counts deliveries, and wakes who waits for one.
type counter struct {
	restored chan struct{}
	got      chan struct{}
}

func (c *counter) Deliver(hub.Delivery) { c.got <- struct{}{} }
func (c *counter) Disrupted(error)      {}
func (c *counter) Restored()            { close(c.restored) }

// From Publish at one member to Deliver at another, one message at a time.
func BenchmarkEndToEnd(b *testing.B) {
	deployments(b, func(b *testing.B, url string) {
		pub, _ := start(b, redisbp.Config{URL: url})
		c := &counter{restored: make(chan struct{}), got: make(chan struct{}, 1)}
		sub := newBackplane(b, redisbp.Config{URL: url})
		if err := sub.Start(b.Context(), c); err != nil {
			b.Fatal(err)
		}
		<-c.restored
		subscribe(b, sub, "c:bench")
		p := hub.Publication{Topic: "c:bench", ID: "id", Envelope: make([]byte, 256)}
		b.ReportAllocs()
		for b.Loop() {
			if _, err := pub.Publish(context.Background(), p); err != nil {
				b.Fatal(err)
			}
			<-c.got
		}
	})
}

func BenchmarkSubscribe10000(b *testing.B) {
	deployments(b, func(b *testing.B, url string) {
		bp, _ := start(b, redisbp.Config{URL: url})
		topics := make([]hub.Topic, 10_000)
		for i := range topics {
			topics[i] = hub.Topic(fmt.Sprintf("c:topic-%d", i))
		}
		b.ReportAllocs()
		var joining time.Duration
		for b.Loop() {
			began := time.Now()
			if err := bp.Subscribe(context.Background(), topics...); err != nil {
				b.Fatal(err)
			}
			joining += time.Since(began)
			if err := bp.Unsubscribe(context.Background(), topics...); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(joining.Milliseconds())/float64(b.N), "ms/subscribe")
	})
}
