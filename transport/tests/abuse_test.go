package tests

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"forge.lthn.ai/core/go-ws/hub"
	"forge.lthn.ai/core/go-ws/hub/hubtest"
	"forge.lthn.ai/core/go-ws/hub/wire"
	"forge.lthn.ai/core/go-ws/transport"
)

// TestAPingFloodGrowsNoMemory floods pings and reads nothing. What the server
// keeps for it stays small, and of the pongs the newest comes.
func TestAPingFloodGrowsNoMemory(t *testing.T) {
	for _, n := range []network{networkOf("tcp"), networkOf("tls")} { // with and without raw writes
		t.Run(n.name, func(t *testing.T) {
			b := newBed(t, n)
			c, s := b.connect(hubtest.TransportDialOptions{})
			noise := make([]byte, 8<<20) // more than the kernel takes
			_, _ = rand.Read(noise)
			if n, err := s.Send(s.prepare(message{hub.BinaryFrame, string(noise)})); n != 1 || !errors.Is(err, hub.ErrWouldBlock) {
				t.Fatalf("Send: got %d, %v, want 1, %v", n, err, hub.ErrWouldBlock)
			}
			heap := func() uint64 {
				var m runtime.MemStats
				runtime.GC()
				runtime.ReadMemStats(&m)
				return m.HeapAlloc
			}
			before := heap()
			const floods = 1900 // few enough to be let through
			var pings []byte
			for i := range floods {
				pings = append(pings, maskedFrame(fin|opPing, fmt.Appendf(nil, "%0125d", i))...)
			}
			pings = append(pings, maskedFrame(fin|opText, []byte("end"))...)
			b.must("pings", c.SendRaw(pings))
			s.wait("the last message", func() bool { return len(s.got) == 1 })
			size := len(pings)
			pings = nil
			if after := heap(); after > before+uint64(size)/2 {
				t.Errorf("heap grew by %d bytes for %d of pings, want little", after-before, size)
			}
			pongs := 0
			for last := ""; last != fmt.Sprintf("%0125d", floods-1); {
				e, err := c.next()
				if err != nil {
					t.Fatalf("got %v after %d pongs, want the newest", err, pongs)
				}
				if e.op == opPong {
					pongs++
					last = string(e.payload)
				}
			}
			if pongs > 2 {
				t.Errorf("got %d pongs kept, want the newest", pongs)
			}
		})
	}
}

// TestAFloodBetweenMessagesEndsTheConnection sends frames without end that
// never become a message.
func TestAFloodBetweenMessagesEndsTheConnection(t *testing.T) {
	for name, c := range map[string]struct{ start, flood []byte }{
		"pings":           {nil, maskedFrame(fin|opPing, nil)},
		"pongs":           {nil, maskedFrame(fin|opPong, []byte("still here"))},
		"empty fragments": {maskedFrame(opText, []byte("x")), maskedFrame(opContinuation, nil)},
		"both": {maskedFrame(opText, nil), slices.Concat(
			maskedFrame(fin|opPing, nil), maskedFrame(opContinuation, nil))},
		"fragments of a compressed message": {maskedFrame(rsv1|opText, nil), maskedFrame(opContinuation, nil)},
	} {
		for _, n := range []network{networkOf("tcp"), networkOf("deflate over tls")} {
			if c.start != nil && c.start[0]&rsv1 != 0 && !n.config.Compression {
				continue
			}
			t.Run(name+" over "+n.name, func(t *testing.T) {
				b := newBed(t, n)
				conn, s := b.connect(hubtest.TransportDialOptions{Compress: true})
				b.must("the start", conn.SendRaw(c.start))
				stop := make(chan struct{})
				var wg sync.WaitGroup
				wg.Go(func() {
					for flood := bytes.Repeat(c.flood, 100); ; {
						select {
						case <-stop:
							return
						default:
						}
						if conn.SendRaw(flood) != nil {
							return
						}
					}
				})
				b.must("SetReadDeadline", conn.nc.SetReadDeadline(time.Now().Add(patience)))
				e, err := conn.next()
				for err == nil && e.op == opPong {
					e, err = conn.next()
				}
				close(stop)
				wg.Wait()
				if err != nil || e.close.Code != wire.ClosePolicy || e.close.Reason == "" {
					t.Errorf("got %+v, %v, want a close frame with %d and a reason", e, err, wire.ClosePolicy)
				}
				s.endsWith(hub.CloseError{Code: wire.ClosePolicy, Reason: e.close.Reason})
				if len(s.got) > 0 {
					t.Errorf("got %q handed over, want nothing", s.got)
				}
			})
		}
	}
}

