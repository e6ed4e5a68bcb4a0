package tests

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"forge.lthn.ai/core/go-ws/backplane/redisbp"
	"forge.lthn.ai/core/go-ws/backplane/redisbp/tests/redistest"
	"forge.lthn.ai/core/go-ws/backplane/tests/netfault"
	"forge.lthn.ai/core/go-ws/hub"
)

// A Subscribe that gives up while its command is on the way leaves nothing at
// the server, and one that comes after it is live.
func TestASubscribeThatGaveUpLeavesNothing(t *testing.T) {
	server := redistest.Start(t)
	proxy := proxyTo(t, server.Addr())
	b, r := start(t, redisbp.Config{URL: "redis://" + proxy.Addr(), ProbeInterval: hang})
	client := server.Client()
	for _, next := range []hub.Topic{"c:y", "c:x"} {
		// On a machine that is busy the first one may wait for so long that the
		// adapter takes the server for silent, and refuses the next one at once.
		for end := time.Now().Add(hang); ; {
			err := giveUp(t, b, proxy, next)
			if err == nil {
				break
			}
			if !errors.Is(err, hub.ErrUnavailable) || time.Now().After(end) {
				t.Fatalf("Subscribe behind one that gave up: got %v, want nil", err)
			}
			for b.Subscribe(t.Context(), "c:z") != nil && time.Now().Before(end) {
			}
			if err := b.Unsubscribe(t.Context(), "c:z"); err != nil {
				t.Fatalf("Unsubscribe: got %v, want nil", err)
			}
		}
		want := int64(0)
		if next == "c:x" {
			want = 1
		}
		got, err := client.PubSubNumSub(t.Context(), "ws:c:x").Result()
		if err != nil || got["ws:c:x"] != want {
			t.Errorf("subscribers at the server: got %v, %v, want %d", got, err, want)
		}
	}
	publish(t, b, "c:x", "1")
	r.await(t, "a delivery", func() bool { return r.has("c:x", "1") })
}

// giveUp cancels a Subscribe to c:x whose command is on the way, and returns what
// becomes of another Subscribe behind it.
func giveUp(t *testing.T, b *redisbp.Backplane, proxy *netfault.Proxy, next hub.Topic) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), hang)
	defer cancel()
	proxy.Freeze(netfault.Hold)
	defer proxy.Thaw()
	held := proxy.Stats().Held
	onTheWay := func(ctx context.Context, commands string) error {
		held += int64(len(commands))
		return proxy.Wait(ctx, func(s netfault.Stats) bool { return s.Held >= held })
	}
	first := make(chan error, 1)
	giving, giveUp := context.WithCancel(ctx)
	go func() { first <- b.Subscribe(giving, "c:x") }()
	if err := onTheWay(ctx, "*2\r\n$9\r\nsubscribe\r\n$6\r\nws:c:x\r\n"); err != nil {
		t.Fatal(err)
	}
	giveUp()
	if err := <-first; !errors.Is(err, context.Canceled) {
		t.Errorf("Subscribe: got %v, want %v", err, context.Canceled)
	}
	second := make(chan error, 1)
	waiting, refused := context.WithCancel(ctx)
	go func() { second <- b.Subscribe(ctx, next); refused() }()
	err := onTheWay(waiting, "*2\r\n$11\r\nunsubscribe\r\n$6\r\nws:c:x\r\n"+"*2\r\n$9\r\nsubscribe\r\n$6\r\nws:c:?\r\n")
	if err != nil && waiting.Err() == nil {
		t.Fatal(err)
	}
	proxy.Thaw()
	return <-second
}

// Who asks a silent server again and again is refused, and leaves nothing that
// waits for the server.
func TestARefusedSubscribeLeavesNothingToSend(t *testing.T) {
	server := redistest.Start(t)
	b, _ := start(t, redisbp.Config{URL: "redis://" + server.Addr(), ProbeInterval: hang})
	client := server.Client()
	before := calls(t, client, "unsubscribe")
	server.Freeze()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	if err := b.Subscribe(ctx, "c:x"); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("Subscribe: got %v, want %v", err, context.DeadlineExceeded)
	}
	for range 100 {
		if err := b.Subscribe(t.Context(), "c:x", "c:y"); !errors.Is(err, hub.ErrUnavailable) {
			t.Fatalf("Subscribe to a server that is known to be silent: got %v, want %v", err, hub.ErrUnavailable)
		}
	}
	server.Thaw()
	for end := time.Now().Add(hang); b.Subscribe(t.Context(), "c:end") != nil; {
		if time.Now().After(end) {
			t.Fatalf("Subscribe: got nothing but errors for %v, want nil", hang)
		}
	}
	if n := calls(t, client, "unsubscribe") - before; n > 1 {
		t.Errorf("got %d UNSUBSCRIBE at the server, want one at most: for what was on the way", n)
	}
}

