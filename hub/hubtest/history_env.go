package hubtest

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"forge.lthn.ai/core/go-ws/hub"
)

// The logs that the suite declares.
const (
	logAll   = "hubtest-all"
	logCount = "hubtest-count"
	logAge   = "hubtest-age"

	// logKept is how many messages logCount keeps.
	logKept = 10
	// logOverflow is how many are published until it must have dropped one.
	logOverflow = 3000
)

// historyEnv is what one check works with.
type historyEnv struct {
	*backplaneEnv
	h   HistoryHarness
	run string // tells the topics of one run from another's
}

func newHistoryEnv(t testing.TB, h HistoryHarness) *historyEnv {
	h.Features.MinAge = cmp.Or(h.Features.MinAge, time.Second)
	h.Features.Window = cmp.Or(h.Features.Window, time.Minute)
	return &historyEnv{backplaneEnv: newBackplaneEnv(t, h.Backplane), h: h, run: rand.Text()}
}

func (e *historyEnv) topic(name string) hub.Topic { return hub.Topic("c:" + name + "-" + e.run) }

func (e *historyEnv) logs() []hub.Log {
	return []hub.Log{{Name: logAll}, {Name: logCount, Messages: logKept}, {Name: logAge, Age: e.h.Features.MinAge}}
}

// historyMember is one member that has declared the logs, and what was delivered
// to it.
type historyMember struct {
	*suiteMember
	e       *historyEnv
	history hub.History

	got struct {
		sync.Mutex
		deliveries map[hub.Topic][]hub.Delivery
	}
}

// bare makes a member that has declared nothing.
func (e *historyEnv) bare() *historyMember {
	e.Helper()
	m := &historyMember{e: e, suiteMember: e.backplaneEnv.unstarted()}
	m.got.deliveries = make(map[hub.Topic][]hub.Delivery)
	m.on = func(d hub.Delivery) {
		m.got.Lock()
		defer m.got.Unlock()
		m.got.deliveries[d.Topic] = append(m.got.deliveries[d.Topic], d)
	}
	if m.history = m.bp.Abilities().History; m.history == nil {
		e.Fatal("Abilities: got no History, want one")
	}
	return m
}

func (e *historyEnv) connected() *historyMember {
	e.Helper()
	m := e.bare()
	if err := m.history.Declare(e.logs()...); err != nil {
		e.Fatalf("Declare: got %v, want nil", err)
	}
	m.connect()
	return m
}

// join subscribes, and waits until what is published to the log by pub arrives.
func (m *historyMember) join(pub *historyMember, log string, topics ...hub.Topic) {
	m.e.Helper()
	m.e.must("Subscribe", func(ctx context.Context) error { return m.bp.Subscribe(ctx, topics...) })
	for _, topic := range topics {
		for m.e.backplaneEnv.h.Features.EventualInterest {
			probe := fmt.Sprintf("%s%d", backplaneProbe, m.e.next())
			pub.publish(log, topic, probe)
			if m.arrives(topic, probe, 100*time.Millisecond) {
				break
			}
		}
	}
}

// deliveries of a topic, but for probes.
func (m *historyMember) deliveries(topic hub.Topic) []hub.Delivery {
	m.got.Lock()
	defer m.got.Unlock()
	return noProbes(m.got.deliveries[topic])
}

func noProbes(deliveries []hub.Delivery) []hub.Delivery {
	return slices.DeleteFunc(slices.Clone(deliveries), func(d hub.Delivery) bool {
		return bytes.HasPrefix(d.Envelope, []byte(backplaneProbe))
	})
}

func (m *historyMember) tryPublish(ctx context.Context, log string, topic hub.Topic, id, envelope string) (hub.Published, error) {
	return m.bp.Publish(ctx, hub.Publication{Topic: topic, ID: id, Envelope: []byte(envelope), Log: log})
}

// publishAs must succeed.
func (m *historyMember) publishAs(log string, topic hub.Topic, id, envelope string) (out hub.Published) {
	m.e.Helper()
	m.e.must("Publish", func(ctx context.Context) (err error) {
		out, err = m.tryPublish(ctx, log, topic, id, envelope)
		return err
	})
	return out
}

// publish publishes messages, each with its text as id, which must be new, and
// returns where they are.
func (m *historyMember) publish(log string, topic hub.Topic, messages ...string) []hub.Position {
	m.e.Helper()
	var positions []hub.Position
	for _, message := range messages {
		out := m.publishAs(log, topic, message, message)
		if out.Duplicate || out.Position.Offset == 0 || out.Position.ID == "" {
			m.e.Fatalf("Publish of %q: got %+v, want a position and no double", message, out)
		}
		positions = append(positions, out.Position)
	}
	return positions
}