// TestFramesBetweenMessagesAreHeldToARate: 2,000 at once and 1,000 a second,
// to the frame.
func TestFramesBetweenMessagesAreHeldToARate(t *testing.T) {
	bubble(t, hub.AcceptOptions{ReadLimit: 1000, WriteTimeout: time.Second}, func(nc net.Conn, accepted func() *side) {
		c, s := connectInBubble(t, nc, accepted)
		messages := 0
		pongs := func(n int) {
			t.Helper()
			_ = c.SendRaw(bytes.Repeat(maskedFrame(fin|opPong, nil), n)) // an error is the test's to see
			if c.write(fin|opText, []byte("x")) == nil {
				messages++
			}
			synctest.Wait()
		}
		pongs(2000)
		time.Sleep(time.Second)
		pongs(1000)
		time.Sleep(time.Hour)
		pongs(2000)
		time.Sleep(time.Second)
		s.mu.Lock()
		if len(s.closed) > 0 || len(s.got) != 3 || messages != 3 {
			t.Errorf("within the rate: got %d messages, Closed %v, want 3 and none", len(s.got), s.closed)
		}
		s.mu.Unlock()
		pongs(1001)
		s.endsWith(hub.CloseError{Code: wire.ClosePolicy})
		if len(s.got) != 3 {
			t.Errorf("got %d messages, want 3: none after the refusal", len(s.got))
		}
	})
}

// TestPongsThatAnswerPingsAreNotCounted: how often the hub pings is not the
// client's fault.
func TestPongsThatAnswerPingsAreNotCounted(t *testing.T) {
	bubble(t, hub.AcceptOptions{ReadLimit: 1000, WriteTimeout: time.Second}, func(nc net.Conn, accepted func() *side) {
		c, s := connectInBubble(t, nc, accepted)
		for range 3000 {
			if err := s.Ping(); err != nil {
				t.Fatalf("Ping: %v", err)
			}
			synctest.Wait() // for the pong
		}
		_ = c.SendRaw(bytes.Repeat(maskedFrame(fin|opPong, nil), 2000)) // an error is seen below
		synctest.Wait()
		s.mu.Lock()
		if len(s.closed) > 0 {
			t.Errorf("got Closed %v, want none: answers and a burst", s.closed)
		}
		s.mu.Unlock()
		_ = c.write(fin|opPong, nil)
		s.endsWith(hub.CloseError{Code: wire.ClosePolicy})
	})
}

// connectInBubble gives both sides of a connection. All that the server writes
// is read, and its pings are answered.
func connectInBubble(t *testing.T, nc net.Conn, accepted func() *side) (*client, *side) {
	c, _, err := handshake(nc, hubtest.TransportDialOptions{})
	if err != nil {
		t.Fatal(err)
	}
	go func() { // ends with nc
		for {
			e, err := c.next()
			if err != nil {
				return
			}
			switch e.op {
			case opPing:
				_ = c.write(fin|opPong, e.payload) // fails where the connection is over
			case opPong:
				c.pongs.Add(1)
			}
		}
	}()
	return c, accepted()
}

