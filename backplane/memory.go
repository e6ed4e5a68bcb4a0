package backplane

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"forge.lthn.ai/core/go-ws/hub"
)

// MemoryConfig configures a Memory. The zero value is ready for use.
type MemoryConfig struct {
	// MaxPayload is the largest envelope that Publish takes, in bytes; a larger
	// one is refused with hub.ErrTooLarge. Zero or less means no limit. NATS
	// takes 1 MiB by default: set the same to find out early what it would
	// refuse.
	MaxPayload int
}

// Memory is a bus within the process. Every hub gets a member of its own from
// Join. All methods may be called concurrently. A Memory needs no closing: once
// its members are closed it holds nothing but its logs, for members to come.
type Memory struct {
	maxPayload int
	logs       *memoryLogs

	// Lock order: signals, then mu, then a member's mu. None of them is held
	// while a publication is delivered.

	// signals serialises what members are told about the bus's state, so that
	// the last thing each of them hears is how it is.
	signals sync.Mutex
	started map[*member]struct{} // guarded by signals

	mu     sync.RWMutex
	broken bool
	topics map[hub.Topic]*topic
}

// topic is there while somebody is subscribed or delivers. It must not be
// replaced by another one in between: its turn is what keeps two publishers
// from delivering at once.
type topic struct {
	// turn holds one token, which a publisher has while it delivers. A channel
	// instead of a mutex: waiting for it ends with a context.
	turn chan struct{}
	// members is replaced under Memory.mu and read by publishers without it: what
	// is in a list that was there once never changes.
	members atomic.Pointer[[]*member]
	// publishers counts those that hold the topic. It grows under Memory.mu.
	publishers atomic.Int64
}

// errBroken is what members are told of Break.
var errBroken = errors.New("backplane: the memory bus is down")

// NewMemory makes a bus without members.
func NewMemory(cfg MemoryConfig) *Memory {
	return &Memory{
		maxPayload: cfg.MaxPayload,
		logs:       newMemoryLogs(),
		started:    make(map[*member]struct{}),
		topics:     make(map[hub.Topic]*topic),
	}
}

// Join makes a member: the backplane of one hub, which starts and closes it.
// A member that is never started costs nothing.
//
// Deliver is called on the goroutines of publishers, Restored and Disrupted on
// those that call Start, Heal and Break; Start calls Restored before it returns
// unless the bus is down. A receiver that publishes on the topic of the very
// delivery that it is handling must do so on another goroutine.
func (b *Memory) Join() hub.Backplane {
	return &member{bus: b, topics: make(map[hub.Topic]struct{}), idle: make(chan struct{})}
}

// Break takes the bus down: from now on Publish and Subscribe return
// hub.ErrUnavailable, and every started member is told Disrupted. A publication
// that is under way may still be delivered. Breaking a broken bus does nothing.
// Break must not be called from a receiver's method.
func (b *Memory) Break() {
	b.signals.Lock()
	defer b.signals.Unlock()
	if !b.setBroken(true) {
		return
	}
	for m := range b.started {
		m.call(func(r hub.BackplaneReceiver) {
			r.Disrupted(fmt.Errorf("%w: %w", hub.ErrUnavailable, errBroken))
		})
	}
}

// Heal brings the bus back with all subscriptions, and tells every started
// member Restored. Healing a bus that is up does nothing. Heal must not be
// called from a receiver's method.
func (b *Memory) Heal() {
	b.signals.Lock()
	defer b.signals.Unlock()
	if !b.setBroken(false) {
		return
	}
	for m := range b.started {
		m.call(hub.BackplaneReceiver.Restored)
	}
}

func (b *Memory) setBroken(broken bool) (changed bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	changed = b.broken != broken
	b.broken = broken
	return changed
}

// subscribe adds m to the topics that it is not on yet.
func (b *Memory) subscribe(m *member, topics []hub.Topic) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	// Whether the member is open is asked under mu: Close empties m.topics
	// under it after it has closed the member.
	if err := m.usable(); err != nil {
		return err
	}
	if b.broken {
		return errUnavailable("subscribe")
	}
	for _, name := range topics {
		if _, on := m.topics[name]; on {
			continue
		}
		m.topics[name] = struct{}{}
		t := b.topics[name]
		if t == nil {
			t = b.beginLocked(name)
		}
		t.set(append(t.list(), m))
	}
	return nil
}

// unsubscribe takes m off the topics that it is on.
func (b *Memory) unsubscribe(m *member, topics []hub.Topic) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, name := range topics {
		b.leaveLocked(m, name)
	}
}

// leave takes m off all its topics.
func (b *Memory) leave(m *member) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for name := range m.topics {
		b.leaveLocked(m, name)
	}
}

func (b *Memory) leaveLocked(m *member, name hub.Topic) {
	if _, on := m.topics[name]; !on {
		return
	}
	delete(m.topics, name)
	t := b.topics[name]
	members := t.list()
	left := make([]*member, 0, len(members)-1)
	for _, other := range members {
		if other != m {
			left = append(left, other)
		}
	}
	t.set(left)
	b.dropIfUnusedLocked(name, t)
}

func (b *Memory) beginLocked(name hub.Topic) *topic {
	t := &topic{turn: make(chan struct{}, 1)}
	b.topics[name] = t
	return t
}

// holdLogged finds the topic for a publisher to a log, whether somebody is
// subscribed or not: the turn is what keeps the log's order and that of the
// deliveries one.
func (b *Memory) holdLogged(name hub.Topic) (*topic, error) {
	if t, err := b.hold(name); t != nil || err != nil {
		return t, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.broken {
		return nil, errUnavailable("publish")
	}
	t := b.topics[name]
	if t == nil {
		t = b.beginLocked(name)
	}
	t.publishers.Add(1)
	return t, nil
}

// hold finds the topic for a publisher, or nil where nobody is subscribed. The
// publisher gives it back with release.
func (b *Memory) hold(name hub.Topic) (*topic, error) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	if b.broken {
		return nil, errUnavailable("publish")
	}
	t := b.topics[name]
	if t != nil {
		t.publishers.Add(1)
	}
	return t, nil
}

func (b *Memory) release(name hub.Topic, t *topic) {
	if t.publishers.Add(-1) > 0 || len(t.list()) > 0 {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.dropIfUnusedLocked(name, t)
}

// dropIfUnusedLocked forgets t, so that an abandoned topic leaves no trace. No
// publisher can take hold of it meanwhile, since that needs mu.
func (b *Memory) dropIfUnusedLocked(name hub.Topic, t *topic) {
	if len(t.list()) == 0 && t.publishers.Load() == 0 && b.topics[name] == t {
		delete(b.topics, name)
	}
}

func (t *topic) list() []*member {
	if members := t.members.Load(); members != nil {
		return *members
	}
	return nil
}

func (t *topic) set(members []*member) { t.members.Store(&members) }

func errUnavailable(doing string) error {
	return fmt.Errorf("backplane: %s: %w", doing, hub.ErrUnavailable)
}