// publishAfter publishes once the broker takes it, for the time after it was
// away, and returns where it is.
func (m *historyMember) publishAfter(log string, topic hub.Topic, id string) (out hub.Published) {
	m.e.Helper()
	m.e.eventually("Publish", func() error {
		return m.e.prompt("Publish", backplaneHang/2, func(ctx context.Context) (err error) {
			out, err = m.tryPublish(ctx, log, topic, id, id)
			return err
		})
	})
	return out
}

func (m *historyMember) tryRead(r hub.ReadRequest) (page hub.Page, err error) {
	m.e.Helper()
	err = m.e.prompt("Read", backplaneHang/2, func(ctx context.Context) (err error) {
		page, err = m.history.Read(ctx, r)
		return err
	})
	return page, err
}

// read must succeed.
func (m *historyMember) read(r hub.ReadRequest) hub.Page {
	m.e.Helper()
	page, err := m.tryRead(r)
	if err != nil {
		m.e.Fatalf("Read %+v: got %v, want nil", r, err)
	}
	return page
}

// top is what Read says, once the broker is there.
func (m *historyMember) top(log string, topic hub.Topic) (top hub.Position) {
	m.e.Helper()
	m.e.eventually("Read", func() error {
		page, err := m.tryRead(hub.ReadRequest{Log: log, Topic: topic})
		top = page.Top
		return err
	})
	return top
}

// tops must succeed.
func (m *historyMember) tops(log string, topics ...hub.Topic) (tops []hub.Position) {
	m.e.Helper()
	m.e.must("Tops", func(ctx context.Context) (err error) {
		tops, err = m.history.Tops(ctx, log, topics...)
		return err
	})
	return tops
}

// all reads a whole log in pages, each from the last entry of the one before.
func (m *historyMember) all(log string, topic hub.Topic, limit int) (entries []hub.Delivery) {
	m.e.Helper()
	r := hub.ReadRequest{Log: log, Topic: topic, Limit: limit}
	end := time.Now().Add(backplaneHang)
	for time.Now().Before(end) {
		page := m.read(r)
		more := page.Entries
		if len(more) > 0 && more[0].Position == r.Since {
			more = more[1:]
		}
		if n := len(entries); n > 0 && len(more) > 0 && more[0].Position.Offset <= entries[n-1].Position.Offset {
			m.e.Fatalf("Read since %+v: got %+v and on, which is not after it", r.Since, more[0].Position)
		}
		if len(more) == 0 {
			m.e.pause(10 * time.Millisecond) // the top may be ahead
		}
		entries = append(entries, more...)
		if len(entries) == 0 || entries[len(entries)-1].Position.Offset >= page.Top.Offset {
			return entries
		}
		r.Since = entries[len(entries)-1].Position
	}
	m.e.Fatalf("reading %q: got %d entries and no end for %v", topic, len(entries), backplaneHang)
	return nil
}

// overflow publishes until the oldest message of logCount is gone.
func (m *historyMember) overflow(topic hub.Topic) (published []hub.Position) {
	m.e.Helper()
	for i := range logOverflow {
		published = append(published, m.publish(logCount, topic, fmt.Sprint("message ", i))...)
		if len(published) < 3*logKept {
			continue
		}
		page := m.read(hub.ReadRequest{Log: logCount, Topic: topic, Limit: 1})
		if len(page.Entries) > 0 && page.Entries[0].Position != published[0] {
			return published
		}
	}
	m.e.Fatalf("a log of %d messages: got all of %d kept, want the oldest to go", logKept, logOverflow)
	return nil
}

// counted are n messages.
func counted(what string, n int) []string {
	messages := make([]string, n)
	for i := range messages {
		messages[i] = fmt.Sprint(what, " ", i)
	}
	return messages
}

func envelopesOf(deliveries []hub.Delivery) []string {
	envelopes := make([]string, len(deliveries))
	for i, d := range deliveries {
		envelopes[i] = string(d.Envelope)
	}
	return envelopes
}

func positionsOf(deliveries []hub.Delivery) []hub.Position {
	positions := make([]hub.Position, len(deliveries))
	for i, d := range deliveries {
		positions[i] = d.Position
	}
	return positions
}

// briefly shows the first few of many positions.
func briefly(positions []hub.Position) string {
	var all []string
	for i, p := range positions {
		if i == 12 {
			all = append(all, fmt.Sprintf("and %d more", len(positions)-i))
			break
		}
		all = append(all, fmt.Sprintf("%d/%.6s", p.Offset, p.ID))
	}
	return "[" + strings.Join(all, " ") + "]"
}

// wantPositions compares.
func (e *historyEnv) wantPositions(what string, got, want []hub.Position) {
	e.Helper()
	if !slices.Equal(got, want) {
		e.Errorf("%s: got positions %s, want %s", what, briefly(got), briefly(want))
	}
}
