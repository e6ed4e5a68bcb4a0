package hub_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"forge.lthn.ai/core/go-ws/hub"
	"forge.lthn.ai/core/go-ws/hub/hubtest"
)

// benchBatch is how many publishes go before a benchmark waits for the
// connections to have taken them: fewer than fill an outbox.
const benchBatch = 1024

// benchHub is a hub that runs, on a transport whose peers count what they get.
type benchHub struct {
	*hub.Hub
	b         *testing.B
	transport *hubtest.Transport
	clients   []*hub.Client
	taken     int64 // frames, as far as has been waited for
	began     time.Time
}

func newBenchHub(b *testing.B, clients int) *benchHub {
	b.Helper()
	x := &benchHub{b: b, transport: &hubtest.Transport{Discard: true}}
	var mu sync.Mutex
	h, err := hub.New(hub.Config{
		Transport: x.transport, Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
		OutboxMessages: 64 * benchBatch, OutboxBytes: 1 << 30, DrainSpread: -1, MaxSubscriptions: 10_000,
		OnConnect: func(_ context.Context, c *hub.Client) error {
			mu.Lock()
			defer mu.Unlock()
			x.clients = append(x.clients, c)
			return nil
		},
	})
	if err != nil {
		b.Fatal(err)
	}
	x.Hub = h
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	go func() { ran <- h.Run(ctx) }()
	b.Cleanup(func() {
		cancel()
		if err := <-ran; err != nil {
			b.Error(err)
		}
	})
	for h.Ready() != nil {
		select {
		case err := <-ran:
			b.Fatal(err)
		default:
		}
	}
	for range clients {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		if p, resp := x.transport.Dial(h.Handler(), r); p == nil {
			b.Fatalf("dial: status %d", resp.Status)
		}
	}
	return x
}

func (x *benchHub) subscribe(c *hub.Client, channel string) {
	if err := x.Subscribe(context.Background(), c, channel); err != nil {
		x.b.Fatal(err)
	}
}

// await waits, off the clock, until the connections have taken n more frames.
func (x *benchHub) await(n int64) {
	x.b.StopTimer()
	defer x.b.StartTimer()
	x.taken += n
	if err := x.transport.WaitFrames(x.b.Context(), x.taken); err != nil {
		x.b.Fatal(err)
	}
}

// run publishes until the benchmark has enough, and waits for every receiver's
// connection to have taken everything. ns/op is what a call takes, ns/delivery
// all the time until then.
func (x *benchHub) run(receivers int, publish func(i int) error) {
	x.b.ReportAllocs()
	i := 0
	x.began = time.Now()
	for x.b.Loop() {
		if err := publish(i); err != nil {
			x.b.Fatal(err)
		}
		if i++; i%benchBatch == 0 {
			x.await(int64(receivers) * benchBatch)
		}
	}
	x.await(int64(receivers) * int64(i%benchBatch))
	x.perDelivery(receivers)
}

// runParallel is run from several goroutines.
func (x *benchHub) runParallel(receivers int, publish func(i int) error) {
	x.b.ReportAllocs()
	var sent atomic.Int64
	x.b.ResetTimer()
	x.began = time.Now()
	x.b.RunParallel(func(pb *testing.PB) {
		for i := 0; pb.Next(); i++ {
			if err := publish(i); err != nil {
				x.b.Error(err)
				return
			}
			if n := sent.Add(1); n%benchBatch == 0 {
				// The others go on meanwhile, each as far as the next batch: an outbox
				// holds 64 of them.
				if err := x.transport.WaitFrames(x.b.Context(), max(0, n-8*benchBatch)*int64(receivers)); err != nil {
					x.b.Error(err)
					return
				}
			}
		}
	})
	x.await(sent.Load() * int64(receivers))
	x.perDelivery(receivers)
}

func (x *benchHub) perDelivery(receivers int) {
	x.b.StopTimer()
	x.b.ReportMetric(float64(time.Since(x.began).Nanoseconds())/float64(x.b.N)/float64(receivers), "ns/delivery")
}

