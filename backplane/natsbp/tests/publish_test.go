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
	"forge.lthn.ai/core/go-ws/backplane/natsbp/tests/natstest"
	"forge.lthn.ai/core/go-ws/backplane/tests/netfault"
	"forge.lthn.ai/core/go-ws/hub"
)

func TestTooLargeAnEnvelopeIsRefusedWithTheLimit(t *testing.T) {
	s := natstest.Start(t, server.Options{MaxPayload: 1000})
	m := connected(t, natsbp.Config{URL: natstest.URL(natstest.Addr(s))})
	m.join("c:x")
	err := m.try(within(t, natstest.Hang), "c:x", strings.Repeat("x", 1001))
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
	s := natstest.Start(t, server.Options{})
	at, on := natstest.Addr(s), natstest.Port(s)
	m := connected(t, natsbp.Config{URL: natstest.URL(at)})
	m.join("c:x")
	natstest.Stop(s)
	m.await("Disrupted", func(m *member) bool { return m.disrupted > 0 })
	start := time.Now()
	for i := range 100 {
		if err := m.try(context.Background(), "c:x", fmt.Sprint("away ", i)); !errors.Is(err, hub.ErrUnavailable) {
			t.Errorf("Publish while the server is away: got %v, want %v", err, hub.ErrUnavailable)
		}
	}
	t.Logf("100 publishes failed within %v", time.Since(start))
	natstest.Start(t, server.Options{Port: on})
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
	s := natstest.Start(t, server.Options{})
	for name, own := range map[string]bool{"its own connection": false, "the program's connection": true} {
		t.Run(name, func(t *testing.T) {
			p := natstest.Proxy(t, natstest.Addr(s))
			cfg := natsbp.Config{URL: natstest.URL(p.Addr()), Prefix: "ack"}
			if own {
				cfg.URL, cfg.Conn = "", connect(t, p.Addr())
			}
			pub := connected(t, cfg)
			sub := connected(t, natsbp.Config{URL: natstest.URL(natstest.Addr(s)), Prefix: "ack"})
			sub.join("c:x")
			acknowledged, failed := publishThrough(t, p, pub, 40)
			pub.awaitLive(within(t, natstest.Hang))
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
				ctx, cancel := context.WithTimeout(context.Background(), natstest.Hang)
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
		nats.ReconnectWait(20 * time.Millisecond), nats.ReconnectJitter(0, 0), nats.Timeout(natstest.Hang),
	}, options...)
	nc, err := nats.Connect(natstest.URL(address), options...)
	if err != nil {
		t.Fatalf("nats.Connect: %v", err)
	}
	t.Cleanup(nc.Close)
	return nc
}

// stick makes the client stand in a write that has a text in it, with its lock
// held, until release. stuck is closed when it does.
func (t *tap) stick(text string) (stuck <-chan struct{}, release func()) {
	there, over := make(chan struct{}), make(chan struct{})
	var first, last sync.Once
	t.onWrite.Store(new(func(_ net.Conn, b []byte) (int, error, bool) {
		if bytes.Contains(b, []byte(text)) {
			first.Do(func() { close(there); <-over })
		}
		return 0, nil, false
	}))
	return there, func() { last.Do(func() { close(over) }) }
}

// A publish ends with its context though the client is in the midst of a write.
// What was given up while it waited for its turn is never sent, so that nothing
// that the same publisher publishes later can be overtaken by it.
func TestWhatIsGivenUpWhileTheClientIsStuckIsNeverSent(t *testing.T) {
	at := natstest.Addr(natstest.Start(t, server.Options{}))
	tap := &tap{}
	pub := connected(t, natsbp.Config{URL: natstest.URL(at), ProbeInterval: -1, Options: []nats.Option{
		tap.option(), nats.FlusherTimeout(natstest.Hang),
	}})
	sub := connected(t, natsbp.Config{URL: natstest.URL(at)})
	sub.join("c:x")
	stuck, release := tap.stick("the first")
	defer release()
	first := "the first" + strings.Repeat("x", 64<<10) // more than the client gathers
	result := make(chan error, 1)
	go func() { result <- pub.try(within(t, natstest.Hang), "c:x", first) }()
	await(t, "a write that is stuck", stuck)
	for i := range 8 {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		start := time.Now()
		err := pub.try(ctx, "c:x", fmt.Sprint("given up ", i))
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Publish behind one that is stuck: got %v, want %v", err, context.DeadlineExceeded)
		}
		t.Logf("with a context of 50 ms it took %v", time.Since(start))
	}
	release()
	if err := await(t, "the first one's result", result); err != nil {
		t.Errorf("the one that was stuck: got %v, want nil", err)
	}
	pub.publish("c:x", "end")
	sub.arrives("c:x", "end")
	if got := sub.got("c:x"); len(got) != 2 || got[0] != first {
		t.Errorf("got %.20q, want the first one and the last", got)
	}
}

