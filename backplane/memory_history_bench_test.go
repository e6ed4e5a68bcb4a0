package backplane_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"forge.lthn.ai/core/go-ws/backplane"
	"forge.lthn.ai/core/go-ws/hub"
)

// Publishing to a log: one topic and 64 topics, as many goroutines.
func BenchmarkMemoryPublishToALog(b *testing.B) {
	for _, goroutines := range []int{1, 64} {
		for _, topics := range []int{1, 64} {
			b.Run(fmt.Sprintf("%d goroutines/%d topics", goroutines, topics), func(b *testing.B) {
				m := joinLogs(b, backplane.NewMemory(backplane.MemoryConfig{}), hub.Log{Name: "log", Messages: 1000})
				envelope := make([]byte, 256)
				var next atomic.Int64
				b.ReportAllocs()
				b.ResetTimer()
				var all sync.WaitGroup
				for range goroutines {
					all.Go(func() {
						for i := next.Add(1); i <= int64(b.N); i = next.Add(1) {
							p := hub.Publication{Topic: hub.Topic(fmt.Sprint("c:", i%int64(topics))), ID: fmt.Sprint(i), Log: "log", Envelope: envelope}
							if _, err := m.Publish(b.Context(), p); err != nil {
								b.Errorf("Publish: got %v, want nil", err)
								return
							}
						}
					})
				}
				all.Wait()
			})
		}
	}
}

func BenchmarkMemoryReadOfThousand(b *testing.B) {
	m := joinLogs(b, backplane.NewMemory(backplane.MemoryConfig{}), hub.Log{Name: "log"})
	for i := range 2000 {
		m.append("c:x", fmt.Sprint(i))
	}
	b.ReportAllocs()
	for b.Loop() {
		if page := m.read(hub.ReadRequest{Topic: "c:x", Since: hub.Position{Offset: 501}, Limit: 1000}); len(page.Entries) != 1000 {
			b.Fatalf("Read: got %d entries, want 1,000", len(page.Entries))
		}
	}
}
