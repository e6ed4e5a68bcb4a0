package hubtest

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"forge.lthn.ai/core/go-ws/hub"
	"forge.lthn.ai/core/go-ws/hub/wire"
)

func checkWritable(b *transportBed) {
	l := b.connect(linkOptions{unread: true})
	taken := l.block()
	b.mu.Lock()
	before := l.writable
	b.mu.Unlock()
	l.read()
	l.expect(taken)
	b.wait("Writable", func() bool { return l.writable > before })
	b.quiet("Writable comes once", func() bool { return l.writable == before+1 })
	echo := text("and on")
	if err := l.send(b.frames(echo)); err != nil {
		b.Errorf("Send after Writable: %v", err)
	}
	l.expect(append(taken, echo))
}

func checkBlocking(b *transportBed) {
	l := b.connect(linkOptions{unread: true})
	want := l.block()
	var more []message
	for i := range 40 {
		more = append(more, bytesOf(pattern(i, 300_000+i)))
	}
	frames := b.frames(more...)
	b.mu.Lock()
	before := l.writable
	b.mu.Unlock()
	n, err := l.conn.Send(frames)
	if n == len(frames) || !errors.Is(err, hub.ErrWouldBlock) {
		b.Errorf("Send while blocked: got %d of %d taken, %v, want %v", n, len(frames), err, hub.ErrWouldBlock)
	}
	l.read()
	b.wait("Writable", func() bool { return l.writable > before })
	b.must("Send", func() {
		for batch := range slices.Chunk(frames[n:], 3) {
			if err := l.send(batch); err != nil {
				b.Errorf("Send: %v", err)
				return
			}
		}
	})
	l.expect(append(want, more...))
}

func checkHuge(b *transportBed) {
	l := b.connect(linkOptions{unread: true})
	want := []message{bytesOf(pattern(1, 16<<20)), text("after it")}
	frames := b.frames(want...)
	n, err := l.conn.Send(frames[:1])
	if n != 1 || !errors.Is(err, hub.ErrWouldBlock) {
		b.Errorf("Send of %d bytes to a client that does not read: got %d, %v, want 1, %v", len(want[0].payload), n, err, hub.ErrWouldBlock)
	}
	l.read()
	b.wait("Writable", func() bool { return l.writable == 1 })
	if err := l.send(frames[1:]); err != nil {
		b.Errorf("Send: %v", err)
	}
	l.expect(want)
}

func checkPingBlocked(b *transportBed) {
	l := b.connect(linkOptions{unread: true})
	taken := l.block()
	b.must("Ping to a client that does not read", func() {
		for range 3 {
			if err := l.conn.Ping(); err != nil {
				b.Errorf("Ping: %v", err)
			}
		}
	})
	before := l.conn.LastRead()
	l.read()
	l.expect(taken)
	l.lastReadMoves(before, "the pongs that waited")
}

func checkPause(b *transportBed) {
	l := b.connect(linkOptions{hook: func(message) bool { return false }})
	var want []message
	for i := range 4 {
		want = append(want, text(fmt.Sprint(i)))
	}
	l.clientSends(want...)
	for i := range want {
		if i > 0 {
			b.must("Resume", l.conn.Resume)
		}
		b.wait("a message", func() bool { return len(l.sent) > i })
		b.quiet("nothing is received while paused", func() bool { return len(l.sent) == i+1 })
	}
	l.expectSent(want)
}

func checkResumeInside(b *transportBed) {
	var l *transportLink
	ready := make(chan struct{})
	l = b.connect(linkOptions{hook: func(message) bool {
		<-ready
		l.conn.Resume()
		return false
	}})
	close(ready)
	var want []message
	for i := range 50 {
		want = append(want, text(fmt.Sprint(i)))
	}
	l.clientSends(want...)
	l.expectSent(want)
}

func checkResumeIdle(b *transportBed) {
	l := b.connect(linkOptions{hook: func(message) bool { return false }})
	for range 3 {
		b.must("Resume", l.conn.Resume)
	}
	want := []message{text("1"), text("2")}
	l.clientSends(want...)
	b.wait("a message", func() bool { return len(l.sent) > 0 })
	b.quiet("a Resume that came early is forgotten", func() bool { return len(l.sent) == 1 })
	l.conn.Resume()
	l.expectSent(want)

	// Nor does one that came while a Receive that wants more was running.
	var first *transportLink
	ready := make(chan struct{})
	first = b.connect(linkOptions{hook: func(m message) bool {
		<-ready
		if m != want[0] {
			return false
		}
		first.conn.Resume()
		return true
	}})
	close(ready)
	first.clientSends(want[0], want[1], text("3"))
	b.wait("two messages", func() bool { return len(first.sent) > 1 })
	b.quiet("a Resume that was not needed is forgotten", func() bool { return len(first.sent) == 2 })
}

// checkConcurrent is for the race detector in the first place.
func checkConcurrent(b *transportBed) {
	var count atomic.Int64
	l := b.connect(linkOptions{hook: func(message) bool { return count.Add(1)%3 != 0 }})
	var down, up []message
	for i := range 200 {
		down = append(down, text(fmt.Sprintf("down %d", i)))
		up = append(up, text(fmt.Sprintf("up %d", i)))
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for _, f := range []func(){
		func() { _ = l.conn.Ping() }, // fails once Close is called
		func() { l.conn.Resume() },
		func() { l.conn.LastRead(); l.conn.Subprotocol() },
	} {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					f()
					runtime.Gosched()
				}
			}
		})
	}
	stopAll := sync.OnceFunc(func() { close(stop); wg.Wait() })
	defer stopAll()
	wg.Go(func() {
		for _, m := range down {
			if err := l.send(b.frames(m)); err != nil {
				b.Errorf("Send: %v", err)
				return
			}
		}
	})
	l.clientSends(up...)
	l.expectSent(up)
	l.expect(down)
	for range 4 {
		wg.Go(func() { l.close(wire.CloseNormal) })
	}
	b.must("Close", func() { l.close(wire.CloseNormal) })
	b.must("the others", stopAll)
}
