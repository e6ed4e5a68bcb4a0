package backplane_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"forge.lthn.ai/core/go-ws/backplane"
	"forge.lthn.ai/core/go-ws/hub"
	"forge.lthn.ai/core/go-ws/hub/hubtest"
)

// logged is a backplane with a history, which keeps everything and gives
// deliveries no positions of its own.
type logged struct {
	*hubtest.Backplane
	name string

	mu       sync.Mutex
	declared []hub.Log
	logs     []string // of the publications
	entries  []hub.Delivery
	fail     error // of every call
}

func (l *logged) Abilities() hub.Abilities { return hub.Abilities{History: (*loggedHistory)(l)} }

func (l *logged) Publish(ctx context.Context, p hub.Publication) (hub.Published, error) {
	published, err := l.Backplane.Publish(ctx, p)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.logs = append(l.logs, p.Log)
	if err == nil && p.Log != "" {
		published.Position = hub.Position{Offset: uint64(len(l.entries) + 1), ID: l.name}
		l.entries = append(l.entries, hub.Delivery{
			Topic: p.Topic, Envelope: append([]byte(nil), p.Envelope...), Position: published.Position,
		})
	}
	return published, err
}

// noHistory hides it.
type noHistory struct{ *logged }

func (noHistory) Abilities() hub.Abilities { return hub.Abilities{} }

type loggedHistory logged

func (h *loggedHistory) Declare(logs ...hub.Log) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.declared = logs
	return h.fail
}

func (h *loggedHistory) Read(context.Context, hub.ReadRequest) (hub.Page, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return hub.Page{Entries: h.entries, Top: hub.Position{Offset: uint64(len(h.entries)), ID: h.name}}, h.fail
}

func (h *loggedHistory) Tops(_ context.Context, _ string, topics ...hub.Topic) ([]hub.Position, error) {
	return []hub.Position{{Offset: uint64(len(topics)), ID: h.name}}, h.fail
}

func TestDualHasFromsHistoryAndToFollows(t *testing.T) {
	b := newBrokers()
	from := &logged{Backplane: b.from.Join(), name: "from"}
	to := &logged{Backplane: b.to.Join(), name: "to"}
	d := newDual(t, from, to)
	history := d.Abilities().History
	if history == nil {
		t.Fatal("Abilities: got no History, want From's")
	}
	if err := history.Declare(hub.Log{Name: "log"}); err != nil {
		t.Fatalf("Declare: got %v, want nil", err)
	}
	if len(from.declared) != 1 || len(to.declared) != 1 {
		t.Errorf("declared: got %v and %v, want one log on both sides", from.declared, to.declared)
	}
	var got []hub.Delivery
	start(t, d, receiver{deliver: func(d hub.Delivery) { got = append(got, d) }}, "c:x")
	published, err := d.Publish(t.Context(), hub.Publication{Topic: "c:x", ID: "1", Envelope: envelope("one", 1), Log: "log"})
	if err != nil || published.Position.ID != "from" {
		t.Errorf("Publish: got %v, %v, want From's position", published, err)
	}
	page, err := history.Read(t.Context(), hub.ReadRequest{})
	if err != nil || page.Top.ID != "from" || len(page.Entries) != 1 || string(page.Entries[0].Envelope) != string(envelope("one", 1)) {
		t.Errorf("Read: got %v, %v, want From's one entry", page, err)
	}
	tops, err := history.Tops(t.Context(), "log", "c:x")
	if err != nil || len(tops) != 1 || tops[0].ID != "from" {
		t.Errorf("Tops: got %v, %v, want From's", tops, err)
	}
	if len(to.entries) != 1 {
		t.Errorf("To's log: got %d entries, want 1", len(to.entries))
	}
	// What To delivers says nothing about From's history.
	position := hub.Position{Offset: 7, ID: "x"}
	from.Deliver(hub.Delivery{Topic: "c:x", Envelope: envelope("a", 1), Position: position, Previous: position})
	to.Deliver(hub.Delivery{Topic: "c:x", Envelope: envelope("b", 1), Position: position, Previous: position})
	if len(got) != 3 || got[1].Position != position || got[1].Previous != position ||
		!got[2].Position.IsZero() || !got[2].Previous.IsZero() {
		t.Errorf("deliveries: got %v, want From's with its positions and To's without", got)
	}
	from.fail = errors.New("unreadable")
	for what, err := range map[string]error{
		"Declare": history.Declare(hub.Log{Name: "log"}),
		"Read":    second(history.Read(t.Context(), hub.ReadRequest{})),
		"Tops":    second(history.Tops(t.Context(), "log", "c:x")),
	} {
		if !errors.Is(err, from.fail) {
			t.Errorf("%s: got %v, want %v", what, err, from.fail)
		}
	}
}

