package hubtest

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"time"

	"forge.lthn.ai/core/go-ws/hub"
	"forge.lthn.ai/core/go-ws/hub/wire"
)

// settle is how long the suite watches that something does not happen. A
// transport that keeps its contract passes whatever it is.
const settle = 50 * time.Millisecond

// transportBed is what a check works in: a server with the transport under
// test, and the connections to it.
type transportBed struct {
	testing.TB
	tr       hub.Transport
	patience time.Duration // how long to wait for what must happen
	dialer   TransportDialer
	wrap     func(http.ResponseWriter) http.ResponseWriter

	mu      sync.Mutex
	changed chan struct{} // closed by update, nil if nobody waits
	links   []*transportLink
	refused []error // by Accept
}

// transportLink is one connection, both sides. The fields below the line are
// guarded by the bed's lock.
type transportLink struct {
	b      *transportBed
	o      linkOptions
	conn   hub.Conn
	client TransportClient
	reader sync.WaitGroup

	// hook, if set, is called for every message and gives Receive's answer.
	hook func(m message) bool

	// ---
	started  bool      // Start has been called, or will be
	ready    bool      // the handler has done all it does
	sent     []message // by the client, as the receiver got them
	writable int
	closed   []error
	inside   int  // calls of Receive under way
	released bool // Close has returned
	got      []message
	end      error // of the client's Receive
}

type message struct {
	t       hub.FrameType
	payload string
}

// linkOptions say how to connect; the zero value is what most checks want.
type linkOptions struct {
	accept    hub.AcceptOptions
	dial      TransportDialOptions
	hook      func(m message) bool
	unread    bool // the client does not read until read is called
	unstarted bool // the handler does not call Start
}

const linkHeader = "X-Hubtest-Link"

func runTransportCheck(tb testing.TB, h TransportHarness, c transportCheck, patience time.Duration) {
	b := &transportBed{TB: tb, tr: h.New(tb), patience: patience}
	serve := h.Serve
	if serve == nil {
		serve = serveSockets
	}
	b.dialer = serve(tb, b.tr, http.HandlerFunc(b.handle))
	defer b.finish()
	c.run(b)
}

// handle is the server: it does what a hub does.
func (b *transportBed) handle(w http.ResponseWriter, r *http.Request) {
	b.mu.Lock()
	i, err := strconv.Atoi(r.Header.Get(linkHeader))
	if err != nil || i >= len(b.links) {
		b.mu.Unlock()
		http.Error(w, "no such link: the dialer must send TransportDialOptions.Header", http.StatusBadRequest)
		return
	}
	l := b.links[i]
	b.mu.Unlock()
	if b.wrap != nil {
		w = b.wrap(w)
	}
	conn, err := b.tr.Accept(w, r, l.o.accept)
	if err != nil {
		b.update(func() { b.refused = append(b.refused, err) })
		return
	}
	start := !l.o.unstarted
	b.update(func() { l.conn, l.started = conn, start })
	if start {
		conn.Start(l)
	}
	b.update(func() { l.ready = true })
}

// start calls Start where the handler has not.
func (l *transportLink) start() {
	l.b.update(func() { l.started = true })
	l.b.must("Start", func() { l.conn.Start(l) })
}

// dial asks for a connection.
func (b *transportBed) dial(o linkOptions) (*transportLink, int, error) {
	if o.accept.ReadLimit == 0 {
		o.accept.ReadLimit = 1 << 20
	}
	if o.accept.WriteTimeout == 0 {
		o.accept.WriteTimeout = time.Hour // only those that want one shall see it pass
	}
	l := &transportLink{b: b, o: o, hook: o.hook}
	b.mu.Lock()
	o.dial.Header = http.Header{linkHeader: {strconv.Itoa(len(b.links))}}
	b.links = append(b.links, l)
	b.mu.Unlock()
	client, status, err := b.dialer(o.dial)
	if err != nil || client == nil {
		return nil, status, err
	}
	b.update(func() { l.client = client })
	if err := b.await("the server's side of the connection", func() bool { return l.ready }); err != nil {
		return nil, status, err
	}
	if !o.unread {
		l.read()
	}
	return l, status, nil
}

// connect is dial for those that want nothing else.
func (b *transportBed) connect(o linkOptions) *transportLink {
	b.Helper()
	l, status, err := b.dial(o)
	if err != nil || l == nil {
		b.Fatalf("got status %d, error %v, want a connection", status, err)
	}
	return l
}

