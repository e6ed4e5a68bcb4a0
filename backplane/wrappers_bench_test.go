package backplane_test

import (
	"fmt"
	"testing"

	"forge.lthn.ai/core/go-ws/backplane"
	"forge.lthn.ai/core/go-ws/hub"
	"forge.lthn.ai/core/go-ws/hub/wire"
)

// One publish with one delivery.
func BenchmarkWrappedPublish(b *testing.B) {
	member := func() hub.Backplane { return backplane.NewMemory(backplane.MemoryConfig{}).Join() }
	for _, bp := range []struct {
		name string
		make func(b *testing.B) hub.Backplane
	}{
		{"bare", func(*testing.B) hub.Backplane { return member() }},
		{"dual", func(b *testing.B) hub.Backplane { return newDual(b, member(), member()) }},
		{"encrypted", func(b *testing.B) hub.Backplane {
			return newEncrypted(b, member(), backplane.EncryptedConfig{Keys: keys(1)})
		}},
	} {
		for _, size := range []int{256, 4 << 10, 32 << 10} {
			b.Run(fmt.Sprintf("%s/%d", bp.name, size), func(b *testing.B) {
				m := bp.make(b)
				start(b, m, receiver{}, "c:x")
				p := hub.Publication{Topic: "c:x", ID: "1", Envelope: wire.AppendEnvelope(nil, &wire.Envelope{
					Source: "hub", Sequence: 1, MessageID: "1", Payload: make([]byte, size),
				})}
				b.ReportAllocs()
				for b.Loop() {
					if _, err := m.Publish(b.Context(), p); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
