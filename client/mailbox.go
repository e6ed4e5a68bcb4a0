package client

import (
	"slices"
	"sync"
)

// mailbox hands deliveries to one handler, one after another. A goroutine runs
// only while something waits.
type mailbox struct {
	owner   *ReconnectingClient
	handle  Handler
	channel string

	mu       sync.Mutex
	waiting  []letter
	messages int // of waiting, that are messages
	bytes    int // of those
	dropped  int // left out since the handler was told
	running  bool
	closed   bool
}

// letter is a delivery that waits: a message, or a notice about the
// subscription. Only messages count against the handler's bound.
type letter struct {
	Delivery
	size int // of a message, in bytes; zero: a notice
}

// maxNotices is how many notices wait at most, for a handler that hangs while
// connections come and go. The oldest of more say nothing that is still true.
const maxNotices = 16

// push queues a delivery. It reports false, and leaves the message out, where
// the handler is too far behind and the policy is to give the connection up.
func (m *mailbox) push(l letter) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return true
	}
	if cfg := &m.owner.cfg; l.size > 0 {
		for m.messages > 0 && (m.messages >= cfg.HandlerBacklog || m.bytes+l.size > cfg.HandlerBacklogBytes) {
			if cfg.Overflow == OverflowReconnect {
				return false
			}
			m.removeLocked(slices.IndexFunc(m.waiting, letter.isMessage))
			m.dropped++
		}
		m.messages++
		m.bytes += l.size
	} else if len(m.waiting)-m.messages >= maxNotices {
		m.removeLocked(slices.IndexFunc(m.waiting, letter.isNotice))
	}
	m.waiting = append(m.waiting, l)
	if !m.running {
		m.running = true
		m.owner.callbacks.Go(m.run)
	}
	return true
}

func (l letter) isMessage() bool { return l.size > 0 }
func (l letter) isNotice() bool  { return l.size == 0 }

func (m *mailbox) removeLocked(i int) {
	if m.waiting[i].isMessage() {
		m.messages--
		m.bytes -= m.waiting[i].size
	}
	if i == 0 { // nearly always
		m.waiting[0] = letter{}
		m.waiting = m.waiting[1:]
		return
	}
	m.waiting = slices.Delete(m.waiting, i, i+1)
}

// next takes the oldest delivery, and reports false when the goroutine is done.
func (m *mailbox) next() (Delivery, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed || len(m.waiting) == 0 {
		m.running, m.waiting = false, nil
		return Delivery{}, false
	}
	if m.dropped > 0 {
		d := Delivery{Err: &DroppedError{Count: m.dropped}}
		d.Channel = m.channel
		m.dropped = 0
		return d, true
	}
	d := m.waiting[0].Delivery
	m.removeLocked(0)
	return d, true
}

func (m *mailbox) run() {
	for {
		d, ok := m.next()
		if !ok {
			return
		}
		m.handle(m.owner.handlers, d)
	}
}

// close leaves out what waits. A call of the handler that runs goes on.
func (m *mailbox) close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed, m.waiting = true, nil
	m.messages, m.bytes = 0, 0
}