// finish ends every connection and checks what holds for all of them.
func (b *transportBed) finish() {
	for i, l := range b.links {
		if l.conn != nil && !b.within("Close(0)", func() { l.close(0) }) {
			continue
		}
		if l.client != nil {
			l.client.Cut()
			if !b.within("the client's Receive, after Cut", l.reader.Wait) {
				continue
			}
		}
		b.mu.Lock()
		if l.started && len(l.closed) != 1 {
			b.Errorf("connection %d: got %d calls of Closed, want 1", i, len(l.closed))
		}
		b.mu.Unlock()
	}
}

// within runs f and reports whether it returned in time.
func (b *transportBed) within(what string, f func()) bool {
	b.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	select {
	case <-done:
		return true
	case <-time.After(b.patience):
		b.Errorf("%s: did not return within %v", what, b.patience)
		return false
	}
}

// must is within for a check that can't go on otherwise.
func (b *transportBed) must(what string, f func()) {
	b.Helper()
	if !b.within(what, f) {
		b.FailNow()
	}
}

// update changes what is guarded by the bed's lock, and wakes who waits.
func (b *transportBed) update(f func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	f()
	if b.changed != nil {
		close(b.changed)
		b.changed = nil
	}
}

// await waits until cond, which is called with the bed's lock, holds.
func (b *transportBed) await(what string, cond func() bool) error {
	timer := time.NewTimer(b.patience)
	defer timer.Stop()
	for {
		b.mu.Lock()
		if cond() {
			b.mu.Unlock()
			return nil
		}
		if b.changed == nil {
			b.changed = make(chan struct{})
		}
		changed := b.changed
		b.mu.Unlock()
		select {
		case <-changed:
		case <-timer.C:
			return fmt.Errorf("waited %v for %s", b.patience, what)
		}
	}
}

// wait is await for the check's own goroutine.
func (b *transportBed) wait(what string, cond func() bool) {
	b.Helper()
	if err := b.await(what, cond); err != nil {
		b.Fatal(err)
	}
}

// quiet watches for a while that cond, called with the bed's lock, holds.
func (b *transportBed) quiet(what string, cond func() bool) {
	b.Helper()
	timer := time.NewTimer(settle)
	defer timer.Stop()
	for over := false; ; {
		b.mu.Lock()
		if !cond() {
			b.mu.Unlock()
			b.Errorf("got a change, want that %s", what)
			return
		}
		if b.changed == nil {
			b.changed = make(chan struct{})
		}
		changed := b.changed
		b.mu.Unlock()
		if over {
			return
		}
		select {
		case <-changed:
		case <-timer.C:
			over = true // what changed in silence shows at the end
		}
	}
}

// read makes the client read from here on.
func (l *transportLink) read() {
	l.reader.Go(func() {
		for {
			t, payload, err := l.client.Receive()
			l.b.update(func() {
				if err != nil {
					l.end = err
					return
				}
				l.got = append(l.got, message{t, string(payload)})
			})
			if err != nil {
				return
			}
		}
	})
}

// Receive, Writable and Closed are the hub.Receiver.

func (l *transportLink) Receive(t hub.FrameType, payload []byte) (more bool) {
	m := message{t, string(payload)}
	l.b.update(func() {
		l.mayCallLocked("Receive")
		if l.inside++; l.inside > 1 {
			l.b.Error("Receive was called concurrently with itself")
		}
		l.sent = append(l.sent, m)
	})
	defer l.b.update(func() { l.inside-- })
	if l.hook != nil {
		return l.hook(m)
	}
	return true
}

func (l *transportLink) Writable() {
	l.b.update(func() {
		l.mayCallLocked("Writable")
		l.writable++
	})
}

func (l *transportLink) Closed(err error) {
	l.b.update(func() {
		l.mayCallLocked("Closed")
		if l.inside > 0 {
			l.b.Error("Closed was called while Receive was running")
		}
		l.closed = append(l.closed, err)
	})
}

func (l *transportLink) mayCallLocked(method string) {
	if len(l.closed) > 0 {
		l.b.Errorf("%s was called after Closed", method)
	}
	if l.released {
		l.b.Errorf("%s was called after Close had returned", method)
	}
}

// frames prepares messages.
func (b *transportBed) frames(ms ...message) []hub.Frame {
	var fs []hub.Frame
	for _, m := range ms {
		fs = append(fs, b.tr.Prepare(m.t, []byte(m.payload)))
	}
	return fs
}

// send sends all frames, waiting for Writable where that must be. It does not
// end the check.
func (l *transportLink) send(frames []hub.Frame) error {
	for {
		l.b.mu.Lock()
		before := l.writable
		l.b.mu.Unlock()
		n, err := l.conn.Send(frames)
		if n < 0 || n > len(frames) {
			return fmt.Errorf("got %d frames taken of %d", n, len(frames))
		}
		frames = frames[n:]
		switch {
		case err == nil && len(frames) > 0:
			return fmt.Errorf("got no error with %d frames not taken, want %w", len(frames), hub.ErrWouldBlock)
		case err == nil:
			return nil
		case !errors.Is(err, hub.ErrWouldBlock):
			return err
		}
		if err := l.b.await("Writable", func() bool { return l.writable > before }); err != nil {
			return err
		}
		if len(frames) == 0 {
			return nil
		}
	}
}

