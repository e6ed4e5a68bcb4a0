package hubtest

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"forge.lthn.ai/core/go-ws/hub"
	"forge.lthn.ai/core/go-ws/hub/wire"
)

// expectFailure waits for the end of a connection whose client broke a rule.
func (l *transportLink) expectFailure(code wire.CloseCode) {
	l.b.Helper()
	l.expectCloseError("Closed", l.expectClosed(), hub.CloseError{Code: code}, false)
	var ce *hub.CloseError
	if end := l.expectEnd(); !errors.As(end, &ce) || ce.Code != code {
		l.b.Errorf("the client: got %v, want a close frame with %d", end, code)
	}
}

func (l *transportLink) expectCloseError(who string, err error, want hub.CloseError, reason bool) {
	l.b.Helper()
	var got *hub.CloseError
	if !errors.As(err, &got) {
		l.b.Errorf("%s: got %v, want a CloseError of %d", who, err, want.Code)
		return
	}
	if got.Code != want.Code || got.Remote != want.Remote || reason && got.Reason != want.Reason {
		l.b.Errorf("%s: got %+v, want %+v", who, *got, want)
	}
}

func checkReadLimit(b *transportBed) {
	const limit = 1000
	o := linkOptions{}
	o.accept.ReadLimit = limit
	fits := message{hub.TextFrame, strings.Repeat("x", limit)}
	for _, parts := range [][]int{{limit + 1}, {limit - 400, 401}, {limit, 1}} {
		l := b.connect(o)
		l.clientSends(fits)
		l.expectSent([]message{fits})
		var payloads [][]byte
		for _, n := range parts {
			payloads = append(payloads, make([]byte, n))
		}
		if err := l.client.Send(hub.BinaryFrame, payloads...); err != nil {
			b.Logf("the client's Send: %v", err) // the answer may be quicker
		}
		l.expectFailure(wire.CloseTooBig)
		l.expectSent([]message{fits})
	}
	// A message that is announced as larger is refused before it has all come.
	l := b.connect(o)
	if raw, ok := l.client.(TransportRawClient); ok {
		p := append([]byte{0x82, 0xff, 0, 0, 0, 0, 0x40, 0, 0, 0, 1, 2, 3, 4}, make([]byte, limit+1)...)
		if err := raw.SendRaw(p); err != nil {
			b.Fatalf("SendRaw: %v", err)
		}
		l.expectFailure(wire.CloseTooBig)
	}
}

func checkUTF8(b *transportBed) {
	for _, bad := range []string{"\xff", "cut off \xe2\x82", "\xed\xa0\x80", "\xc0\x80", strings.Repeat("x", 5000) + "\x80"} {
		l := b.connect(linkOptions{})
		good := []message{text("世界"), bytesOf([]byte(bad))}
		l.clientSends(good...)
		l.expectSent(good)
		l.clientSends(text(bad))
		l.expectFailure(wire.CloseInvalidData)
		l.expectSent(good)
	}
}

// checkBreach needs a client that can break the protocol.
func checkBreach(b *transportBed) {
	mask := "\x01\x02\x03\x04"
	for name, p := range map[string]string{
		"unmasked frame":                   "\x81\x01x",
		"reserved bit":                     "\xa1\x80" + mask,
		"reserved opcode":                  "\x83\x80" + mask,
		"reserved control opcode":          "\x8b\x80" + mask,
		"fragmented ping":                  "\x09\x80" + mask,
		"ping of 126 bytes":                "\x89\xfe\x00\x7e" + mask + strings.Repeat("x", 126),
		"continuation of nothing":          "\x80\x80" + mask,
		"message within another":           "\x01\x80" + mask + "\x81\x80" + mask,
		"close frame of one byte":          "\x88\x81" + mask + "x",
		"close frame with a reserved code": "\x88\x82" + mask + string([]byte{0x03 ^ 1, 0xed ^ 2}), // 1005
	} {
		l := b.connect(linkOptions{})
		raw, ok := l.client.(TransportRawClient)
		if !ok {
			return
		}
		if err := raw.SendRaw([]byte(p)); err != nil {
			b.Fatalf("SendRaw: %v", err)
		}
		b.Logf("after %s", name)
		l.expectFailure(wire.CloseProtocolError)
	}
}

func checkPeerClose(b *transportBed) {
	for _, want := range []hub.CloseError{
		{Code: wire.CloseNormal, Remote: true},
		{Code: wire.CloseGoingAway, Reason: "ciao, 世界", Remote: true},
		{Code: 4999, Reason: strings.Repeat("r", wire.MaxCloseReason), Remote: true},
	} {
		l := b.connect(linkOptions{})
		l.clientSends(text("last"))
		if err := l.client.Close(want.Code, want.Reason); err != nil {
			b.Fatalf("the client's Close: %v", err)
		}
		l.expectCloseError("Closed", l.expectClosed(), want, true)
		l.expectSent([]message{text("last")})
		var answer *hub.CloseError
		if end := l.expectEnd(); !errors.As(end, &answer) || answer.Code != want.Code {
			b.Errorf("the client: got %v, want its own code %d back", end, want.Code)
		}
	}
}