// Silence ends the session, though the client stands in a write with its lock
// held: whoever waits is told then, without a deadline of its own, those too for
// whom there is no room in the queue.
func TestASessionsEndEndsWhatWaitsForTheClient(t *testing.T) {
	at := natstest.Addr(natstest.Start(t, server.Options{}))
	tap := &tap{}
	pub := connected(t, natsbp.Config{URL: natstest.URL(at), ProbeTimeout: silence, Options: []nats.Option{
		tap.option(), nats.FlusherTimeout(natstest.Hang),
	}})
	sub := connected(t, natsbp.Config{URL: natstest.URL(at)})
	sub.join("c:x")
	stuck, release := tap.stick("the first")
	defer release()
	result := make(chan error, 1)
	go func() { result <- pub.try(context.Background(), "c:x", "the first"+strings.Repeat("x", 64<<10)) }()
	await(t, "a write that is stuck", stuck)
	const waiting = 20 // of a megabyte: some of them wait for room
	results := make(chan error, waiting)
	for range waiting {
		go func() { results <- pub.try(context.Background(), "c:x", strings.Repeat("y", 1_000_000)) }()
	}
	for range waiting {
		if err := await(t, "the result of one that waits", results); !errors.Is(err, hub.ErrUnavailable) {
			t.Errorf("Publish behind one that is stuck: got %v, want %v", err, hub.ErrUnavailable)
		}
	}
	if err := await(t, "the first one's result", result); err == nil || errors.Is(err, hub.ErrUnavailable) {
		t.Errorf("the one that was stuck: got %v, want an error that leaves the outcome open", err)
	}
	pub.await("Disrupted", func(m *member) bool { return m.disrupted > 0 })
	release()
	pub.await("Restored again", func(m *member) bool { return m.restored > 1 })
	pub.publish("c:x", "end")
	sub.arrives("c:x", "end")
	for _, e := range sub.got("c:x") {
		// Of the first one the outcome is open.
		if strings.HasPrefix(e, "y") {
			t.Error("got one that was refused with ErrUnavailable, want nothing of it")
		}
	}
}

// await takes one value, or notes that the channel is closed.
func await[T any](t *testing.T, what string, from <-chan T) T {
	t.Helper()
	timeout := time.NewTimer(natstest.Hang)
	defer timeout.Stop()
	select {
	case v := <-from:
		return v
	case <-timeout.C:
		t.Fatalf("got nothing after %v, want %s", natstest.Hang, what)
		panic("not reached")
	}
}

// The client goes on after a write that has timed out, without what it was to
// write; the answers to later PINGs would speak for what was lost.
func TestAWriteThatTimedOutAcknowledgesNothing(t *testing.T) {
	s := natstest.Start(t, server.Options{})
	tap := &tap{}
	pub := connected(t, natsbp.Config{URL: natstest.URL(natstest.Addr(s)), Options: []nats.Option{tap.option()}, ProbeInterval: -1})
	sub := connected(t, natsbp.Config{URL: natstest.URL(natstest.Addr(s))})
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
		pub.awaitLive(within(t, natstest.Hang))
		fail.Store(true)
		var all sync.WaitGroup
		for g := range 16 {
			all.Go(func() {
				envelope := fmt.Sprint(round, "-", g)
				err := pub.try(within(t, natstest.Hang), "c:x", envelope)
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
	s := natstest.Start(t, server.Options{Users: []*server.User{{
		Username: "hub", Password: "secret",
		Permissions: &server.Permissions{
			Publish:   &server.SubjectPermission{Allow: []string{"ws.>"}, Deny: []string{"ws.c:secret"}},
			Subscribe: &server.SubjectPermission{Allow: []string{"ws.>"}},
		},
	}}})
	m := connected(t, natsbp.Config{URL: "nats://hub:secret@" + natstest.Addr(s)})
	m.join("c:open")
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 50 {
				err := m.try(within(t, natstest.Hang), "c:secret", "x")
				if !errors.Is(err, nats.ErrPermissionViolation) {
					t.Errorf("Publish on a forbidden topic: got %v, want %v", err, nats.ErrPermissionViolation)
				}
				if err := m.try(within(t, natstest.Hang), "c:open", "x"); err != nil {
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
