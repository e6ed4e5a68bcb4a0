package backplane

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"forge.lthn.ai/core/go-ws/hub"
)

const (
	// memoryWindow is how long ids are known again. See the package's comment.
	memoryWindow = 2 * time.Minute
	// memoryNumbering is how long an empty log that nobody uses keeps its place.
	memoryNumbering = 24 * time.Hour

	// After so many appends so many logs are looked at for what is too old.
	memorySweepEvery = 32
	memorySweep      = 64
)

// memoryKey names a topic's log.
type memoryKey struct {
	log   string
	topic hub.Topic
}

// memoryLogs are the logs of a Memory. Lock order: mu, then a log's mu; neither
// is held while something is delivered.
type memoryLogs struct {
	began   time.Time
	appends atomic.Uint64

	mu    sync.RWMutex
	kinds map[string]*memoryKind
	logs  map[memoryKey]*memoryLog
	// ring has the same logs, for looking at them in turn.
	ring []*memoryLog
	next int
	// highest is the offset that a log which is not there any more had reached:
	// should its topic come again, offsets must go on increasing.
	highest uint64
}

func newMemoryLogs() *memoryLogs {
	return &memoryLogs{began: time.Now(), kinds: make(map[string]*memoryKind), logs: make(map[memoryKey]*memoryLog)}
}

// LoseLogs makes the bus forget all that its logs keep, as a broker does that
// restarts without its data, to see what a program does then. Nobody is told;
// put Break and Heal around it.
func (b *Memory) LoseLogs() { b.logs.replace(nil) }

// SaveLogs remembers what the logs keep. Rewind puts the bus back there, as a
// broker that restarts from an older snapshot: what was published since is lost.
// Nobody is told. Rewind may be called more than once.
func (b *Memory) SaveLogs() (rewind func()) {
	saved := b.logs.clone()
	return func() { b.logs.replace(saved) }
}

func (s *memoryLogs) now() time.Duration { return time.Since(s.began) }

func (s *memoryLogs) clone() []*memoryLog {
	s.mu.RLock()
	defer s.mu.RUnlock()
	clones := make([]*memoryLog, len(s.ring))
	for i, l := range s.ring {
		l.mu.Lock()
		clones[i] = l.cloneLocked()
		l.mu.Unlock()
	}
	return clones
}

func (s *memoryLogs) replace(logs []*memoryLog) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.ring {
		l.mu.Lock()
		l.gone = true
		l.mu.Unlock()
	}
	clear(s.logs)
	s.ring, s.next, s.highest = nil, 0, 0
	for _, saved := range logs {
		l := saved.cloneLocked() // nobody else knows it
		s.logs[l.key] = l
		s.ring = append(s.ring, l)
	}
}

// declare takes the limits, which hold from now on for whatever was declared
// under the same names before.
func (s *memoryLogs) declare(logs []hub.Log) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range logs {
		if s.kinds[l.Name] == nil {
			s.kinds[l.Name] = &memoryKind{}
		}
		s.kinds[l.Name].limits.Store(&l)
	}
}

// with runs f on a topic's log, locked, and begins the log where it is not
// there. The log was declared.
func (s *memoryLogs) with(log string, topic hub.Topic, f func(l *memoryLog, now time.Duration)) {
	key := memoryKey{log, topic}
	for done := false; !done; {
		l := s.find(key)
		func() {
			l.mu.Lock()
			defer l.mu.Unlock()
			if done = !l.gone; !done {
				return
			}
			now := s.now()
			l.touched = now
			l.trimLocked(now)
			f(l, now)
		}()
	}
}

