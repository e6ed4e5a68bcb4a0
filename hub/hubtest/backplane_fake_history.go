package hubtest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"forge.lthn.ai/core/go-ws/hub"
)

// fakeWindow is how long a Broker knows an id again.
const fakeWindow = 2 * time.Minute

// fakeLogs are a Broker's logs, guarded by its mu.
type fakeLogs struct {
	limits map[string]hub.Log // the last ones declared
	topics map[fakeName]*fakeLog
}

type fakeName struct {
	log   string
	topic hub.Topic
}

// fakeLog is one topic's log. It is made to be plainly right, not fast.
type fakeLog struct {
	top     hub.Position
	entries []fakeEntry
	ids     map[string]fakeEntry
}

type fakeEntry struct {
	hub.Delivery
	at time.Time
}

func newFakeLogs() *fakeLogs {
	return &fakeLogs{limits: make(map[string]hub.Log), topics: make(map[fakeName]*fakeLog)}
}

// LoseLogs makes the broker forget all that its logs keep, as one that restarts
// without its data. Nobody is told; use Break and Heal around it.
func (b *Broker) LoseLogs() { b.setLogs(nil) }

// SaveLogs remembers what the logs keep, and the ids that they know. Rewind puts
// the broker back there, as one that restarts from an older snapshot: what was
// published since is lost. Nobody is told. It may be called more than once.
func (b *Broker) SaveLogs() (rewind func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.logs == nil {
		return func() {}
	}
	saved := cloneLogs(b.logs.topics)
	return func() { b.setLogs(saved) }
}

func (b *Broker) setLogs(topics map[fakeName]*fakeLog) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.logs != nil {
		b.logs.topics = cloneLogs(topics)
	}
}

func cloneLogs(topics map[fakeName]*fakeLog) map[fakeName]*fakeLog {
	clone := make(map[fakeName]*fakeLog, len(topics))
	for name, l := range topics {
		clone[name] = &fakeLog{top: l.top, entries: slices.Clone(l.entries), ids: maps.Clone(l.ids)}
	}
	return clone
}

// log finds a topic's log, and begins it where it is not there.
func (l *fakeLogs) log(log string, topic hub.Topic) *fakeLog {
	name := fakeName{log, topic}
	t := l.topics[name]
	if t == nil {
		t = &fakeLog{top: hub.Position{ID: rand.Text()}, ids: make(map[string]fakeEntry)}
		l.topics[name] = t
	}
	t.trim(l.limits[log])
	return t
}

func (t *fakeLog) trim(limits hub.Log) {
	if over := len(t.entries) - limits.Messages; limits.Messages > 0 && over > 0 {
		t.entries = slices.Delete(t.entries, 0, over)
	}
	old := func(e fakeEntry, age time.Duration) bool { return time.Since(e.at) > age }
	for limits.Age > 0 && len(t.entries) > 0 && old(t.entries[0], limits.Age) {
		t.entries = slices.Delete(t.entries, 0, 1)
	}
	maps.DeleteFunc(t.ids, func(_ string, e fakeEntry) bool { return old(e, fakeWindow) })
}

// append needs the turn. For a double it returns the first one.
func (m *Backplane) append(log, id string, d hub.Delivery) (at hub.Delivery, double bool, err error) {
	m.broker.mu.Lock()
	defer m.broker.mu.Unlock()
	if err := m.knowsLocked(log); err != nil {
		return hub.Delivery{}, false, err
	}
	t := m.broker.logs.log(log, d.Topic)
	if first, known := t.ids[id]; known {
		return first.Delivery, true, nil
	}
	d.Previous, d.Position = t.top, hub.Position{Offset: t.top.Offset + 1, ID: rand.Text()}
	e := fakeEntry{Delivery: d, at: time.Now()}
	t.top, t.entries, t.ids[id] = d.Position, append(t.entries, e), e
	t.trim(m.broker.logs.limits[log])
	return d, false, nil
}

func (m *Backplane) knowsLocked(log string) error {
	if !m.declared[log] {
		return fmt.Errorf("no log %q was declared", log)
	}
	return nil
}

// fakeHistory is a member's way to the logs.
type fakeHistory Backplane

func (h *fakeHistory) Declare(logs ...hub.Log) error {
	b := h.broker
	h.mu.Lock()
	started := h.receiver != nil
	h.mu.Unlock()
	b.mu.Lock()
	defer b.mu.Unlock()
	if h.declared != nil || started {
		return errors.New("hubtest: declare: not for the first time, or after Start")
	}
	declared := make(map[string]bool)
	for _, l := range logs {
		if err := validLog(l); err != nil || declared[l.Name] {
			return fmt.Errorf("hubtest: declare: log %q: it is there twice, or: %w", l.Name, err)
		}
		declared[l.Name] = true
	}
	h.declared = declared
	for _, l := range logs {
		b.logs.limits[l.Name] = l
	}
	return nil
}

func validLog(l hub.Log) error {
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"
	switch {
	case l.Name == "" || len(l.Name) > 32 || strings.Trim(l.Name, letters) != "":
		return errors.New("the name is not up to 32 letters, digits, - and _")
	case l.Messages < 0 || l.Age < 0:
		return errors.New("a limit is negative")
	}
	return nil
}

// with runs f on the logs.
func (h *fakeHistory) with(ctx context.Context, log string, f func(*fakeLogs)) error {
	m := (*Backplane)(h)
	_, err := m.ready(ctx)
	if err == nil && !m.reachable() {
		err = hub.ErrUnavailable
	}
	h.broker.mu.Lock()
	defer h.broker.mu.Unlock()
	if err == nil {
		err = m.knowsLocked(log)
	}
	if err != nil {
		return fmt.Errorf("hubtest: history: %w", err)
	}
	f(h.broker.logs)
	return nil
}

func (h *fakeHistory) Read(ctx context.Context, r hub.ReadRequest) (page hub.Page, err error) {
	err = h.with(ctx, r.Log, func(l *fakeLogs) {
		t := l.log(r.Log, r.Topic)
		page.Top = t.top
		from := max(0, len(t.entries)-r.Last)
		if r.Last <= 0 {
			from = slices.IndexFunc(t.entries, func(e fakeEntry) bool { return e.Position.Offset >= r.Since.Offset })
		}
		if from < 0 {
			return
		}
		for _, e := range t.entries[from:] {
			if len(page.Entries) < r.Limit {
				page.Entries = append(page.Entries, e.Delivery)
			}
		}
	})
	return page, err
}

func (h *fakeHistory) Tops(ctx context.Context, log string, topics ...hub.Topic) (tops []hub.Position, err error) {
	err = h.with(ctx, log, func(l *fakeLogs) {
		for _, topic := range topics {
			tops = append(tops, l.log(log, topic).top)
		}
	})
	return tops, err
}