// TestAnHonestClientIsNotDisturbed sends for two minutes large messages in many
// fragments, one each second, and ten pings a second.
func TestAnHonestClientIsNotDisturbed(t *testing.T) {
	const size, fragments, seconds, pings = 32 << 10, 512, 120, 10
	bubble(t, hub.AcceptOptions{ReadLimit: size, WriteTimeout: time.Second}, func(nc net.Conn, accepted func() *side) {
		c, s := connectInBubble(t, nc, accepted)
		parts := make([][]byte, fragments)
		for i := range parts {
			parts[i] = bytes.Repeat([]byte{byte('a' + i%26)}, size/fragments)
		}
		want := message{hub.TextFrame, string(bytes.Join(parts, nil))}
		for range seconds {
			if err := c.Send(hub.TextFrame, parts...); err != nil {
				t.Fatalf("Send: %v", err)
			}
			for range pings {
				if err := c.Ping(); err != nil {
					t.Fatalf("Ping: %v", err)
				}
				time.Sleep(time.Second / pings)
			}
		}
		synctest.Wait()
		s.mu.Lock()
		defer s.mu.Unlock()
		if len(s.closed) > 0 || len(s.got) != seconds || c.Pongs() != seconds*pings {
			t.Fatalf("got %d messages, %d pongs, Closed %v, want %d, %d, none", len(s.got), c.Pongs(), s.closed, seconds, seconds*pings)
		}
		for i, got := range s.got {
			if got != want {
				t.Fatalf("message %d: got %d bytes, want the %d that were sent", i, len(got.payload), size)
			}
		}
	})
}

// TestACompressedMessageIsBoundedOnTheWire sends blocks that hold nothing.
func TestACompressedMessageIsBoundedOnTheWire(t *testing.T) {
	const limit = 1000
	const most = 2*limit + 64<<10
	// Each block is five bytes, of which the message's last leaves out four.
	blocks := bytes.Repeat([]byte("\x00\x00\x00\xff\xff"), most/5+1)[:most]
	if most%5 != 1 {
		t.Fatalf("got %d bytes, want whole blocks and one byte", most)
	}
	for name, c := range map[string]struct {
		frames []byte
		code   wire.CloseCode // 0 where it is taken
	}{
		"as much as there may be": {maskedFrame(fin|rsv1|opText, blocks), 0},
		"as much in fragments": {slices.Concat(
			maskedFrame(rsv1|opText, blocks[:most/2]), maskedFrame(fin|opContinuation, blocks[most/2:])), 0},
		"a byte more": {maskedFrame(fin|rsv1|opText, append(bytes.Clone(blocks), 0)), 1009},
		"a fragment more": {slices.Concat(
			maskedFrame(rsv1|opText, blocks), maskedFrame(opContinuation, []byte{0})), 1009},
		"without end": {slices.Concat(
			maskedFrame(rsv1|opText, nil), bytes.Repeat(maskedFrame(opContinuation, blocks[:5000]), 100)), 1009},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBed(t, networkOf("deflate"))
			b.accept.ReadLimit = limit
			conn, s := b.connect(hubtest.TransportDialOptions{Compress: true})
			_ = conn.SendRaw(c.frames) // may fail where the server has ended before
			if c.code != 0 {
				s.endsWith(hub.CloseError{Code: c.code, Reason: fmt.Sprintf("compressed message of more than %d bytes", most)})
				return
			}
			b.must("Send", conn.Send(hub.TextFrame, []byte("next")))
			s.wait("both messages", func() bool { return len(s.got) == 2 || len(s.closed) > 0 })
			if want := []message{{hub.TextFrame, ""}, {hub.TextFrame, "next"}}; !slices.Equal(s.got, want) {
				t.Errorf("got %q, Closed %v, want %q", s.got, s.closed, want)
			}
		})
	}
}

