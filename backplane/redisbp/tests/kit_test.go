package tests

import (
	"context"
	"io"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"forge.lthn.ai/core/go-ws/backplane/redisbp"
	"forge.lthn.ai/core/go-ws/backplane/tests/netfault"
	"forge.lthn.ai/core/go-ws/hub"
)

// hang is when waiting ends a test.
const hang = time.Minute

// quiet keeps the failures that tests cause out of their output.
var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

// newBackplane makes one that is not started. The test closes it.
func newBackplane(t testing.TB, cfg redisbp.Config) *redisbp.Backplane {
	t.Helper()
	if cfg.Logger == nil {
		cfg.Logger = quiet
	}
	b, err := redisbp.New(cfg)
	if err != nil {
		t.Fatalf("New: got %v, want nil", err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

// start starts one and waits until it has its broker.
func start(t testing.TB, cfg redisbp.Config) (*redisbp.Backplane, *receiver) {
	t.Helper()
	b, r := newBackplane(t, cfg), newReceiver()
	if err := b.Start(t.Context(), r); err != nil {
		t.Fatalf("Start: got %v, want nil", err)
	}
	r.await(t, "Restored", func() bool { return r.restored > 0 })
	return b, r
}

func subscribe(t testing.TB, b *redisbp.Backplane, topics ...hub.Topic) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), hang)
	defer cancel()
	if err := b.Subscribe(ctx, topics...); err != nil {
		t.Fatalf("Subscribe: got %v, want nil", err)
	}
}

func publish(t testing.TB, b *redisbp.Backplane, topic hub.Topic, envelope string) {
	t.Helper()
	if err := try(t, b, topic, envelope, hang); err != nil {
		t.Fatalf("Publish: got %v, want nil", err)
	}
}

func try(t testing.TB, b *redisbp.Backplane, topic hub.Topic, envelope string, patience time.Duration) error {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	_, err := b.Publish(ctx, hub.Publication{Topic: topic, ID: "id", Envelope: []byte(envelope)})
	return err
}

// receiver writes down what a backplane tells it. Its fields are read within
// await's condition, or by copies.
type receiver struct {
	mu        sync.Mutex
	changed   chan struct{}
	got       []hub.Delivery
	disrupted []error
	restored  int
}

func newReceiver() *receiver { return &receiver{changed: make(chan struct{})} }

func (r *receiver) note(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f()
	close(r.changed)
	r.changed = make(chan struct{})
}

func (r *receiver) Deliver(d hub.Delivery) { r.note(func() { r.got = append(r.got, d) }) }
func (r *receiver) Disrupted(err error)    { r.note(func() { r.disrupted = append(r.disrupted, err) }) }
func (r *receiver) Restored()              { r.note(func() { r.restored++ }) }

// await waits until the condition holds, which is called with r locked.
func (r *receiver) await(t testing.TB, what string, condition func() bool) {
	t.Helper()
	timer := time.NewTimer(hang)
	defer timer.Stop()
	for {
		r.mu.Lock()
		ok, changed := condition(), r.changed
		r.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-changed:
		case <-timer.C:
			r.mu.Lock()
			defer r.mu.Unlock()
			t.Fatalf("got nothing more for %v (%d deliveries, disrupted %v, restored %d), want %s",
				hang, len(r.got), r.disrupted, r.restored, what)
		}
	}
}

// envelopes are those of one topic.
func (r *receiver) envelopes(topic hub.Topic) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []string
	for _, d := range r.got {
		if d.Topic == topic {
			all = append(all, string(d.Envelope))
		}
	}
	return all
}

// has is called with r locked.
func (r *receiver) has(topic hub.Topic, envelope string) bool {
	for _, d := range r.got {
		if d.Topic == topic && string(d.Envelope) == envelope {
			return true
		}
	}
	return false
}

// hears publishes on a topic and reports whether that comes within a moment.
func (r *receiver) hears(t testing.TB, b *redisbp.Backplane, topic hub.Topic) bool {
	t.Helper()
	publish(t, b, topic, "hello")
	r.mu.Lock()
	heard, changed := r.has(topic, "hello"), r.changed
	r.mu.Unlock()
	if !heard {
		select {
		case <-changed:
		case <-time.After(10 * time.Millisecond):
		}
	}
	return heard
}

// reasons are those of all Disrupted.
func (r *receiver) reasons() []error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.disrupted)
}

// refusal starts a backplane that the server refuses, and returns why: by Start, or
// by Disrupted where the answer took longer than Start waits.
func refusal(t testing.TB, b *redisbp.Backplane) error {
	t.Helper()
	r := newReceiver()
	if err := b.Start(t.Context(), r); err != nil {
		return err
	}
	r.await(t, "Disrupted by what the server refuses", func() bool { return len(r.disrupted) > 0 })
	return r.reasons()[0]
}

// proxyTo makes a proxy before a server. The test closes it.
func proxyTo(t testing.TB, addr string) *netfault.Proxy {
	t.Helper()
	p, err := netfault.Listen(addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}