func checkPeerCloseNoStatus(b *transportBed) {
	l := b.connect(linkOptions{})
	if err := l.client.Close(wire.CloseNoStatus, ""); err != nil {
		b.Fatalf("the client's Close: %v", err)
	}
	l.expectCloseError("Closed", l.expectClosed(), hub.CloseError{Code: wire.CloseNoStatus, Remote: true}, true)
}

func checkPeerCut(b *transportBed) {
	l := b.connect(linkOptions{})
	echo(l)
	l.client.Cut()
	err := l.expectClosed()
	var ce *hub.CloseError
	if err == nil || errors.As(err, &ce) {
		b.Errorf("Closed: got %v, want an error that is no CloseError", err)
	}
	b.quiet("Closed comes once", func() bool { return len(l.closed) == 1 })
}

func checkClose(b *transportBed) {
	for _, want := range []hub.CloseError{
		{Code: wire.CloseNormal},
		{Code: wire.CloseServiceRestart, Reason: `{"reason":"restart","reconnectAfterMs":1234}`},
		{Code: wire.CloseCredentialsExpired, Reason: strings.Repeat("é", 61) + "."},
		{Code: 4999, Reason: "bye"},
	} {
		l := b.connect(linkOptions{})
		b.must("Close", func() { l.closeWith(want.Code, want.Reason) })
		want.Remote = true // both answers are frames that the other side sent
		var got *hub.CloseError
		if end := l.expectEnd(); !errors.As(end, &got) || got.Code != want.Code || got.Reason != want.Reason {
			b.Errorf("the client: got %v, want %d %q", end, want.Code, want.Reason)
		}
		l.expectCloseError("Closed", l.expectClosed(), want, false)
	}
}

func checkCloseOrder(b *transportBed) {
	l := b.connect(linkOptions{})
	var want []message
	for i := range 200 {
		want = append(want, text(fmt.Sprintf("%d %s", i, strings.Repeat("-", 10*i))))
	}
	if err := l.send(b.frames(want...)); err != nil {
		b.Fatalf("Send: %v", err)
	}
	b.must("Close", func() { l.closeWith(wire.CloseNormal, "done") })
	l.expect(want)
	l.expectClosing(wire.CloseNormal)
}

// expectClosing waits for the client to see a close frame.
func (l *transportLink) expectClosing(code wire.CloseCode) {
	l.b.Helper()
	var got *hub.CloseError
	if end := l.expectEnd(); !errors.As(end, &got) || got.Code != code {
		l.b.Errorf("the client: got %v, want a close frame with %d", end, code)
	}
}

func checkCloseHeld(b *transportBed) {
	l := b.connect(linkOptions{unread: true})
	taken := l.block()
	var wg sync.WaitGroup
	wg.Go(func() { l.closeWith(wire.CloseSlowClient, "slow") })
	b.quiet("Close waits for what is held", func() bool { return !l.released })
	l.read()
	l.expect(taken)
	l.expectClosing(wire.CloseSlowClient)
	b.must("Close", wg.Wait)
}

func checkCloseConcurrent(b *transportBed) {
	l := b.connect(linkOptions{})
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() { l.closeWith(wire.CloseNormal, fmt.Sprint(i)) })
	}
	b.must("Close", wg.Wait)
	b.must("Close of a closed connection", func() {
		l.close(wire.CloseGoingAway)
		l.close(0)
	})
	l.expectClosing(wire.CloseNormal)
	b.quiet("Closed comes once", func() bool { return len(l.closed) == 1 })
}

func checkCloseZero(b *transportBed) {
	for _, block := range []bool{false, true} {
		l := b.connect(linkOptions{unread: true})
		if block {
			l.block()
		}
		b.must("Close(0)", func() { l.close(0) })
		b.mu.Lock()
		if len(l.closed) != 1 {
			b.Errorf("got %d calls of Closed when Close returned, want 1", len(l.closed))
		}
		b.mu.Unlock()
		l.read()
		var ce *hub.CloseError
		if end := l.expectEnd(); errors.As(end, &ce) {
			b.Errorf("the client: got %v, want no close frame", end)
		}
	}
}

func checkCloseCutsShort(b *transportBed) {
	l := b.connect(linkOptions{unread: true}) // does not answer the close frame
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() { l.close(wire.CloseNormal) })
	}
	b.quiet("Close waits for the peer", func() bool { return !l.released })
	b.must("Close(0) beside another Close", func() { l.close(0) })
	b.must("Close that was cut short", wg.Wait)
}