// TestAMessageThatIsCutOffIsNotHandedOver: the library takes an end of the
// stream within a message for its end.
func TestAMessageThatIsCutOffIsNotHandedOver(t *testing.T) {
	for _, n := range []network{networkOf("tcp"), networkOf("tls"), networkOf("deflate")} {
		for _, cut := range []string{
			"\x81\x85\x00\x00\x00\x00",
			"\x81\x85\x00\x00\x00\x00Hel",
			"\x01\x85\x00\x00\x00\x00Hello",
			"\x01\x85\x00\x00\x00\x00Hello" + "\x80\x85\x00\x00\x00\x00",
			"\xc1\x87\x00\x00\x00\x00\xf2\x48\xcd",
			"\x41\x83\x00\x00\x00\x00\xf2\x48\xcd",
		} {
			if cut[0]&rsv1 != 0 && !n.config.Compression {
				continue
			}
			b := newBed(t, n)
			c, s := b.connect(hubtest.TransportDialOptions{Compress: true})
			b.must("SendRaw", c.SendRaw([]byte(cut)))
			_ = c.nc.Close() // in order, without a reset
			err := s.end()
			if ce := (*hub.CloseError)(nil); errors.As(err, &ce) || len(s.got) != 0 {
				t.Errorf("%s, after %q: got %q, %v, want no message and an error", n.name, cut, s.got, err)
			}
		}
	}
}

// TestACloseWithinACompressedMessageHarmsNobodyElse: the library would give
// the decompressor to another connection while it is at work. For the race
// detector.
func TestACloseWithinACompressedMessageHarmsNobodyElse(t *testing.T) {
	b := newBed(t, networkOf("deflate"))
	honest, s := b.connect(hubtest.TransportDialOptions{Compress: true})
	stop := make(chan struct{})
	var wg sync.WaitGroup
	sent := 0
	wg.Go(func() {
		for ; ; sent++ {
			select {
			case <-stop:
				return
			default:
			}
			if err := honest.Send(hub.TextFrame, []byte(strings.Repeat("fine ", 200))); err != nil {
				t.Errorf("Send: %v", err)
				return
			}
		}
	})
	for range 100 {
		c, bad := b.connect(hubtest.TransportDialOptions{Compress: true})
		part := deflate([]byte(strings.Repeat("never finished ", 100)))
		b.must("SendRaw", c.SendRaw(append(maskedFrame(rsv1|opText, part[:len(part)/2]), maskedFrame(fin|opClose, closePayload(1001, ""))...)))
		bad.endsWith(hub.CloseError{Code: 1001, Remote: true})
	}
	close(stop)
	wg.Wait()
	s.wait("all messages", func() bool { return len(s.got) == sent || len(s.closed) > 0 })
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.closed) > 0 {
		t.Errorf("the other connection ended: %v", s.closed[0])
	}
}

// TestTeardownFromEverySideAtOnce is for the race detector and goleak.
func TestTeardownFromEverySideAtOnce(t *testing.T) {
	everyNetwork(t, func(t *testing.T, n network) {
		for i := range 30 {
			b := newBed(t, n)
			b.hook = func(message) bool { return false }
			c, s := b.connect(hubtest.TransportDialOptions{Compress: true})
			frames := s.prepare(message{hub.TextFrame, strings.Repeat("x", 10_000)})
			var wg sync.WaitGroup
			start := make(chan struct{})
			for _, f := range []func(){
				func() { _ = s.Close(wire.CloseGoingAway, "one") },
				func() { _ = s.Close(wire.CloseNormal, "two") },
				func() { _, _ = s.Send(frames) },
				func() { _ = s.Ping() },
				func() { s.Resume() },
				func() { _ = c.Close(wire.CloseNormal, "") },
				func() { _ = c.Send(hub.TextFrame, []byte("hello"), []byte("\xff")) },
				func() {
					for {
						if _, _, err := c.Receive(); err != nil {
							if errors.Is(err, errBreach) && i%3 == 2 {
								t.Error(err)
							}
							return
						}
					}
				},
				func() {
					switch i % 3 {
					case 0:
						_ = s.Close(0, "")
					case 1:
						c.Cut()
					}
				},
			} {
				wg.Go(func() { <-start; f() })
			}
			close(start)
			_ = s.Close(wire.CloseNormal, "")
			s.end()
			c.Cut()
			wg.Wait()
		}
	})
}