// The bytes are the caller's again when Publish has returned, also when the
// publication is half written then.
func TestAnEnvelopeIsTheCallersWhenItsContextHasEnded(t *testing.T) {
	proxy := proxyTo(t, redistest.Start(t).Addr())
	b, r := start(t, redisbp.Config{URL: "redis://" + proxy.Addr(), ProbeInterval: hang, MaxPayload: 32 << 20})
	subscribe(t, b, "c:x", "c:end")
	want := bytes.Repeat([]byte("original"), 3<<20) // more than sockets and the proxy hold
	other := bytes.Repeat([]byte("scrawled"), 3<<20)
	// Nothing comes of it where the context ends before anything is sent, or the
	// client gives up before the network is back. Then it is done again.
	for round, end := 0, time.Now().Add(hang); len(r.envelopes("c:x")) == 0; round++ {
		envelope := bytes.Clone(want)
		proxy.Freeze(netfault.Hold)
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		if _, err := b.Publish(ctx, hub.Publication{Topic: "c:x", Envelope: envelope}); err == nil {
			t.Fatal("Publish while nothing passes: got nil, want an error")
		}
		cancel()
		copy(envelope, other)
		proxy.Thaw()
		after := fmt.Sprint("after round ", round)
		for try(t, b, "c:end", after, hang) != nil && time.Now().Before(end) {
		}
		r.await(t, after, func() bool { return r.has("c:end", after) })
		if time.Now().After(end) {
			t.Fatalf("got nothing in %v, want a delivery of what was half written", hang)
		}
	}
	if got := r.envelopes("c:x")[0]; got != string(want) {
		t.Errorf("got %d bytes %.16q…, want %d of %.16q…", len(got), got, len(want), want)
	}
}

// A server that is frozen for longer than the client waits gets the publication
// when it goes on. Nobody may have sent it once more.
func TestAFrozenServerGetsAPublicationOnce(t *testing.T) {
	server := redistest.Start(t)
	b, r := start(t, redisbp.Config{URL: "redis://" + server.Addr(), ProbeInterval: hang})
	subscribe(t, b, "c:x")
	server.Freeze()
	began := time.Now()
	if err := try(t, b, "c:x", "1", hang); err == nil || errors.Is(err, hub.ErrUnavailable) {
		t.Errorf("Publish: got %v, want an error that leaves the outcome open", err)
	}
	t.Logf("gave up after %v", time.Since(began))
	server.Thaw()
	publish(t, b, "c:x", "2")
	publish(t, b, "c:x", "3")
	r.await(t, "the last one", func() bool { return r.has("c:x", "3") })
	if got, want := r.envelopes("c:x"), []string{"1", "2", "3"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// Close answers who is under way, and who stands behind that.
func TestCloseDoesNotWaitForAFrozenServer(t *testing.T) {
	server := redistest.Start(t)
	b, _ := start(t, redisbp.Config{URL: "redis://" + server.Addr(), ProbeInterval: hang})
	server.Freeze()
	const publishers = 2
	failed := make(chan error, publishers)
	for range publishers {
		go func() {
			_, err := b.Publish(context.Background(), hub.Publication{Topic: "c:x"})
			failed <- err
		}()
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := b.Subscribe(ctx, "c:x"); err == nil {
		t.Error("Subscribe: got nil, want an error")
	}
	began := time.Now()
	if err := b.Close(); err != nil {
		t.Errorf("Close: got %v, want nil", err)
	}
	t.Logf("closed after %v", time.Since(began))
	for range publishers {
		select {
		case err := <-failed:
			if err == nil {
				t.Error("Publish that was under way: got nil, want an error")
			}
		case <-time.After(hang):
			t.Fatalf("Publish after Close: got nothing for %v, want an error", hang)
		}
	}
	server.Thaw()
}

// Close answers those whose publication waits behind one that is under way: nothing
// of theirs was sent.
func TestWhatWaitsAtCloseWasNotSent(t *testing.T) {
	proxy := proxyTo(t, redistest.Start(t).Addr())
	b, _ := start(t, redisbp.Config{URL: "redis://" + proxy.Addr(), ProbeInterval: hang})
	publish(t, b, "c:x", "connects")
	ctx, cancel := context.WithTimeout(t.Context(), hang)
	defer cancel()
	proxy.Freeze(netfault.Hold)
	defer proxy.Thaw()
	held := proxy.Stats().Held
	underWay := make(chan error, 1)
	go func() { underWay <- try(t, b, "c:x", "under way", hang) }()
	if err := proxy.Wait(ctx, func(s netfault.Stats) bool { return s.Held > held }); err != nil {
		t.Fatal(err)
	}
	const publishers = 100
	asks, waited := make(chan struct{}), make(chan error)
	for range publishers {
		go func() {
			asks <- struct{}{}
			waited <- try(t, b, "c:x", "waits", hang)
		}()
	}
	for range publishers {
		<-asks
	}
	if err := b.Close(); err != nil {
		t.Errorf("Close: got %v, want nil", err)
	}
	if err := <-underWay; err == nil {
		t.Error("Publish that is under way at Close: got nil, want an error")
	}
	for range publishers {
		if err := <-waited; !errors.Is(err, hub.ErrUnavailable) {
			t.Errorf("Publish that waits at Close: got %v, want %v: nothing was sent", err, hub.ErrUnavailable)
		}
	}
}
