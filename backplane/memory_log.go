package backplane

import (
	"crypto/rand"
	"sync"
	"sync/atomic"
	"time"

	"forge.lthn.ai/core/go-ws/hub"
)

// memoryKind is a log as it was declared last; all its topics share it.
type memoryKind struct{ limits atomic.Pointer[hub.Log] }

// memoryLog is one topic's log. Offsets are contiguous.
type memoryLog struct {
	key  memoryKey
	kind *memoryKind

	mu sync.Mutex
	// gone says that the Memory has put it away: whoever finds it so looks for
	// the new one.
	gone    bool
	touched time.Duration // when it was last used
	// before is the position in front of the oldest entry: the start, or that of
	// the last entry that was removed.
	before  hub.Position
	entries queue[memoryEntry]
	ids     map[string]hub.Position // of the window
	window  queue[memoryID]         // the same, oldest first
}

// Times are since the Memory was made, so that no change of the clock moves them.
type memoryEntry struct {
	envelope []byte
	id       string
	at       time.Duration
}

type memoryID struct {
	id string
	at time.Duration
}

func newMemoryLog(key memoryKey, kind *memoryKind, offset uint64) *memoryLog {
	return &memoryLog{key: key, kind: kind, before: hub.Position{Offset: offset, ID: rand.Text()}, ids: make(map[string]hub.Position)}
}

// cloneLocked copies the log. Envelopes are shared, as nobody changes them.
func (l *memoryLog) cloneLocked() *memoryLog {
	clone := &memoryLog{
		key: l.key, kind: l.kind, touched: l.touched, before: l.before,
		entries: l.entries.clone(), window: l.window.clone(), ids: make(map[string]hub.Position, len(l.ids)),
	}
	for id, p := range l.ids {
		clone.ids[id] = p
	}
	return clone
}

func (l *memoryLog) positionLocked(i int) hub.Position {
	if i < 0 {
		return l.before
	}
	return hub.Position{Offset: l.before.Offset + 1 + uint64(i), ID: l.entries.at(i).id}
}

func (l *memoryLog) topLocked() hub.Position { return l.positionLocked(l.entries.len() - 1) }

// appendLocked gives d its positions. A double is not appended: d gets the
// first one's.
func (l *memoryLog) appendLocked(id string, d hub.Delivery, now time.Duration) (_ hub.Delivery, double bool) {
	l.trimLocked(now)
	if first, known := l.ids[id]; known {
		d.Position = first
		return d, true
	}
	d.Previous = l.topLocked()
	d.Position = hub.Position{Offset: d.Previous.Offset + 1, ID: rand.Text()}
	l.entries.push(memoryEntry{envelope: d.Envelope, id: d.Position.ID, at: now})
	l.ids[id] = d.Position
	l.window.push(memoryID{id: id, at: now})
	l.trimLocked(now)
	return d, false
}

// trimLocked removes what is beyond the limits.
func (l *memoryLog) trimLocked(now time.Duration) {
	limits := l.kind.limits.Load()
	for n := l.entries.len(); n > 0; n = l.entries.len() {
		tooMany := limits.Messages > 0 && n > limits.Messages
		tooOld := limits.Age > 0 && now-l.entries.at(0).at > limits.Age
		if !tooMany && !tooOld {
			break
		}
		l.before = l.positionLocked(0)
		l.entries.pop()
	}
	for l.window.len() > 0 && now-l.window.at(0).at > memoryWindow {
		delete(l.ids, l.window.pop().id)
	}
	if len(l.ids) == 0 {
		l.ids = make(map[string]hub.Position) // a map does not shrink
	}
}

func (l *memoryLog) readLocked(r hub.ReadRequest) hub.Page {
	page := hub.Page{Top: l.topLocked()}
	n, from := l.entries.len(), 0
	switch first := l.before.Offset + 1; {
	case r.Last > 0:
		from = max(0, n-r.Last)
	case r.Since.Offset > first:
		from = int(min(r.Since.Offset-first, uint64(n)))
	}
	n = min(n, from+max(0, min(r.Limit, n)))
	if from < n {
		page.Entries = make([]hub.Delivery, 0, n-from)
	}
	for i := from; i < n; i++ {
		page.Entries = append(page.Entries, hub.Delivery{
			Topic: l.key.topic, Envelope: l.entries.at(i).envelope,
			Position: l.positionLocked(i), Previous: l.positionLocked(i - 1),
		})
	}
	return page
}

// queue is first in, first out. It gives memory back as it empties.
type queue[T any] struct {
	items []T
	head  int
}

func (q *queue[T]) len() int   { return len(q.items) - q.head }
func (q *queue[T]) at(i int) T { return q.items[q.head+i] }
func (q *queue[T]) push(v T)   { q.items = append(q.items, v) }

func (q *queue[T]) pop() (v T) {
	var none T
	v, q.items[q.head] = q.items[q.head], none
	q.head++
	if q.head > 16 && q.head*2 > len(q.items) {
		*q = q.clone()
	}
	return v
}

func (q *queue[T]) clone() queue[T] {
	return queue[T]{items: append([]T(nil), q.items[q.head:]...)}
}
