package wrapped

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"forge.lthn.ai/core/go-ws/hub"
	"forge.lthn.ai/core/go-ws/hub/wire"
)

// From SendToChannel at one hub to the frame at a client of another, one message
// at a time. The clients have no sockets, so that it is the backplane's time.
func BenchmarkHubToHub(b *testing.B) {
	for name, start := range map[string]func(testing.TB) *broker{"Redis": startRedis, "NATS": startNATS} {
		b.Run(name, func(b *testing.B) {
			broker := start(b)
			join := func() *gateway {
				bp, err := broker.at(broker.server) // no proxy between
				if err != nil {
					b.Fatal(err)
				}
				return startGateway(b, bp)
			}
			from, to := join(), join()
			peer, answer := to.transport.Dial(to.Handler(), httptest.NewRequest(http.MethodGet, "/ws?user=ann", nil))
			if peer == nil {
				b.Fatalf("connecting to a hub: got %d, want an upgrade", answer.Status)
			}
			defer peer.Cut()
			next := func(want wire.Type) {
				_, payload, err := peer.Receive(context.Background())
				if err != nil {
					b.Fatal(err)
				}
				if f, err := wire.ParseFrame(payload); err != nil || f.Type != want {
					b.Fatalf("got %q, %v, want a frame of type %s", payload, err, want)
				}
			}
			if err := peer.SendText(fmt.Sprintf(`{"type":"subscribe","data":%q}`, "news")); err != nil {
				b.Fatal(err)
			}
			next(wire.TypeSubscribed)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := from.SendToChannel(context.Background(), "news", hub.Message{Data: "hello"}); err != nil {
					b.Fatal(err)
				}
				next(wire.TypeEvent)
			}
		})
	}
}
