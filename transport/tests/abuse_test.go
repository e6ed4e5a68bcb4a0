package tests

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"runtime"
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
			const floods = 20_000
			pings := make([]byte, 0, 1<<20)
			for i := range floods {
				pings = append(pings, maskedFrame(fin|opPing, fmt.Appendf(nil, "%0125d", i))...)
			}
			pings = append(pings, maskedFrame(fin|opText, []byte("end"))...)
			b.must("pings", c.SendRaw(pings))
			s.wait("the last message", func() bool { return len(s.got) == 1 })
			size := len(pings)
			pings = nil
			if after := heap(); after > before+1<<20 {
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
		if got := time.Since(began); got != timeout {
			t.Errorf("it took %v, want %v", got, timeout)
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
