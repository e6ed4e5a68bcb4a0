package tests

import (
	"bytes"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"forge.lthn.ai/core/go-ws/hub"
	"forge.lthn.ai/core/go-ws/hub/hubtest"
)

// goroutinesIn counts the goroutines that have a function on their stack.
func goroutinesIn(function string) int {
	b := make([]byte, 1<<20)
	for {
		n := runtime.Stack(b, true)
		if n < len(b) {
			b = b[:n]
			break
		}
		b = make([]byte, 2*len(b))
	}
	count := 0
	for one := range bytes.SplitSeq(b, []byte("\n\n")) {
		if bytes.Contains(one, []byte(function+"(")) {
			count++
		}
	}
	return count
}

// TestIdleConnectionsHaveOneGoroutineEach: the library's goroutine is there
// while a message is read, and for a few in reserve.
func TestIdleConnectionsHaveOneGoroutineEach(t *testing.T) {
	const conns, reserve = 100, 32
	for _, n := range []network{networkOf("tcp"), networkOf("unix"), networkOf("tls"), networkOf("deflate")} {
		t.Run(n.name, func(t *testing.T) {
			b := newBed(t, n)
			for range conns {
				c, s := b.connect(hubtest.TransportDialOptions{Compress: true})
				b.must("Send", c.Send(hub.TextFrame, []byte("Hello, "), []byte("Hello!")))
				s.wait("the message", func() bool { return len(s.got) == 1 })
				b.must("Ping", c.Ping())
				if e, err := c.next(); err != nil || e.op != opPong {
					t.Fatalf("got %v, %v, want a pong", e, err)
				}
			}
			const library, ours = "nhooyr.io/websocket.(*Conn).timeoutLoop", "transport.(*conn).run"
			var got, reading int
			for began := time.Now(); time.Since(began) < patience; runtime.Gosched() {
				if got, reading = goroutinesIn(library), goroutinesIn("websocket.(*Conn).Reader"); got <= reserve && reading == 0 {
					break
				}
			}
			if got > reserve || reading > 0 {
				t.Errorf("got %d goroutines of the library, %d connections in it, want at most %d and 0", got, reading, reserve)
			}
			if got := goroutinesIn(ours); got != conns {
				t.Errorf("got %d reading goroutines, want %d", got, conns)
			}
		})
	}
}

// TestWhatFollowsACompressedStreamIsDropped: a sender may end the stream within
// a message, and the library keeps what is behind the end for the next one.
func TestWhatFollowsACompressedStreamIsDropped(t *testing.T) {
	b := newBed(t, networkOf("deflate"))
	one, s1 := b.connect(hubtest.TransportDialOptions{Compress: true})
	two, s2 := b.connect(hubtest.TransportDialOptions{Compress: true})
	// RFC 7692, section 7.2.3.5, and rubbish.
	const ended = "\xf3\x48\xcd\xc9\xc9\x07\x00\x00" + "\xff\xff\xff\xff"
	for range 3 {
		b.must("SendRaw", one.SendRaw(maskedFrame(fin|rsv1|opText, []byte(ended))))
	}
	s1.wait("the messages", func() bool { return len(s1.got) == 3 || len(s1.closed) > 0 })
	for range 3 {
		b.must("Send", two.Send(hub.TextFrame, []byte(strings.Repeat("Hello", 10))))
	}
	s2.wait("the messages", func() bool { return len(s2.got) == 3 || len(s2.closed) > 0 })
	if want := slices.Repeat([]message{{hub.TextFrame, "Hello"}}, 3); !slices.Equal(s1.got, want) {
		t.Errorf("got %q, Closed %v, want %q", s1.got, s1.closed, want)
	}
	if want := slices.Repeat([]message{{hub.TextFrame, strings.Repeat("Hello", 10)}}, 3); !slices.Equal(s2.got, want) {
		t.Errorf("got %q, Closed %v, want %q", s2.got, s2.closed, want)
	}
}