// benchData is 100 bytes of data.
var benchData = strings.Repeat("0123456789", 10)

func BenchmarkBroadcast_100(b *testing.B) {
	x := newBenchHub(b, 100)
	x.run(100, func(int) error {
		_, err := x.Broadcast(context.Background(), hub.Message{Data: benchData})
		return err
	})
}

// BenchmarkBroadcast_100_OneByOne waits for each message to have reached
// everybody, so that nothing gathers: nothing is allocated for each receiver.
func BenchmarkBroadcast_100_OneByOne(b *testing.B) {
	x := newBenchHub(b, 100)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := x.Broadcast(context.Background(), hub.Message{Data: benchData}); err != nil {
			b.Fatal(err)
		}
		x.taken += 100
		if err := x.transport.WaitFrames(b.Context(), x.taken); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkBroadcast_100_Parallel(b *testing.B) {
	x := newBenchHub(b, 100)
	x.runParallel(100, func(int) error {
		_, err := x.Broadcast(context.Background(), hub.Message{Data: benchData})
		return err
	})
}

// onNews makes a hub of 100 clients of whom 50 are on the channel news.
func onNews(b *testing.B) *benchHub {
	x := newBenchHub(b, 100)
	for _, c := range x.clients[:50] {
		x.subscribe(c, "news")
	}
	return x
}

func BenchmarkSendToChannel_50(b *testing.B) {
	x := onNews(b)
	x.run(50, func(int) error {
		_, err := x.SendToChannel(context.Background(), "news", hub.Message{Data: benchData})
		return err
	})
}

func BenchmarkSendToChannel_50_Parallel(b *testing.B) {
	x := onNews(b)
	x.runParallel(50, func(int) error {
		_, err := x.SendToChannel(context.Background(), "news", hub.Message{Data: benchData})
		return err
	})
}

// BenchmarkMessageMarshalling is a message's way into a frame, with nobody to
// get it.
func BenchmarkMessageMarshalling(b *testing.B) {
	for _, test := range []struct {
		name string
		data any
	}{
		{"String", benchData},
		{"Struct", hub.Event{Event: "created", Data: hub.ProcessStatus{Status: "running", ExitCode: 1}}},
		{"Map", map[string]any{"user": "anna", "text": benchData, "n": 17}},
		{"Raw", json.RawMessage(`{"user":"anna","n":17}`)},
	} {
		b.Run(test.name, func(b *testing.B) {
			x := newBenchHub(b, 0)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := x.SendToChannel(context.Background(), "news", hub.Message{Data: test.data}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkSubscribeUnsubscribe(b *testing.B) {
	x := newBenchHub(b, 1)
	b.ReportAllocs()
	for b.Loop() {
		x.subscribe(x.clients[0], "news")
		x.Unsubscribe(x.clients[0], "news")
	}
}

// BenchmarkMultiChannelFanOut publishes on 100 channels in turn, each with 10
// subscribers out of 100 clients.
func BenchmarkMultiChannelFanOut(b *testing.B) {
	x := newBenchHub(b, 100)
	channels := make([]string, 100)
	for i := range channels {
		channels[i] = fmt.Sprintf("channel-%d", i)
		for j := range 10 {
			x.subscribe(x.clients[(i+10*j)%100], channels[i])
		}
	}
	x.run(10, func(i int) error {
		_, err := x.SendToChannel(context.Background(), channels[i%100], hub.Message{Data: benchData})
		return err
	})
}

// BenchmarkConcurrentSubscribers joins and leaves one channel from several
// goroutines, each with a client of its own.
func BenchmarkConcurrentSubscribers(b *testing.B) {
	x := newBenchHub(b, 64)
	var next atomic.Int64
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		c := x.clients[int(next.Add(1)-1)%len(x.clients)]
		for pb.Next() {
			x.subscribe(c, "news")
			x.Unsubscribe(c, "news")
		}
	})
}
