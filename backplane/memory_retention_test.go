package backplane_test

import (
	"fmt"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"forge.lthn.ai/core/go-ws/backplane"
	"forge.lthn.ai/core/go-ws/hub"
)

// logMember is a member that has declared the logs.
type logMember struct {
	hub.Backplane
	t testing.TB
}

func joinLogs(t testing.TB, bus *backplane.Memory, logs ...hub.Log) logMember {
	t.Helper()
	m := logMember{Backplane: bus.Join(), t: t}
	if err := m.Abilities().History.Declare(logs...); err != nil {
		t.Fatalf("Declare: got %v, want nil", err)
	}
	start(t, m, receiver{})
	return m
}

func (m logMember) append(topic hub.Topic, id string) hub.Published {
	m.t.Helper()
	out, err := m.Publish(m.t.Context(), hub.Publication{Topic: topic, ID: id, Log: "log", Envelope: []byte(id)})
	if err != nil {
		m.t.Fatalf("Publish: got %v, want nil", err)
	}
	return out
}

func (m logMember) read(r hub.ReadRequest) hub.Page {
	m.t.Helper()
	r.Log = "log"
	page, err := m.Abilities().History.Read(m.t.Context(), r)
	if err != nil {
		m.t.Fatalf("Read: got %v, want nil", err)
	}
	return page
}

func (m logMember) kept(topic hub.Topic) int {
	m.t.Helper()
	return len(m.read(hub.ReadRequest{Topic: topic, Limit: 1 << 20}).Entries)
}

// To the moment: a message is there for its age and gone right after it, an id
// is known for two minutes, and the top outlives both.
func TestMemoryHistoryKeepsForAgeAndWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := joinLogs(t, backplane.NewMemory(backplane.MemoryConfig{}), hub.Log{Name: "log", Age: time.Minute})
		defer m.Close()
		first := m.append("c:x", "1")
		time.Sleep(time.Minute)
		if got := m.kept("c:x"); got != 1 {
			t.Errorf("after its age: got %d entries, want 1", got)
		}
		time.Sleep(time.Nanosecond)
		if got := m.kept("c:x"); got != 0 {
			t.Errorf("past its age: got %d entries, want 0", got)
		}
		time.Sleep(time.Minute - 1)
		if got := m.append("c:x", "1"); got != (hub.Published{Position: first.Position, Duplicate: true}) {
			t.Errorf("the same id after two minutes: got %+v, want a double at %+v", got, first.Position)
		}
		time.Sleep(time.Nanosecond)
		if got := m.read(hub.ReadRequest{Topic: "c:x"}).Top; got != first.Position {
			t.Errorf("top: got %+v, want the last message's %+v", got, first.Position)
		}
		if got := m.append("c:x", "1"); got.Duplicate || got.Position.Offset != 2 {
			t.Errorf("the same id later: got %+v, want it at offset 2", got)
		}
	})
}

// The limits that were declared last hold, for what is there already too.
func TestMemoryHistoryTakesNewLimits(t *testing.T) {
	bus := backplane.NewMemory(backplane.MemoryConfig{})
	old := joinLogs(t, bus, hub.Log{Name: "log"})
	for i := range 50 {
		old.append("c:x", fmt.Sprint(i))
	}
	joinLogs(t, bus, hub.Log{Name: "log", Messages: 7})
	if got := old.kept("c:x"); got != 7 {
		t.Errorf("entries after a new limit: got %d, want 7", got)
	}
	if page := old.read(hub.ReadRequest{Topic: "c:x", Limit: 1}); page.Entries[0].Previous.Offset != 43 || page.Entries[0].Previous.ID == "" {
		t.Errorf("Previous of the oldest: got %+v, want what was before it, at 43", page.Entries[0].Previous)
	}
}

// A topic that nobody uses any more is forgotten after a day, by what is
// published on others, and begins after the offsets that it had.
func TestMemoryHistoryForgetsTopicsThatAreNotUsed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bus := backplane.NewMemory(backplane.MemoryConfig{})
		m := joinLogs(t, bus, hub.Log{Name: "log", Age: time.Hour})
		defer m.Close()
		for i := range 1000 {
			m.append(hub.Topic(fmt.Sprint("c:", i)), "1")
		}
		m.append("c:7", "2")
		last := m.append("c:7", "3").Position
		sweep := func() {
			for i := range 2000 {
				m.append("c:busy", fmt.Sprint("busy ", time.Now(), i))
			}
		}
		time.Sleep(23 * time.Hour)
		sweep()
		if got := bus.Logs(); got != 1001 {
			t.Errorf("logs within a day: got %d, want 1001", got)
		}
		time.Sleep(2 * time.Hour)
		sweep()
		if got := bus.Logs(); got != 1 {
			t.Errorf("logs after a day: got %d, want 1", got)
		}
		page := m.read(hub.ReadRequest{Topic: "c:7", Since: last, Limit: 10})
		if len(page.Entries) > 0 || page.Top.Offset < last.Offset || page.Top.ID == last.ID {
			t.Errorf("Read of a topic that was forgotten: got %+v, want a start that is new and not below %d", page, last.Offset)
		}
		if next := m.append("c:7", "4").Position; next.Offset <= last.Offset {
			t.Errorf("next offset: got %d, want more than %d", next.Offset, last.Offset)
		}
	})
}

// What goes beyond the limits gives its memory back.
func TestMemoryHistoryIsBounded(t *testing.T) {
	m := joinLogs(t, backplane.NewMemory(backplane.MemoryConfig{}), hub.Log{Name: "log", Messages: 10})
	large := make([]byte, 64<<10)
	before := heap()
	for i := range 4000 { // 250 MiB
		if _, err := m.Publish(t.Context(), hub.Publication{Topic: "c:x", ID: fmt.Sprint(i), Log: "log", Envelope: large}); err != nil {
			t.Fatalf("Publish: got %v, want nil", err)
		}
	}
	if grown := int64(heap()) - int64(before); grown > 32<<20 {
		t.Errorf("heap after 4,000 large messages, of which 10 are kept: got %d MiB more, want less than 32", grown>>20)
	}
	runtime.KeepAlive(m)
}

func heap() uint64 {
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc
}
