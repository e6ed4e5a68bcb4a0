package tests

import (
	"bytes"
	"context"
	"errors"
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
	// What goes out: the first try, its opposite, the second try.
	const commands = "*2\r\n$9\r\nsubscribe\r\n$6\r\nws:c:x\r\n" +
		"*2\r\n$11\r\nunsubscribe\r\n$6\r\nws:c:x\r\n" +
		"*2\r\n$9\r\nsubscribe\r\n$6\r\nws:c:?\r\n"
	for _, again := range []bool{false, true} {
		held := proxy.Stats().Held + int64(len(commands))
		proxy.Freeze(netfault.Hold)
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		if err := b.Subscribe(ctx, "c:x"); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("Subscribe: got %v, want %v", err, context.DeadlineExceeded)
		}
		cancel()
		second := make(chan error, 1)
		if again {
			go func() { second <- b.Subscribe(t.Context(), "c:x") }()
		} else {
			go func() { second <- b.Subscribe(t.Context(), "c:y") }()
		}
		if err := proxy.Wait(t.Context(), func(s netfault.Stats) bool { return s.Held >= held }); err != nil {
			t.Fatal(err)
		}
		proxy.Thaw()
		if err := <-second; err != nil {
			t.Fatalf("Subscribe behind it: got %v, want nil", err)
		}
		want := int64(0)
		if again {
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

// The bytes are the caller's again when Publish has returned, also when the
// publication is half written then.
func TestAnEnvelopeIsTheCallersWhenItsContextHasEnded(t *testing.T) {
	proxy := proxyTo(t, redistest.Start(t).Addr())
	b, r := start(t, redisbp.Config{URL: "redis://" + proxy.Addr(), ProbeInterval: hang, MaxPayload: 32 << 20})
	subscribe(t, b, "c:x")
	want := bytes.Repeat([]byte("original"), 3<<20) // more than sockets and the proxy hold
	envelope := bytes.Clone(want)
	proxy.Freeze(netfault.Hold)
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := b.Publish(ctx, hub.Publication{Topic: "c:x", Envelope: envelope}); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("Publish: got %v, want %v", err, context.DeadlineExceeded)
	}
	for i := range envelope {
		envelope[i] = 'X'
	}
	proxy.Thaw()
	r.await(t, "a delivery", func() bool { return len(r.got) == 1 })
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

func TestCloseDoesNotWaitForAFrozenServer(t *testing.T) {
	server := redistest.Start(t)
	b, _ := start(t, redisbp.Config{URL: "redis://" + server.Addr(), ProbeInterval: hang})
	server.Freeze()
	failed := make(chan error, 1)
	go func() { failed <- try(t, b, "c:x", "1", hang) }()
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
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("Close: took %v, want it at once", took)
	}
	if err := <-failed; err == nil {
		t.Error("Publish that was under way: got nil, want an error")
	}
	server.Thaw()
}