func (s *memoryLogs) find(key memoryKey) *memoryLog {
	s.mu.RLock()
	l := s.logs[key]
	s.mu.RUnlock()
	if l != nil {
		return l
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if l = s.logs[key]; l == nil {
		l = newMemoryLog(key, s.kinds[key.log], s.highest)
		l.touched = s.now() // not swept away before it is used
		s.logs[key] = l
		s.ring = append(s.ring, l)
	}
	return l
}

// append gives a delivery its positions in the log. Whoever calls it for one
// topic delivers before another one does.
func (s *memoryLogs) append(log, id string, d hub.Delivery) (_ hub.Delivery, double bool) {
	s.with(log, d.Topic, func(l *memoryLog, now time.Duration) { d, double = l.appendLocked(id, d, now) })
	if s.appends.Add(1)%memorySweepEvery == 0 {
		s.sweep()
	}
	return d, double
}

// sweep frees what is too old in some of the logs, so that those that nobody
// uses any more don't stay as they are.
func (s *memoryLogs) sweep() {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	for range min(memorySweep, len(s.ring)) {
		s.next %= len(s.ring)
		l := s.ring[s.next]
		l.mu.Lock()
		l.trimLocked(now)
		l.gone = l.entries.len() == 0 && l.window.len() == 0 && now-l.touched > memoryNumbering
		gone, top := l.gone, l.topLocked()
		l.mu.Unlock()
		if !gone {
			s.next++
			continue
		}
		s.highest = max(s.highest, top.Offset)
		delete(s.logs, l.key)
		last := len(s.ring) - 1
		s.ring[s.next], s.ring[last] = s.ring[last], nil
		s.ring = s.ring[:last]
	}
}

// memberHistory is a member's way to the logs.
type memberHistory member

// Declare says which logs the member uses.
func (h *memberHistory) Declare(logs ...hub.Log) error {
	m := (*member)(h)
	declared := make(map[string]bool, len(logs))
	for _, l := range logs {
		if err := validLog(l); err != nil {
			return fmt.Errorf("backplane: declare: log %q: %w", l.Name, err)
		}
		if declared[l.Name] {
			return fmt.Errorf("backplane: declare: log %q: it is there twice", l.Name)
		}
		declared[l.Name] = true
	}
	if err := m.declare(declared); err != nil {
		return err
	}
	m.bus.logs.declare(logs)
	return nil
}

func (m *member) declare(logs map[string]bool) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.closed:
		return errors.New("backplane: declare: closed")
	case m.receiver != nil:
		return errors.New("backplane: declare: after Start")
	case m.declared != nil:
		return errors.New("backplane: declare: for the second time")
	}
	m.declared = logs
	return nil
}

func validLog(l hub.Log) error {
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"
	switch {
	case l.Name == "" || len(l.Name) > 32 || strings.Trim(l.Name, letters) != "":
		return errors.New("its name is not of 1 to 32 letters, digits, \"-\" and \"_\"")
	case l.Messages < 0:
		return errors.New("its Messages is negative")
	case l.Age < 0:
		return errors.New("its Age is negative")
	}
	return nil
}

// knows is an error where the member has not declared the log.
func (m *member) knows(log string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.declared[log] {
		return fmt.Errorf("backplane: log %q was not declared", log)
	}
	return nil
}

// readable says what keeps the log from being read, if anything does.
func (m *member) readable(ctx context.Context, log string) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("backplane: read: %w", err)
	}
	if err := m.usable(); err != nil {
		return err
	}
	if err := m.knows(log); err != nil {
		return err
	}
	m.bus.mu.RLock()
	defer m.bus.mu.RUnlock()
	if m.bus.broken {
		return errUnavailable("read")
	}
	return nil
}

// Read waits for nothing. The page's envelopes are the log's own.
func (h *memberHistory) Read(ctx context.Context, r hub.ReadRequest) (page hub.Page, err error) {
	m := (*member)(h)
	if err := m.readable(ctx, r.Log); err != nil {
		return hub.Page{}, err
	}
	m.bus.logs.with(r.Log, r.Topic, func(l *memoryLog, _ time.Duration) { page = l.readLocked(r) })
	return page, nil
}

// Tops waits for nothing.
func (h *memberHistory) Tops(ctx context.Context, log string, topics ...hub.Topic) ([]hub.Position, error) {
	m := (*member)(h)
	if err := m.readable(ctx, log); err != nil {
		return nil, err
	}
	tops := make([]hub.Position, len(topics))
	for i, topic := range topics {
		m.bus.logs.with(log, topic, func(l *memoryLog, _ time.Duration) { tops[i] = l.topLocked() })
	}
	return tops, nil
}
