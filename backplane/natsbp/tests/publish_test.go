package tests

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"forge.lthn.ai/core/go-ws/backplane/natsbp"
	"forge.lthn.ai/core/go-ws/backplane/tests/netfault"
	"forge.lthn.ai/core/go-ws/hub"
)

func TestTooLargeAnEnvelopeIsRefusedWithTheLimit(t *testing.T) {
	s := startServer(t, server.Options{MaxPayload: 1000})
	m := connected(t, natsbp.Config{URL: urlOf(address(s))})
	m.join("c:x")
	err := m.try(within(t, hang), "c:x", strings.Repeat("x", 1001))
	if !errors.Is(err, hub.ErrTooLarge) || !strings.Contains(err.Error(), "max_payload is 1000") {
		t.Errorf("Publish of 1001 bytes: got %v, want one that wraps %v and names the limit", err, hub.ErrTooLarge)
	}
	m.publish("c:x", strings.Repeat("y", 1000), "end")
	m.arrives("c:x", "end")
	if n := m.disruptions(); n > 0 {
		t.Errorf("after an envelope that is too large: got %d times Disrupted, want none", n)
	}
}

// Without a deadline, so that only the adapter can end the call; and nothing of
// it comes when the server is back.
func TestPublishingWhileTheServerIsAwayFailsAtOnceAndForGood(t *testing.T) {
	s := startServer(t, server.Options{})
	at, on := address(s), port(s)
	m := connected(t, natsbp.Config{URL: urlOf(at)})
	m.join("c:x")
	stopServer(s)
	m.await("Disrupted", func(m *member) bool { return m.disrupted > 0 })
	start := time.Now()
	for i := range 100 {
		if err := m.try(context.Background(), "c:x", fmt.Sprint("away ", i)); !errors.Is(err, hub.ErrUnavailable) {
			t.Errorf("Publish while the server is away: got %v, want %v", err, hub.ErrUnavailable)
		}
	}
	t.Logf("100 publishes failed within %v", time.Since(start))
	startServer(t, server.Options{Port: on})
	m.await("Restored again", func(m *member) bool { return m.restored > 1 })
	m.publish("c:x", "end")
	m.arrives("c:x", "end")
	if got := m.got("c:x"); len(got) != 1 {
		t.Errorf("after the server's return: got %q, want the last one alone", got)
	}
}

// The subscriber's own connection is sound: whatever Publish said nil to must
// arrive there, though the publishers' connection is reset all the time.
func TestAnAcknowledgedPublicationIsNeverLost(t *testing.T) {
	s := startServer(t, server.Options{})
	for name, own := range map[string]bool{"its own connection": false, "the program's connection": true} {
		t.Run(name, func(t *testing.T) {
			p := startProxy(t, address(s))
			cfg := natsbp.Config{URL: urlOf(p.Addr()), Prefix: "ack"}
			if own {
				cfg.URL, cfg.Conn = "", connect(t, p.Addr())
			}
			pub := connected(t, cfg)
			sub := connected(t, natsbp.Config{URL: urlOf(address(s)), Prefix: "ack"})
			sub.join("c:x")
			acknowledged, failed := publishThrough(t, p, pub, 40)
			pub.awaitLive(within(t, hang))
			pub.publish("c:x", "end")
			sub.arrives("c:x", "end")
			got := make(map[string]int)
			for _, e := range sub.got("c:x") {
				got[e]++
			}
			for _, e := range acknowledged {
				if got[e] != 1 {
					t.Errorf("%s was acknowledged: got it %d times, want once", e, got[e])
				}
			}
			t.Logf("%d acknowledged, %d failed", len(acknowledged), failed)
			if failed == 0 {
				t.Error("failed: got none, so the resets have not bitten")
			}
		})
	}
}

// publishThrough publishes from 32 goroutines while the proxy resets its
// connections, each time when the publisher is there again and something has
// been acknowledged.
func publishThrough(t *testing.T, p *netfault.Proxy, pub *member, resets int) (acknowledged []string, failed int) {
	var mu sync.Mutex
	changed := sync.NewCond(&mu)
	stop := make(chan struct{})
	var all sync.WaitGroup
	for g := range 32 {
		all.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				envelope := fmt.Sprintf("%d-%d", g, i)
				ctx, cancel := context.WithTimeout(context.Background(), hang)
				err := pub.try(ctx, "c:x", envelope)
				if errors.Is(err, hub.ErrUnavailable) {
					// It would spin, on two cores, until the server is back.
					pub.awaitLive(ctx)
				}
				cancel()
				mu.Lock()
				if err == nil {
					acknowledged = append(acknowledged, envelope)
				} else {
					failed++
				}
				changed.Broadcast()
				mu.Unlock()
			}
		})
	}
	for range resets {
		mu.Lock()
		for before := len(acknowledged); len(acknowledged) < before+50; {
			changed.Wait()
		}
		mu.Unlock()
		p.Reset()
	}
	close(stop)
	all.Wait()
	return acknowledged, failed
}