func checkCloseTimeout(b *transportBed) {
	for _, block := range []bool{false, true} {
		o := linkOptions{unread: true}
		o.accept.WriteTimeout = 100 * time.Millisecond
		l := b.connect(o)
		if block {
			l.block()
		}
		b.must("Close of a client that does not answer", func() { l.close(wire.CloseNormal) })
		l.expectClosed()
	}
}

func checkCloseWaits(b *transportBed) {
	entered, gate := make(chan struct{}), make(chan struct{})
	open := sync.OnceFunc(func() { close(gate) })
	defer open()
	var left atomic.Bool
	l := b.connect(linkOptions{hook: func(message) bool {
		close(entered)
		<-gate
		left.Store(true)
		return true
	}})
	l.clientSends(text("hello"))
	b.must("Receive", func() { <-entered })
	var wg sync.WaitGroup
	wg.Go(func() {
		l.close(0)
		if !left.Load() {
			b.Error("Close returned while Receive was running")
		}
	})
	b.quiet("Close waits for Receive", func() bool { return !l.released })
	open()
	b.must("Close", wg.Wait)
}

func checkAfterClose(b *transportBed) {
	l := b.connect(linkOptions{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for l.client.Send(hub.TextFrame, []byte("on and on")) == nil {
		}
	})
	b.wait("some messages", func() bool { return len(l.sent) > 100 })
	b.must("Close(0)", func() { l.close(0) })
	b.mu.Lock()
	n := len(l.sent)
	b.mu.Unlock()
	b.quiet("nothing is received after Close", func() bool { return len(l.sent) == n })
	l.client.Cut()
	b.must("the client's Send, after Cut", wg.Wait)
}

func checkSendAfter(b *transportBed) {
	gone := b.connect(linkOptions{})
	gone.client.Cut()
	gone.expectClosed()
	closed := b.connect(linkOptions{})
	b.must("Close", func() { closed.close(wire.CloseNormal) })
	for _, l := range []*transportLink{gone, closed} {
		if n, err := l.conn.Send(b.frames(text("late"))); n != 0 || err == nil || errors.Is(err, hub.ErrWouldBlock) {
			b.Errorf("Send after the end: got %d, %v, want another error", n, err)
		}
		if err := l.conn.Ping(); err == nil {
			b.Errorf("Ping after the end: got no error")
		}
		b.must("Resume after the end", l.conn.Resume)
	}
}

// checkFailedSend calls no Close: a failed Send is nobody's reason to.
func checkFailedSend(b *transportBed) {
	for _, unstarted := range []bool{false, true} {
		l := b.connect(linkOptions{unstarted: unstarted})
		l.client.Cut()
		l.sendUntilOver()
		if unstarted {
			l.start()
		}
		l.expectClosed()
	}
	// A Send that fails does no harm to the close frame that is under way.
	o := linkOptions{}
	o.accept.ReadLimit = 1000
	l := b.connect(o)
	if err := l.client.Send(hub.BinaryFrame, make([]byte, o.accept.ReadLimit+1)); err != nil {
		b.Logf("the client's Send: %v", err) // the answer may be quicker
	}
	l.sendUntilOver()
	l.expectFailure(wire.CloseTooBig)
}

// sendUntilOver sends until the connection says that it is over.
func (l *transportLink) sendUntilOver() {
	l.b.Helper()
	ticker := time.NewTicker(time.Millisecond)
	defer ticker.Stop()
	frames := l.b.frames(text("on and on"))
	for began := time.Now(); time.Since(began) < l.b.patience; <-ticker.C {
		if _, err := l.conn.Send(frames); err != nil && !errors.Is(err, hub.ErrWouldBlock) {
			return
		}
	}
	l.b.Fatalf("Send: got no error within %v, want that the connection is over", l.b.patience)
}

func checkGoroutines(b *transportBed) {
	endOf := func(l *transportLink, code wire.CloseCode) {
		echo(l)
		b.must("Close", func() { l.close(code) })
		l.client.Cut()
		b.must("the client", l.reader.Wait)
	}
	endOf(b.connect(linkOptions{}), wire.CloseNormal) // what is started once
	before := runtime.NumGoroutine()
	b.quiet("nothing changes", func() bool { return true }) // what earlier checks left dies away
	before = min(before, runtime.NumGoroutine())
	for i := range 20 {
		endOf(b.connect(linkOptions{}), []wire.CloseCode{0, wire.CloseNormal}[i%2])
	}
	ticker := time.NewTicker(time.Millisecond)
	defer ticker.Stop()
	for began := time.Now(); runtime.NumGoroutine() > before; <-ticker.C {
		if time.Since(began) > b.patience {
			b.Fatalf("got %d goroutines after 20 connections, want the %d from before", runtime.NumGoroutine(), before)
		}
	}
}
