package hub_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"forge.lthn.ai/core/go-ws/hub"
)

// numberedFrame is a message that tests can tell from others.
type numberedFrame struct{ n, size int }

func (f numberedFrame) Size() int { return f.size }

// waitingMessage is one in the model's queue.
type waitingMessage struct {
	frame numberedFrame
	key   string
}

// outboxModel is what an outbox should do, written down as plainly as can be: a
// list of what waits, a list of what is in flight, and the socket.
type outboxModel struct {
	cfg                        hub.Config
	waiting, inFlight          []waitingMessage
	scheduled, flying, blocked bool
	// early: the socket became writable while the worker was in Send.
	early             bool
	sealed, cleared   bool
	drained           bool
	overflow, replace uint64
	gone              uint64
	written           []int
}

func (m *outboxModel) load() (messages, bytes int) {
	return loadOf(m.inFlight, m.waiting)
}

// counted is what counts against the bounds: what is in flight too, unless the
// oldest are dropped, which it can't be.
func (m *outboxModel) counted() (messages, bytes int) {
	if m.cfg.Overflow == hub.OverflowDropOldest {
		return loadOf(m.waiting)
	}
	return m.load()
}

func loadOf(queues ...[]waitingMessage) (messages, bytes int) {
	for _, q := range queues {
		for _, w := range q {
			messages++
			bytes += w.frame.size
		}
	}
	return messages, bytes
}

func (m *outboxModel) full(size int) bool {
	messages, bytes := m.counted()
	return messages+1 > m.cfg.OutboxMessages || bytes+size > m.cfg.OutboxBytes
}

// over reports whether more is there than the bounds allow.
func (m *outboxModel) over() bool {
	messages, bytes := m.counted()
	return messages > m.cfg.OutboxMessages || bytes > m.cfg.OutboxBytes
}

// clear drops what waits; what is in flight is dropped when it lands.
func (m *outboxModel) clear() {
	m.sealed, m.cleared = true, true
	m.gone += uint64(len(m.waiting))
	m.waiting = nil
}

// rest is after every step: drained once sealed, and nothing is under way.
func (m *outboxModel) rest() {
	quiet := len(m.waiting) == 0 && !m.flying && (!m.blocked || m.cleared) && (!m.scheduled || m.cleared)
	m.drained = m.drained || m.sealed && quiet
}

func (m *outboxModel) append(f numberedFrame, key string) (schedule, sealed, overflow bool) {
	if m.sealed {
		return false, true, false
	}
	if m.cfg.Overflow == hub.OverflowKeepLatest && key != "" {
		for i, w := range slices.Backward(m.waiting) {
			if w.key != key {
				continue
			}
			if _, bytes := m.load(); bytes-w.frame.size+f.size <= m.cfg.OutboxBytes {
				m.waiting[i].frame = f
				m.replace++
				return false, false, false
			}
			break
		}
	}
	for m.cfg.Overflow == hub.OverflowDropOldest && m.full(f.size) && len(m.waiting) > 0 {
		m.waiting = m.waiting[1:]
		m.overflow++
	}
	if m.cfg.Overflow != hub.OverflowDropOldest && m.full(f.size) {
		m.overflow++
		m.clear()
		return false, false, true
	}
	m.waiting = append(m.waiting, waitingMessage{f, key})
	if !m.scheduled && !m.flying && !m.blocked {
		m.scheduled = true
		return true, false, false
	}
	return false, false, false
}

func (m *outboxModel) take() []int {
	m.scheduled, m.flying, m.early = false, true, false
	m.inFlight, m.waiting = m.waiting, nil
	var taken []int
	for _, w := range m.inFlight {
		taken = append(taken, w.frame.n)
	}
	return taken
}

func (m *outboxModel) settle(taken int, blocked, failed bool) (again bool) {
	for _, w := range m.inFlight[:taken] {
		m.written = append(m.written, w.frame.n)
	}
	left := m.inFlight[taken:]
	m.inFlight, m.flying = nil, false
	if m.cleared {
		m.gone += uint64(len(left))
	} else {
		m.waiting = append(slices.Clone(left), m.waiting...)
		for m.cfg.Overflow == hub.OverflowDropOldest && m.over() {
			m.waiting = m.waiting[1:]
			m.overflow++
		}
	}
	if failed && !m.cleared {
		m.clear()
	}
	m.blocked = blocked && !m.early
	m.scheduled = !m.blocked && len(m.waiting) > 0
	return m.scheduled
}

func (m *outboxModel) wake() (schedule bool) {
	switch {
	case m.flying:
		m.early = true
	case m.blocked:
		m.blocked = false
		m.scheduled = len(m.waiting) > 0
		return m.scheduled
	}
	return false
}

// outboxRun drives an outbox and its model through the same steps.
type outboxRun struct {
	t     *testing.T
	r     *rand.Rand
	o     *hub.Outbox
	m     outboxModel
	batch []hub.Frame
	n     int
	owes  bool // Send returned ErrWouldBlock, Writable has not come
	log   []string
}