// awaitLive waits until the receiver was told Restored last.
func (m *member) awaitLive(ctx context.Context) {
	for {
		m.mu.Lock()
		up, changed := len(m.signals) > 0 && m.signals[len(m.signals)-1] == "Restored", m.changed
		m.mu.Unlock()
		if up {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

// connect makes a connection as a program does that hands it to New.
func connect(t testing.TB, address string, options ...nats.Option) *nats.Conn {
	t.Helper()
	options = append([]nats.Option{
		nats.MaxReconnects(-1), nats.ReconnectBufSize(-1), nats.FlusherTimeout(2 * time.Second),
		nats.ReconnectWait(20 * time.Millisecond), nats.ReconnectJitter(0, 0),
	}, options...)
	nc, err := nats.Connect(urlOf(address), options...)
	if err != nil {
		t.Fatalf("nats.Connect: %v", err)
	}
	t.Cleanup(nc.Close)
	return nc
}

// A round trip is a PING.
func TestConcurrentPublicationsShareRoundTrips(t *testing.T) {
	p := startProxy(t, address(startServer(t, server.Options{})))
	tap := &tap{}
	m := connected(t, natsbp.Config{URL: urlOf(p.Addr()), Options: []nats.Option{tap.option()}, ProbeInterval: -1})
	p.Delay(5 * time.Millisecond)
	before := tap.pings.Load()
	const goroutines, each = 64, 10
	var all sync.WaitGroup
	for range goroutines {
		all.Go(func() {
			for range each {
				if err := m.try(within(t, hang), "c:x", "x"); err != nil {
					t.Errorf("Publish: got %v, want nil", err)
				}
			}
		})
	}
	all.Wait()
	if got, want := tap.pings.Load()-before, int64(goroutines*each/4); got > want {
		t.Errorf("%d publishes: got %d round trips, want at most %d", goroutines*each, got, want)
	} else {
		t.Logf("%d publishes took %d round trips", goroutines*each, got)
	}
}

// The socket takes nothing any more, so that the client stands in a write with
// its lock held: each publish ends with its context all the same, and what waits
// is bounded.
func TestPublishObeysItsContextWhileTheSocketIsFull(t *testing.T) {
	p := startProxy(t, address(startServer(t, server.Options{})))
	m := connected(t, natsbp.Config{URL: urlOf(p.Addr()), ProbeInterval: -1})
	p.Freeze(netfault.Hold)
	envelope := strings.Repeat("x", 1<<20)
	var all sync.WaitGroup
	for range 64 {
		all.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
			defer cancel()
			start := time.Now()
			if err := m.try(ctx, "c:x", envelope); err == nil {
				t.Error("Publish into a silent connection: got nil, want an error")
			}
			if took := time.Since(start); took > 5*time.Second {
				t.Errorf("Publish with a context of 300 ms: took %v", took)
			}
		})
	}
	all.Wait()
}

// The client goes on after a write that has timed out, without what it was to
// write; the answers to later PINGs would speak for what was lost.
func TestAWriteThatTimedOutAcknowledgesNothing(t *testing.T) {
	s := startServer(t, server.Options{})
	tap := &tap{}
	pub := connected(t, natsbp.Config{URL: urlOf(address(s)), Options: []nats.Option{tap.option()}, ProbeInterval: -1})
	sub := connected(t, natsbp.Config{URL: urlOf(address(s))})
	sub.join("c:x")
	var fail atomic.Bool
	tap.onWrite.Store(new(func(_ net.Conn, b []byte) (int, error, bool) {
		if bytes.Contains(b, []byte("PUB ws.c:x")) && fail.CompareAndSwap(true, false) {
			return 0, os.ErrDeadlineExceeded, true
		}
		return 0, nil, false
	}))
	var mu sync.Mutex
	var acknowledged []string
	failed := 0
	for round := range 20 {
		pub.awaitLive(within(t, hang))
		fail.Store(true)
		var all sync.WaitGroup
		for g := range 16 {
			all.Go(func() {
				envelope := fmt.Sprint(round, "-", g)
				err := pub.try(within(t, hang), "c:x", envelope)
				mu.Lock()
				defer mu.Unlock()
				if err != nil {
					failed++
					return
				}
				acknowledged = append(acknowledged, envelope)
			})
		}
		all.Wait()
		pub.await("a new connection", func(m *member) bool { return m.restored > round+1 })
	}
	pub.publish("c:x", "end")
	sub.arrives("c:x", "end")
	for _, e := range acknowledged {
		if !slices.Contains(sub.got("c:x"), e) {
			t.Errorf("%s was acknowledged: got nothing, want it delivered", e)
		}
	}
	t.Logf("%d acknowledged, %d failed", len(acknowledged), failed)
}

// What an access list forbids is told to whoever published it, and nobody else.
func TestARefusedPublicationSaysSo(t *testing.T) {
	s := startServer(t, server.Options{Users: []*server.User{{
		Username: "hub", Password: "secret",
		Permissions: &server.Permissions{
			Publish:   &server.SubjectPermission{Allow: []string{"ws.>"}, Deny: []string{"ws.c:secret"}},
			Subscribe: &server.SubjectPermission{Allow: []string{"ws.>"}},
		},
	}}})
	m := connected(t, natsbp.Config{URL: "nats://hub:secret@" + address(s)})
	m.join("c:open")
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 50 {
				err := m.try(within(t, hang), "c:secret", "x")
				if !errors.Is(err, nats.ErrPermissionViolation) {
					t.Errorf("Publish on a forbidden topic: got %v, want %v", err, nats.ErrPermissionViolation)
				}
				if err := m.try(within(t, hang), "c:open", "x"); err != nil {
					t.Errorf("Publish beside it: got %v, want nil", err)
				}
			}
		})
	}
	all.Wait()
	if n := m.disruptions(); n > 0 {
		t.Errorf("after refused publications: got %d times Disrupted, want none", n)
	}
}
