package hubtest

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"forge.lthn.ai/core/go-ws/hub"
	"forge.lthn.ai/core/go-ws/hub/wire"
)

func text(s string) message { return message{hub.TextFrame, s} }

func bytesOf(p []byte) message { return message{hub.BinaryFrame, string(p)} }

// samples are messages of every kind of length that a frame's header has.
func samples() []message {
	ms := []message{text("grüße, 世界 🙂"), text("nul \x00 and newline\n")}
	for i, n := range []int{0, 1, 125, 126, 127, 65535, 65536, 200_000} {
		ms = append(ms, text(strings.Repeat("x", n)), bytesOf(pattern(i, n)))
	}
	return ms
}

func checkStart(b *transportBed) {
	l := b.connect(linkOptions{unstarted: true})
	began := l.conn.LastRead()
	l.clientSends(text("early"))
	if n, err := l.conn.Send(b.frames(text("first"))); n != 1 || err != nil && !errors.Is(err, hub.ErrWouldBlock) {
		b.Errorf("Send before Start: got %d, %v, want it taken", n, err)
	}
	l.expect([]message{text("first")})
	b.quiet("nothing is read before Start", func() bool { return l.conn.LastRead().Equal(began) && len(l.sent) == 0 })
	l.start()
	l.expectSent([]message{text("early")})

	gone := b.connect(linkOptions{unstarted: true})
	gone.client.Cut()
	gone.start()
	gone.expectClosed()
}

// clientSends sends messages from the client.
func (l *transportLink) clientSends(ms ...message) {
	l.b.Helper()
	for _, m := range ms {
		if err := l.client.Send(m.t, []byte(m.payload)); err != nil {
			l.b.Fatalf("the client's Send: %v", err)
		}
	}
}

func checkReceive(b *transportBed) {
	l := b.connect(linkOptions{})
	var want []message
	for range 3 {
		want = append(want, samples()...)
	}
	b.must("the client's Send", func() { l.clientSends(want...) })
	l.expectSent(want)
}

func checkFragments(b *transportBed) {
	l := b.connect(linkOptions{})
	var want []message
	for _, parts := range [][]string{
		{"one", "two", "three"},
		{"", "", "end"},
		{"begin", ""},
		{"gr\xc3", "\xbc\xc3", "\x9fe"}, // a character may be split
		{strings.Repeat("a", 1000), strings.Repeat("b", 70_000), "c"},
	} {
		var payloads [][]byte
		for _, p := range parts {
			payloads = append(payloads, []byte(p))
		}
		for _, t := range []hub.FrameType{hub.TextFrame, hub.BinaryFrame} {
			if err := l.client.Send(t, payloads...); err != nil {
				b.Fatalf("the client's Send: %v", err)
			}
			want = append(want, message{t, strings.Join(parts, "")})
		}
	}
	l.expectSent(want)
}

func checkSend(b *transportBed) {
	l := b.connect(linkOptions{})
	var want []message
	for _, m := range samples() {
		payload := []byte(m.payload)
		if err := l.send([]hub.Frame{b.tr.Prepare(m.t, payload)}); err != nil {
			b.Fatalf("Send: %v", err)
		}
		want = append(want, m)
		l.expect(want)
		if string(payload) != m.payload {
			b.Errorf("the transport changed the payload of %s", m)
		}
	}
}

func checkOrder(b *transportBed) {
	l := b.connect(linkOptions{})
	var want []message
	for batch := range 200 {
		var ms []message
		for i := range batch % 17 {
			ms = append(ms, text(fmt.Sprintf("%d.%d %s", batch, i, strings.Repeat("-", batch*i))))
		}
		if err := l.send(b.frames(ms...)); err != nil {
			b.Fatalf("Send of batch %d: %v", batch, err)
		}
		want = append(want, ms...)
	}
	l.expect(want)
}

func checkBatch(b *transportBed) {
	l := b.connect(linkOptions{})
	var want []message
	for i := range 100 {
		want = append(want, text(fmt.Sprintf("message %d", i)))
	}
	if n, err := l.conn.Send(b.frames(want...)); n != len(want) || err != nil && !errors.Is(err, hub.ErrWouldBlock) {
		b.Errorf("Send of %d small frames to a client that reads: got %d, %v, want all taken", len(want), n, err)
	}
	l.expect(want)
}

func checkSlice(b *transportBed) {
	wrong := b.frames(text("the slice was kept"))[0]
	scribble := func(frames []hub.Frame) {
		for i := range frames {
			frames[i] = wrong
		}
	}
	l := b.connect(linkOptions{})
	var want []message
	for i := range 3 {
		ms := []message{text(fmt.Sprintf("a %d", i)), text("b"), text("c")}
		batch := b.frames(ms...)
		n, err := l.conn.Send(batch)
		if err != nil && !errors.Is(err, hub.ErrWouldBlock) {
			b.Fatalf("Send: %v", err)
		}
		scribble(batch)
		want = append(want, ms[:n]...)
	}
	l.expect(want)

	held := b.connect(linkOptions{unread: true})
	want = nil
	for i := range 3 {
		want = append(want, bytesOf(pattern(i, 12<<20)))
	}
	big := b.frames(want...)
	n, err := held.conn.Send(big)
	if err != nil && !errors.Is(err, hub.ErrWouldBlock) {
		b.Fatalf("Send: %v", err)
	}
	scribble(big)
	held.read()
	held.expect(want[:n])
}