func (x *outboxRun) fail(format string, args ...any) {
	x.t.Helper()
	if len(x.log) > 40 {
		x.log = x.log[len(x.log)-40:]
	}
	x.t.Fatalf("%s\nafter %q", fmt.Sprintf(format, args...), x.log)
}

func (x *outboxRun) step() {
	switch p := x.r.IntN(100); {
	case p < 45:
		x.append()
	case p < 65 && x.m.scheduled:
		want := x.m.take()
		x.batch = x.o.Take()
		x.log = append(x.log, fmt.Sprint("take ", len(x.batch)))
		got := []int(nil)
		for _, f := range x.batch {
			got = append(got, f.(numberedFrame).n)
		}
		if !slices.Equal(got, want) {
			x.fail("take: got messages %v, want %v", got, want)
		}
	case p < 85 && x.m.flying:
		x.settle()
	case p < 97 && x.owes:
		x.owes = false
		x.log = append(x.log, "wake")
		if got, want := x.o.Wake(), x.m.wake(); got != want {
			x.fail("wake: got schedule %v, want %v", got, want)
		}
	case p == 98 && x.r.IntN(4) == 0:
		x.log = append(x.log, "seal")
		x.o.Seal()
		x.m.sealed = true
	case p == 99 && x.r.IntN(8) == 0:
		x.log = append(x.log, "abandon")
		x.o.Abandon()
		x.m.clear()
		x.m.drained = true
	}
	x.m.rest()
	x.compare()
}

func (x *outboxRun) append() {
	x.n++
	f := numberedFrame{x.n, 1 + x.r.IntN(30)}
	key := []string{"", "a", "b", "c"}[x.r.IntN(4)]
	x.log = append(x.log, fmt.Sprintf("append %d of %d bytes, key %q", f.n, f.size, key))
	got := x.o.Append(f, key)
	schedule, sealed, overflow := x.m.append(f, key)
	want := hub.Appended
	switch {
	case schedule:
		want = hub.AppendedSchedule
	case sealed:
		want = hub.AppendSealed
	case overflow:
		want = hub.AppendOverflow
	}
	if got != want {
		x.fail("append: got outcome %d, want %d", got, want)
	}
}

// settle plays the connection, by the rules of Conn.Send: while anything is
// unwritten it says so, and Writable comes once, perhaps before Send returned.
func (x *outboxRun) settle() {
	taken := len(x.batch)
	blocked, failed := x.r.IntN(3) == 0, x.r.IntN(60) == 0
	if blocked || failed {
		taken = x.r.IntN(taken + 1)
	}
	if failed {
		blocked = false
	}
	if blocked && x.r.IntN(3) == 0 {
		x.log = append(x.log, "writable early")
		if x.o.Wake() || x.m.wake() {
			x.fail("wake during Send: got schedule, want it to wait for the worker")
		}
	} else if blocked {
		x.owes = true
	}
	bytes := 0
	for _, f := range x.batch[:taken] {
		bytes += f.Size()
	}
	x.log = append(x.log, fmt.Sprintf("settle %d of %d, blocked %v, failed %v", taken, len(x.batch), blocked, failed))
	got, want := x.o.Settle(taken, bytes, blocked, failed), x.m.settle(taken, blocked, failed)
	if got != want {
		x.fail("settle: got again %v, want %v", got, want)
	}
}

func (x *outboxRun) compare() {
	messages, bytes, _, _ := x.o.Waiting()
	wantMessages, wantBytes := x.m.load()
	if x.m.cleared {
		wantMessages, wantBytes = 0, 0
	}
	if messages != wantMessages || bytes != wantBytes {
		x.fail("got %d messages of %d bytes waiting, want %d of %d", messages, bytes, wantMessages, wantBytes)
	}
	most := 1
	if x.m.cfg.Overflow == hub.OverflowDropOldest {
		most = 2
	}
	if messages > most*x.m.cfg.OutboxMessages || bytes > most*x.m.cfg.OutboxBytes {
		x.fail("got %d messages of %d bytes waiting, over the bound", messages, bytes)
	}
	if got := x.o.Drained(); got != x.m.drained {
		x.fail("got drained %v, want %v", got, x.m.drained)
	}
	if got, want := x.o.IsBlocked(), x.m.blocked || x.m.flying; got != want {
		x.fail("got blocked %v, want %v", got, want)
	}
	overflow, replaced, gone := x.o.Dropped()
	if overflow != x.m.overflow || replaced != x.m.replace || gone != x.m.gone {
		x.fail("got dropped %d, %d, %d; want %d, %d, %d", overflow, replaced, gone, x.m.overflow, x.m.replace, x.m.gone)
	}
}