// bubble serves over net.Pipe within a bubble of testing/synctest.
func bubble(t *testing.T, o hub.AcceptOptions, test func(nc net.Conn, accepted func() *side)) {
	synctest.Test(t, func(t *testing.T) {
		l := &pipeListener{conns: make(chan net.Conn), done: make(chan struct{})}
		b := &bed{TB: t, tr: newTransport(t, transport.Config{}), accept: o, conns: make(chan *side, 1)}
		server := &http.Server{Handler: http.HandlerFunc(b.handle)}
		served := make(chan error, 1)
		go func() { served <- server.Serve(l) }()
		here, there := net.Pipe()
		l.conns <- there
		test(here, b.server)
		_ = here.Close()
		_ = server.Close()
		<-served
	})
}

func TestTheAnswerIsBoundedByTheWriteTimeout(t *testing.T) {
	bubble(t, hub.AcceptOptions{ReadLimit: 1000, WriteTimeout: 3 * time.Second}, func(nc net.Conn, _ func() *side) {
		began := time.Now()
		if _, err := nc.Write([]byte(upgrade + "\r\n")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second) // in the bubble: nobody reads the answer
		n, err := nc.Read(make([]byte, 1))
		if err == nil || n > 0 {
			t.Errorf("after %v: got %d bytes, %v, want the connection closed", time.Since(began), n, err)
		}
	})
}

func TestTimeInABubble(t *testing.T) {
	const timeout = 3 * time.Second
	bubble(t, hub.AcceptOptions{ReadLimit: 1000, WriteTimeout: timeout}, func(nc net.Conn, accepted func() *side) {
		c, _, err := handshake(nc, hubtest.TransportDialOptions{})
		if err != nil {
			t.Fatal(err)
		}
		s := accepted()
		time.Sleep(time.Hour)
		if got, want := time.Since(s.LastRead()), time.Hour; got != want {
			t.Errorf("since LastRead: got %v, want %v", got, want)
		}
		if err := c.write(fin|opPong, nil); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if got := time.Since(s.LastRead()); got != 0 {
			t.Errorf("since LastRead: got %v, want 0", got)
		}
		// The peer never answers the close frame.
		began := time.Now()
		go func() { _, _ = c.next() }()
		if err := s.Close(wire.CloseNormal, ""); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("Close: got %v, want %v", err, os.ErrDeadlineExceeded)
		}
		if got := time.Since(began); got != timeout {
			t.Errorf("Close took %v, want %v", got, timeout)
		}
	})
}

// TestAPeerThatTakesNothingIsCutOff: a write that makes no progress for the
// write timeout ends the connection.
func TestAPeerThatTakesNothingIsCutOff(t *testing.T) {
	const timeout = 3 * time.Second
	bubble(t, hub.AcceptOptions{ReadLimit: 1000, WriteTimeout: timeout}, func(nc net.Conn, accepted func() *side) {
		if _, _, err := handshake(nc, hubtest.TransportDialOptions{}); err != nil {
			t.Fatal(err)
		}
		s := accepted()
		began := time.Now()
		if n, err := s.Send(s.prepare(message{hub.TextFrame, "x"})); n != 1 || !errors.Is(err, hub.ErrWouldBlock) {
			t.Errorf("Send: got %d, %v, want 1, %v", n, err, hub.ErrWouldBlock)
		}
		if err := s.end(); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("Closed: got %v, want %v", err, os.ErrDeadlineExceeded)
		}
		if got := time.Since(began); got < timeout || got > timeout+timeout/16 {
			t.Errorf("it took %v, want %v and up to a sixteenth more", got, timeout)
		}
	})
	// The same on a socket.
	b := newBed(t, networkOf("tcp"))
	b.accept.WriteTimeout = 100 * time.Millisecond
	_, s := b.connect(hubtest.TransportDialOptions{})
	if _, err := s.Send(s.prepare(message{hub.BinaryFrame, strings.Repeat("x", 16<<20)})); !errors.Is(err, hub.ErrWouldBlock) {
		t.Errorf("Send: got %v, want %v", err, hub.ErrWouldBlock)
	}
	if err := s.end(); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("Closed: got %v, want %v", err, os.ErrDeadlineExceeded)
	}
}