func second[T any](_ T, err error) error { return err }

// A side without a history gets no logs, and a Dual has one where From has.
func TestDualsHistoryWhereOneSideHasNone(t *testing.T) {
	b := newBrokers()
	with := &logged{Backplane: b.from.Join(), name: "with"}
	without := &logged{Backplane: b.to.Join()}
	d := newDual(t, with, noHistory{without})
	start(t, d, receiver{})
	if err := d.Abilities().History.Declare(hub.Log{Name: "log"}); err != nil {
		t.Errorf("Declare: got %v, want nil", err)
	}
	if _, err := d.Publish(t.Context(), hub.Publication{Topic: "c:x", Log: "log"}); err != nil {
		t.Errorf("Publish: got %v, want nil", err)
	}
	if fmt.Sprint(with.logs, without.logs) != "[log] []" || len(without.logs) != 1 {
		t.Errorf("logs that were published to: got %q and %q, want one of From's alone", with.logs, without.logs)
	}
	with = &logged{Backplane: b.to.Join(), name: "with"}
	d = newDual(t, b.from.Join(), with)
	if d.Abilities().History != nil {
		t.Error("Abilities where To alone has a History: got one, want none")
	}
	e := newEncrypted(t, &logged{Backplane: b.to.Join()}, backplane.EncryptedConfig{Keys: keys(1)})
	if d := newDual(t, b.from.Join(), e); d.Abilities().History != nil {
		t.Error("Abilities where To alone has a History: got one, want none")
	}
}

func TestEncryptedHistoryIsDecryptedOnRead(t *testing.T) {
	b := newBrokers()
	inner := &logged{Backplane: b.from.Join(), name: "inner"}
	e := newEncrypted(t, inner, backplane.EncryptedConfig{Keys: keys(1)})
	start(t, e, receiver{})
	history := e.Abilities().History
	if err := history.Declare(hub.Log{Name: "log"}); err != nil || len(inner.declared) != 1 {
		t.Errorf("Declare: got %v and %v, want one log", inner.declared, err)
	}
	for i := range 3 {
		if _, err := e.Publish(t.Context(), hub.Publication{Topic: "c:x", Log: "log", Envelope: fmt.Append(nil, "secret ", i)}); err != nil {
			t.Fatalf("Publish: got %v, want nil", err)
		}
	}
	before := fmt.Sprint(inner.entries)
	page, err := history.Read(t.Context(), hub.ReadRequest{Topic: "c:x"})
	if err != nil || len(page.Entries) != 3 || page.Top.Offset != 3 {
		t.Fatalf("Read: got %v, %v, want 3 entries", page, err)
	}
	for i, entry := range page.Entries {
		if got, want := string(entry.Envelope), fmt.Sprint("secret ", i); got != want || entry.Position.Offset != uint64(i+1) {
			t.Errorf("entry %d: got %q at %v, want %q", i, got, entry.Position, want)
		}
	}
	if fmt.Sprint(inner.entries) != before {
		t.Error("the inner one's entries: got them changed")
	}
	if tops, err := history.Tops(t.Context(), "log", "c:x"); err != nil || tops[0].ID != "inner" {
		t.Errorf("Tops: got %v, %v, want the inner one's", tops, err)
	}

	// An entry that does not open is an error, not a page without it.
	other := newEncrypted(t, inner, backplane.EncryptedConfig{Keys: keys(2)})
	if page, err := other.Abilities().History.Read(t.Context(), hub.ReadRequest{Topic: "c:x"}); err == nil || len(page.Entries) != 0 {
		t.Errorf("Read without the key: got %v, %v, want an error", page, err)
	}
	inner.entries[1].Topic = "c:y" // moved
	if page, err := history.Read(t.Context(), hub.ReadRequest{Topic: "c:x"}); err == nil || len(page.Entries) != 0 {
		t.Errorf("Read of an entry that was moved: got %v, %v, want an error", page, err)
	}
	inner.fail = errors.New("unreadable")
	if _, err := history.Read(t.Context(), hub.ReadRequest{}); !errors.Is(err, inner.fail) {
		t.Errorf("Read: got %v, want %v", err, inner.fail)
	}
	if got := newEncrypted(t, b.from.Join(), backplane.EncryptedConfig{Keys: keys(1)}).Abilities().History; got != nil {
		t.Error("Abilities where the inner one has no History: got one, want none")
	}
}
