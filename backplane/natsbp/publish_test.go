package natsbp_test

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"forge.lthn.ai/core/go-ws/backplane/natsbp"
	"forge.lthn.ai/core/go-ws/hub"
)

// hang is when a test gives up waiting.
const hang = time.Minute

// restored is a receiver that waits for the first good news.
type restored chan struct{}

func (r restored) Deliver(hub.Delivery) {}
func (r restored) Disrupted(error)      {}
func (r restored) Restored() {
	select {
	case r <- struct{}{}:
	default:
	}
}

// While the answers of as many round trips as there may be are missing, whoever
// publishes waits, and all of them share the next one.
func TestConcurrentPublicationsShareRoundTrips(t *testing.T) {
	const many, underWay = 64, 4
	server := serve(t)
	b, err := natsbp.New(natsbp.Config{
		URL: server.url, ProbeInterval: -1, Logger: slog.New(slog.DiscardHandler),
		Options: []nats.Option{nats.PingInterval(time.Hour), nats.Timeout(hang)},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	ctx, cancel := context.WithTimeout(t.Context(), hang)
	defer cancel()
	there := make(restored, 1)
	if err := b.Start(ctx, there); err != nil {
		t.Fatal(err)
	}
	select {
	case <-there:
	case <-ctx.Done():
		t.Fatal("got no Restored")
	}

	release := server.hold()
	before, _, _ := server.seen()
	var all sync.WaitGroup
	for range many {
		all.Go(func() {
			if _, err := b.Publish(ctx, hub.Publication{Topic: "c:x", ID: "id", Envelope: []byte("x")}); err != nil {
				t.Errorf("Publish: got %v, want nil", err)
			}
		})
	}
	look := time.NewTicker(time.Millisecond) // nothing tells of what waits
	defer look.Stop()
	for {
		pings, pubs, changed := server.seen()
		if waiting := natsbp.Waiting(b); waiting+pubs == many && (waiting == 0 || pings-before == underWay) {
			t.Logf("%d publications in %d round trips, %d wait", pubs, pings-before, waiting)
			break
		}
		select {
		case <-changed:
		case <-look.C:
		case <-ctx.Done():
			release()
			t.Fatalf("got %d round trips, %d publications and %d that wait, want all of %d", pings-before, pubs, natsbp.Waiting(b), many)
		}
	}
	release()
	all.Wait()
	if pings, _, _ := server.seen(); pings-before > underWay+1 {
		t.Errorf("%d publications: got %d round trips, want %d at most", many, pings-before, underWay+1)
	}
}
