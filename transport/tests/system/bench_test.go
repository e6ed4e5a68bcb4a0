package system_test

import (
	"testing"

	"forge.lthn.ai/core/go-ws/hub"
)

// BenchmarkWebSocketEndToEnd is one message at a time from the server's call to
// a client's having read it.
func BenchmarkWebSocketEndToEnd(b *testing.B) {
	s := serve(b, hub.Config{})
	c := s.on("news")
	b.ReportAllocs()
	for b.Loop() {
		s.send("news", "hello")
		if _, _, err := c.ReadMessage(); err != nil {
			b.Fatal(err)
		}
	}
}