func checkShared(b *transportBed) {
	const conns, rounds = 8, 20
	payloads := [][]byte{[]byte("shared by all"), pattern(1, 70_000), bytes.Repeat([]byte("compressible "), 500)}
	var frames []hub.Frame
	var round []message
	for i, p := range payloads {
		t := []hub.FrameType{hub.TextFrame, hub.BinaryFrame, hub.TextFrame}[i]
		round = append(round, message{t, string(p)})
		frames = append(frames, b.tr.Prepare(t, p))
		if string(p) != round[i].payload {
			b.Errorf("the transport changed payload %d", i)
		}
		clear(p) // it is the caller's again
	}
	var want []message
	for range rounds {
		want = append(want, round...)
	}
	var links []*transportLink
	for range conns {
		links = append(links, b.connect(linkOptions{}))
	}
	var wg sync.WaitGroup
	for _, l := range links {
		wg.Go(func() {
			for range rounds {
				if err := l.send(slices.Clone(frames)); err != nil {
					b.Errorf("Send: %v", err)
					return
				}
			}
		})
	}
	b.must("sending to all", wg.Wait)
	for _, l := range links {
		l.expect(want)
	}
}

func checkSize(b *transportBed) {
	for _, n := range []int{0, 1, 125, 126, 65535, 65536} {
		// A header of WebSocket has 2 to 14 bytes; others have some too.
		got := b.tr.Prepare(hub.BinaryFrame, make([]byte, n)).Size()
		if got < n || got > n+64 {
			b.Errorf("Size of %d bytes: got %d, want them and a header", n, got)
		}
	}
}

func checkCompression(b *transportBed) {
	l := b.connect(linkOptions{dial: TransportDialOptions{Compress: true}})
	want := append(samples(), text(strings.Repeat("the same again and again ", 4000)))
	for _, m := range want {
		if err := l.send(b.frames(m)); err != nil {
			b.Fatalf("Send: %v", err)
		}
	}
	l.expect(want)
	b.must("the client's Send", func() { l.clientSends(want...) })
	l.expectSent(want)

	// The limit is for what the message is, not for what it was squeezed to.
	o := linkOptions{dial: TransportDialOptions{Compress: true}}
	o.accept.ReadLimit = 1000
	bomb := b.connect(o)
	bomb.clientSends(text(strings.Repeat("a", 100_000)))
	bomb.expectFailure(wire.CloseTooBig)
}

func checkPong(b *transportBed) {
	l := b.connect(linkOptions{})
	began := l.conn.LastRead()
	if time.Since(began) > b.patience || time.Since(began) < 0 {
		b.Errorf("LastRead of a new connection: got %v, want about now", began)
	}
	b.quiet("a silent client moves LastRead not", func() bool { return l.conn.LastRead().Equal(began) })
	for range 3 {
		before := l.conn.LastRead()
		if err := l.conn.Ping(); err != nil {
			b.Fatalf("Ping: %v", err)
		}
		l.lastReadMoves(before, "the pong")
	}
}

func (l *transportLink) lastReadMoves(before time.Time, why string) {
	l.b.Helper()
	ticker := time.NewTicker(time.Millisecond)
	defer ticker.Stop()
	for began := time.Now(); !l.conn.LastRead().After(before); <-ticker.C {
		if time.Since(began) > l.b.patience {
			l.b.Fatalf("LastRead: got %v, want a later time after %s", before, why)
		}
	}
}

func checkLastRead(b *transportBed) {
	l := b.connect(linkOptions{})
	before := l.conn.LastRead()
	l.clientSends(text("hello"))
	l.expectSent([]message{text("hello")})
	l.lastReadMoves(before, "a message")
	before = l.conn.LastRead()
	if err := l.client.Ping(); err != nil {
		b.Fatalf("the client's Ping: %v", err)
	}
	l.lastReadMoves(before, "a ping")
}

func checkAnswersPings(b *transportBed) {
	l := b.connect(linkOptions{})
	if err := l.client.Ping(); err != nil {
		b.Fatalf("the client's Ping: %v", err)
	}
	ticker := time.NewTicker(time.Millisecond)
	defer ticker.Stop()
	for began := time.Now(); l.client.Pongs() == 0; <-ticker.C {
		if time.Since(began) > b.patience {
			b.Fatal("got no pong, want one")
		}
	}
}

func checkInterleaving(b *transportBed) {
	l := b.connect(linkOptions{})
	var down, up []message
	for i := range 150 {
		down = append(down, bytesOf(pattern(i, 20_000)))
		up = append(up, text(fmt.Sprintf("up %d", i)))
	}
	frames := b.frames(down...)
	var wg sync.WaitGroup
	wg.Go(func() {
		for batch := range slices.Chunk(frames, 7) {
			if err := errors.Join(l.conn.Ping(), l.send(batch)); err != nil {
				b.Errorf("Ping and Send: %v", err)
				return
			}
		}
	})
	wg.Go(func() {
		for range 150 {
			if err := l.conn.Ping(); err != nil {
				b.Errorf("Ping: %v", err)
				return
			}
		}
	})
	wg.Go(func() {
		for _, m := range up {
			if err := errors.Join(l.client.Ping(), l.client.Send(m.t, []byte(m.payload))); err != nil {
				b.Errorf("the client: %v", err)
				return
			}
		}
	})
	b.must("sending both ways", wg.Wait)
	l.expect(down)
	l.expectSent(up)
}
