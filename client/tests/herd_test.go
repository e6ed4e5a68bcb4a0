package tests

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"forge.lthn.ai/core/go-ws/client"
	"forge.lthn.ai/core/go-ws/hub"
)

// TestAThousandClientsOfAHubThatGoesAwayComeBack takes the hub away from all at
// once. How long each of them is away is printed; that they are spread is asserted
// where time is exact, in the client's own test of the same.
func TestAThousandClientsOfAHubThatGoesAwayComeBack(t *testing.T) {
	const clients = 1000
	// A machine that is very slow must not lose anybody a second time.
	patient := hub.Config{HeartbeatInterval: -1, PongTimeout: -1, WriteTimeout: hang, HandshakeTimeout: hang}
	s, other := serve(t, patient), serve(t, patient)
	way := proxyTo(t, s.addr)
	came := make(chan time.Duration, clients)
	live := make(chan struct{}, 20*clients)
	var all []*client.ReconnectingClient
	for range clients {
		var lost time.Time // the callbacks of a client are called one after another
		c, err := client.New(client.ReconnectConfig{
			URL: "ws://" + way.Addr() + "/ws", Logger: quiet, InitialBackoff: 2 * time.Second,
			HandshakeTimeout: hang, WriteTimeout: hang, PingInterval: -1,
			OnDisconnect: func(error) { lost = time.Now() },
			OnReconnect: func(int) {
				select {
				case came <- time.Since(lost):
				default: // again, on a machine that is very slow
				}
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, c)
		if err := c.Subscribe("news", func(context.Context, client.Delivery) { live <- struct{}{} }); err != nil {
			t.Fatal(err)
		}
		if err := c.Connect(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for range clients {
		take(t, "a subscription", live)
	}
	way.SetTarget(other.addr)
	if got := way.Reset(); got != clients {
		t.Errorf("cut %d connections, want %d", got, clients)
	}
	const slot = 250 * time.Millisecond
	var slots [20]int
	late := 0
	for range clients {
		d := take(t, "a client", came)
		if i := int(d / (slot)); i < len(slots) {
			slots[i]++
		} else {
			late++
		}
		take(t, "its subscription", live)
	}
	for i, n := range slots {
		t.Logf("%5v– %4d %s", time.Duration(i)*slot, n, strings.Repeat("#", n/4))
	}
	t.Logf("later   %4d", late)
	if got := other.ChannelSubscriberCount("news"); got != clients {
		t.Errorf("on the other hub: got %d subscribers, want %d", got, clients)
	}
	var ends sync.WaitGroup
	for _, c := range all {
		ends.Go(func() {
			_ = c.Close()
			_ = c.Wait(context.Background())
		})
	}
	ends.Wait()
}