// block sends messages to a client that does not read, until Send would block
// and goes on being blocked. It returns what was taken.
func (l *transportLink) block() (taken []message) {
	l.b.Helper()
	const limit = 256 << 20
	filler := string(pattern(1, 128<<10)) // a transport may compress
	for size := 0; size < limit; {
		m := message{hub.BinaryFrame, fmt.Sprint(len(taken)) + filler}
		l.b.mu.Lock()
		before := l.writable
		l.b.mu.Unlock()
		n, err := l.conn.Send(l.b.frames(m))
		if n == 1 {
			taken = append(taken, m)
			size += len(m.payload)
		}
		switch {
		case errors.Is(err, hub.ErrWouldBlock):
			// The network may take a little more in a while.
			passed := false
			timer := time.AfterFunc(settle, func() { l.b.update(func() { passed = true }) })
			l.b.wait("the time to pass", func() bool { return l.writable > before || passed })
			timer.Stop()
			l.b.mu.Lock()
			blocked := l.writable == before
			l.b.mu.Unlock()
			if blocked {
				return taken
			}
		case err != nil:
			l.b.Fatalf("Send: got %v", err)
		case n != 1:
			l.b.Fatalf("Send: got %d taken and no error, want 1", n)
		}
	}
	l.b.Fatalf("Send took %d bytes for a client that does not read, want %v", limit, hub.ErrWouldBlock)
	return nil
}

// expect waits until the client has got exactly these messages.
func (l *transportLink) expect(want []message) {
	l.b.Helper()
	l.b.wait(fmt.Sprintf("the client to get %d messages", len(want)), func() bool {
		return len(l.got) >= len(want) || l.end != nil
	})
	l.b.mu.Lock()
	defer l.b.mu.Unlock()
	l.compareLocked("client", l.got, want)
}

// expectSent waits until the server has got exactly these messages.
func (l *transportLink) expectSent(want []message) {
	l.b.Helper()
	l.b.wait(fmt.Sprintf("the server to get %d messages", len(want)), func() bool {
		return len(l.sent) >= len(want) || len(l.closed) > 0
	})
	l.b.mu.Lock()
	defer l.b.mu.Unlock()
	l.compareLocked("server", l.sent, want)
}

func (l *transportLink) compareLocked(who string, got, want []message) {
	l.b.Helper()
	if len(got) != len(want) {
		l.b.Fatalf("%s: got %d messages, want %d; its end: %v, the server's: %v", who, len(got), len(want), l.end, l.closed)
	}
	for i := range want {
		if got[i] != want[i] {
			l.b.Fatalf("%s, message %d: got %s, want %s", who, i, got[i], want[i])
		}
	}
}

// expectClosed waits for Closed and returns its error.
func (l *transportLink) expectClosed() error {
	l.b.Helper()
	l.b.wait("Closed", func() bool { return len(l.closed) > 0 })
	l.b.mu.Lock()
	defer l.b.mu.Unlock()
	return l.closed[0]
}

// expectEnd waits for the end of the client's side and returns it.
func (l *transportLink) expectEnd() error {
	l.b.Helper()
	l.b.wait("the client to see the end", func() bool { return l.end != nil })
	l.b.mu.Lock()
	defer l.b.mu.Unlock()
	return l.end
}

// String shortens what would fill the screen.
func (m message) String() string {
	kind := map[hub.FrameType]string{hub.TextFrame: "text", hub.BinaryFrame: "binary"}[m.t]
	if len(m.payload) > 40 {
		return fmt.Sprintf("%s %q… of %d bytes", kind, m.payload[:40], len(m.payload))
	}
	return fmt.Sprintf("%s %q", kind, m.payload)
}

// pattern makes bytes that tell where they are, and of which message.
func pattern(seed, n int) []byte {
	p := make([]byte, n)
	x := uint32(seed)*2654435761 + 1
	for i := range p {
		x = x*1664525 + 1013904223
		p[i] = byte(x >> 24)
	}
	return p
}

// close calls Close, and says so to who watches for calls after it.
func (l *transportLink) close(code wire.CloseCode) { l.closeWith(code, "") }

func (l *transportLink) closeWith(code wire.CloseCode, reason string) {
	_ = l.conn.Close(code, reason) // what it returns is the transport's own
	l.b.update(func() { l.released = true })
}