func TestOutboxDoesWhatItsModelDoes(t *testing.T) {
	r := seeded(t)
	for _, policy := range []hub.OverflowPolicy{hub.OverflowDisconnect, hub.OverflowDropOldest, hub.OverflowKeepLatest} {
		for range 200 {
			cfg := hub.Config{OutboxMessages: 1 + r.IntN(12), OutboxBytes: 30 + r.IntN(200), Overflow: policy}
			x := &outboxRun{t: t, r: r, o: hub.NewOutbox(cfg), m: outboxModel{cfg: cfg}}
			for range 300 {
				x.step()
			}
			// Let everything that is under way come to its end.
			for range 20 {
				for x.m.flying || x.m.scheduled || x.owes {
					x.end()
				}
			}
			x.o.Seal()
			x.m.sealed = true
			x.m.rest()
			x.compare()
			if !x.o.Drained() {
				x.fail("sealed and nothing under way: got not drained")
			}
			if !slices.IsSorted(x.m.written) && policy != hub.OverflowKeepLatest {
				x.fail("got written in the order %v, want that of appending", x.m.written)
			}
		}
	}
}

// end takes one step toward rest: all that waits is written.
func (x *outboxRun) end() {
	switch {
	case x.m.flying:
		taken := len(x.batch)
		bytes := 0
		for _, f := range x.batch {
			bytes += f.Size()
		}
		if got, want := x.o.Settle(taken, bytes, false, false), x.m.settle(taken, false, false); got != want {
			x.fail("settle: got again %v, want %v", got, want)
		}
	case x.m.scheduled:
		x.m.take()
		x.batch = x.o.Take()
	case x.owes:
		x.owes = false
		if got, want := x.o.Wake(), x.m.wake(); got != want {
			x.fail("wake: got schedule %v, want %v", got, want)
		}
	}
	x.m.rest()
	x.compare()
}

func TestOutboxKeepsNoMemoryOfABurst(t *testing.T) {
	o := hub.NewOutbox(hub.Config{OutboxMessages: 10_000, OutboxBytes: 1 << 20, Overflow: hub.OverflowKeepLatest})
	for i := range 10_000 {
		o.Append(numberedFrame{i, 1}, fmt.Sprint("key", i))
	}
	n := len(o.Take())
	o.Settle(n, n, false, false)
	if messages, bytes, keys, capacity := o.Waiting(); messages != 0 || bytes != 0 || keys != 0 || capacity > 16 {
		t.Errorf("after a burst of %d: got %d messages, %d bytes, %d keys, room for %d; want none, room for at most 16",
			n, messages, bytes, keys, capacity)
	}
	// One message always waits, so that the outbox is never empty.
	for i := range 10_000 {
		o.Append(numberedFrame{i, 1}, fmt.Sprint("key", i))
		if i > 0 {
			o.Settle(1, 1, false, false)
		}
		o.Take()
	}
	if _, _, keys, capacity := o.Waiting(); keys > 100 || capacity > 100 {
		t.Errorf("after 10,000 messages one by one: got %d keys, room for %d remembered", keys, capacity)
	}
}

func TestOutboxKnowsForHowLongItsSocketIsFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := hub.NewOutbox(hub.Config{OutboxMessages: 10, OutboxBytes: 100})
		full := func(want time.Duration) {
			t.Helper()
			if got := o.BlockedFor(time.Now()); got != want {
				t.Errorf("got blocked for %v, want %v", got, want)
			}
		}
		o.Append(numberedFrame{1, 1}, "")
		o.Take()
		time.Sleep(time.Second)
		full(0)
		o.Settle(0, 0, true, false)
		time.Sleep(3 * time.Second)
		full(3 * time.Second)
		o.Wake()
		full(0)
		o.Take()
		o.Wake() // before Send returned
		o.Settle(1, 1, true, false)
		time.Sleep(time.Second)
		full(0)
	})
}

func TestALineThatNeverEmptiesIsBounded(t *testing.T) {
	l := hub.NewLine()
	clients := []*hub.Client{{}, {}, {}}
	l.Push(clients...)
	for i := range 100_000 {
		c := l.Pop()
		if c != clients[i%3] {
			t.Fatalf("pop %d: got another client than the one that stood there longest", i)
		}
		l.Push(c)
	}
	if got := l.Cap(); got > 64 {
		t.Errorf("after 100,000 turns of three clients: got room for %d, want it bounded", got)
	}
}

func TestOutboxAllocatesNothingForOneMessageAtATime(t *testing.T) {
	o := hub.NewOutbox(hub.Config{OutboxMessages: 10, OutboxBytes: 100})
	var f hub.Frame = numberedFrame{1, 1}
	got := testing.AllocsPerRun(1000, func() {
		o.Append(f, "")
		o.Take() // allocates the batch, which a worker has already
		o.Settle(1, 1, false, false)
	})
	if got > 1 {
		t.Errorf("a message: got %v allocations, want that of the batch alone", got)
	}
}
