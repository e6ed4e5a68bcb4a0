package tests

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"forge.lthn.ai/core/go-ws/hub"
	"forge.lthn.ai/core/go-ws/hub/wire"
)

// gorilla connects with gorilla's client.
func (b *bed) gorilla(d websocket.Dialer) (*websocket.Conn, *side) {
	b.Helper()
	d.NetDial = func(string, string) (net.Conn, error) { return b.dial() }
	ws, resp, err := d.Dial("ws://test/ws", nil)
	if err != nil {
		b.Fatalf("Dial: %v (%v)", err, resp)
	}
	b.Cleanup(func() { _ = ws.Close() })
	if err := ws.SetReadDeadline(time.Now().Add(patience)); err != nil {
		b.Fatal(err)
	}
	return ws, b.server()
}

func everyNetwork(t *testing.T, test func(t *testing.T, n network)) {
	for _, n := range networks {
		t.Run(n.name, func(t *testing.T) { test(t, n) })
	}
}

func (b *bed) must(what string, err error) {
	b.Helper()
	if err != nil {
		b.Fatalf("%s: %v", what, err)
	}
}

func lengths() (ms []message) {
	for _, n := range []int{0, 1, 125, 126, 127, 511, 512, 65535, 65536, 300_000} {
		ms = append(ms, message{hub.TextFrame, strings.Repeat("é", n/2) + strings.Repeat("x", n%2)})
		p := make([]byte, n)
		_, _ = rand.Read(p) // never fails
		ms = append(ms, message{hub.BinaryFrame, string(p)})
	}
	return ms
}

func gorillaType(t hub.FrameType) int {
	if t == hub.TextFrame {
		return websocket.TextMessage
	}
	return websocket.BinaryMessage
}

func TestMessagesBothWays(t *testing.T) {
	everyNetwork(t, func(t *testing.T, n network) {
		b := newBed(t, n)
		ws, s := b.gorilla(websocket.Dialer{EnableCompression: n.config.Compression})
		want := lengths()
		go func() {
			if err := s.send(s.prepare(want...)); err != nil {
				t.Errorf("send: %v", err)
			}
		}()
		for i, m := range want {
			kind, p, err := ws.ReadMessage()
			if err != nil || kind != gorillaType(m.t) || string(p) != m.payload {
				t.Fatalf("message %d: got kind %d, %d bytes, %v, want %d, %d bytes", i, kind, len(p), err, m.t, len(m.payload))
			}
		}
		for _, m := range want {
			b.must("WriteMessage", ws.WriteMessage(gorillaType(m.t), []byte(m.payload)))
		}
		s.wait("all messages", func() bool { return len(s.got) >= len(want) })
		for i, m := range want {
			if s.got[i] != m {
				t.Errorf("message %d: got type %d, %d bytes, want %d, %d", i, s.got[i].t, len(s.got[i].payload), m.t, len(m.payload))
			}
		}
	})
}

func TestFragmentsWithControlFramesBetween(t *testing.T) {
	b := newBed(t, networkOf("tcp"))
	ws, s := b.gorilla(websocket.Dialer{WriteBufferSize: 64})
	w, err := ws.NextWriter(websocket.TextMessage)
	b.must("NextWriter", err)
	for range 100 {
		_, err := io.WriteString(w, "fragment, ")
		b.must("Write", err)
		b.must("WriteControl", ws.WriteControl(websocket.PingMessage, []byte("between"), time.Now().Add(patience)))
	}
	b.must("Close", w.Close())
	s.wait("the message", func() bool { return len(s.got) > 0 })
	if want := strings.Repeat("fragment, ", 100); s.got[0].payload != want {
		t.Errorf("got %q, want %q", s.got[0].payload, want)
	}
}

func TestPingsBothWays(t *testing.T) {
	everyNetwork(t, func(t *testing.T, n network) {
		b := newBed(t, n)
		ws, s := b.gorilla(websocket.Dialer{})
		pongs := make(chan string, 10)
		ws.SetPongHandler(func(data string) error { pongs <- data; return nil })
		before := s.LastRead()
		b.must("Ping", s.Ping())
		b.must("WriteControl", ws.WriteControl(websocket.PingMessage, []byte("hello"), time.Now().Add(patience)))
		b.must("WriteMessage", ws.WriteMessage(websocket.TextMessage, []byte("x")))
		s.wait("a message", func() bool { return len(s.got) > 0 })
		sent := make(chan error, 1)
		go func() { sent <- s.send(s.prepare(message{hub.TextFrame, "last"})) }()
		if _, p, err := ws.ReadMessage(); err != nil || string(p) != "last" {
			t.Errorf("got %q, %v, want the message after the pong", p, err)
		}
		b.must("send", <-sent)
		select {
		case got := <-pongs:
			if got != "hello" {
				t.Errorf("got pong %q, want %q", got, "hello")
			}
		default:
			t.Error("got no pong before the message, want one")
		}
		if !s.LastRead().After(before) {
			t.Errorf("LastRead: got %v, want later than %v", s.LastRead(), before)
		}
	})
}

func TestThePeersClose(t *testing.T) {
	everyNetwork(t, func(t *testing.T, n network) {
		for _, want := range []hub.CloseError{
			{Code: 1000, Remote: true},
			{Code: 1001, Reason: "going", Remote: true},
			{Code: 4321, Reason: strings.Repeat("é", 61), Remote: true},
			{Code: wire.CloseNoStatus, Remote: true},
		} {
			b := newBed(t, n)
			ws, s := b.gorilla(websocket.Dialer{})
			b.must("close", ws.WriteControl(websocket.CloseMessage, closePayload(want.Code, want.Reason), time.Now().Add(patience)))
			_, _, err := ws.ReadMessage()
			if !websocket.IsCloseError(err, int(want.Code)) {
				t.Errorf("client: got %v, want close %d", err, want.Code)
			}
			s.endsWith(want)
			b.must("Close of what is closed", s.Close(wire.CloseNormal, ""))
		}
	})
}

func TestOurClose(t *testing.T) {
	everyNetwork(t, func(t *testing.T, n network) {
		for _, want := range []websocket.CloseError{{Code: 1000}, {Code: 1012, Text: `{"reason":"restart"}`}, {Code: 4999, Text: strings.Repeat("r", 123)}} {
			b := newBed(t, n)
			ws, s := b.gorilla(websocket.Dialer{})
			done := make(chan error, 1)
			go func() { done <- s.Close(wire.CloseCode(want.Code), want.Text) }()
			_, _, err := ws.ReadMessage()
			var got *websocket.CloseError
			if !errors.As(err, &got) || *got != want {
				t.Errorf("client: got %v, want %v", err, &want)
			}
			if err := <-done; err != nil {
				t.Errorf("Close: got %v, want nil after an answer", err)
			}
			s.endsWith(hub.CloseError{Code: wire.CloseCode(want.Code), Remote: true})
		}
	})
}

func TestCloseOfWhatIsNeverSent(t *testing.T) {
	b := newBed(t, networkOf("tcp"))
	for _, code := range []wire.CloseCode{1, 999, 1004, 1005, 1006, 1015, 2999, 5000} {
		ws, s := b.gorilla(websocket.Dialer{})
		if err := s.Close(code, ""); err == nil {
			t.Errorf("Close(%d): got no error", code)
		}
		if _, _, err := ws.ReadMessage(); !websocket.IsCloseError(err, 1006) {
			t.Errorf("client: got %v, want an end without a close frame", err)
		}
	}
	for _, reason := range []string{strings.Repeat("x", 124), "\xff"} {
		ws, s := b.gorilla(websocket.Dialer{})
		go func() { _ = s.Close(1000, reason) }()
		if _, _, err := ws.ReadMessage(); !websocket.IsCloseError(err, 1000) {
			t.Errorf("client: got %v, want 1000 without a reason", err)
		}
		s.end()
	}
}

func TestSubprotocolKeepsTheHubsSpelling(t *testing.T) {
	b := newBed(t, networkOf("tcp"))
	b.accept.Subprotocols = []string{"go-ws.V2", "go-ws.v1"}
	ws, s := b.gorilla(websocket.Dialer{Subprotocols: []string{"other", "GO-ws.v2"}})
	if got, want := ws.Subprotocol(), "GO-ws.v2"; got != want {
		t.Errorf("on the wire: got %q, want the client's %q", got, want)
	}
	if got, want := s.Subprotocol(), "go-ws.V2"; got != want {
		t.Errorf("Subprotocol: got %q, want the hub's %q", got, want)
	}
}

func TestTooLargeAMessageIsRefused(t *testing.T) {
	everyNetwork(t, func(t *testing.T, n network) {
		b := newBed(t, n)
		b.accept.ReadLimit = 1000
		ws, s := b.gorilla(websocket.Dialer{EnableCompression: n.config.Compression})
		b.must("WriteMessage", ws.WriteMessage(websocket.TextMessage, bytes.Repeat([]byte("x"), 1000)))
		go func() { _ = ws.WriteMessage(websocket.TextMessage, bytes.Repeat([]byte("y"), 50_000)) }() // may be cut short
		if _, _, err := ws.ReadMessage(); !websocket.IsCloseError(err, 1009) {
			t.Errorf("client: got %v, want close 1009", err)
		}
		_ = ws.Close()
		s.endsWith(hub.CloseError{Code: 1009})
		if len(s.got) != 1 {
			t.Errorf("got %d messages, want the one that fits", len(s.got))
		}
	})
}

func TestTextThatIsNotUTF8IsRefused(t *testing.T) {
	everyNetwork(t, func(t *testing.T, n network) {
		b := newBed(t, n)
		ws, s := b.gorilla(websocket.Dialer{EnableCompression: n.config.Compression})
		b.must("WriteMessage", ws.WriteMessage(websocket.TextMessage, []byte("caf\xe9")))
		if _, _, err := ws.ReadMessage(); !websocket.IsCloseError(err, 1007) {
			t.Errorf("client: got %v, want close 1007", err)
		}
		_ = ws.Close()
		s.endsWith(hub.CloseError{Code: 1007})
		if len(s.got) != 0 {
			t.Errorf("got %q handed over, want nothing", s.got)
		}
	})
}

// TestASlowReaderBlocksItselfAlone fills the way to a client that does not
// read, and then has it read: all comes, in order, and Writable is called.
func TestASlowReaderBlocksItselfAlone(t *testing.T) {
	everyNetwork(t, func(t *testing.T, n network) {
		b := newBed(t, n)
		ws, s := b.gorilla(websocket.Dialer{EnableCompression: n.config.Compression})
		noise := make([]byte, 100_000)
		_, _ = rand.Read(noise)
		taken := 0
		for blocked := false; !blocked; {
			s.mu.Lock()
			before := s.writable
			s.mu.Unlock()
			k, err := s.Send(s.prepare(message{hub.BinaryFrame, fmt.Sprintf("%08d", taken) + string(noise)}))
			taken += k
			switch {
			case errors.Is(err, hub.ErrWouldBlock) && n.name != "pipe":
				// The kernel's buffers may take more in a while, but not for ever.
				timer := time.NewTimer(100 * time.Millisecond)
				select {
				case <-timer.C:
				case <-s.changedSince(before):
				}
				timer.Stop()
				s.mu.Lock()
				blocked = s.writable == before
				s.mu.Unlock()
			case errors.Is(err, hub.ErrWouldBlock):
				blocked = true
			case err != nil:
				t.Fatalf("Send: %v", err)
			}
		}
		if k, err := s.Send(s.prepare(message{hub.TextFrame, "more"})); k != 0 || !errors.Is(err, hub.ErrWouldBlock) {
			t.Errorf("Send while blocked: got %d, %v, want 0, %v", k, err, hub.ErrWouldBlock)
		}
		s.mu.Lock()
		before := s.writable
		s.mu.Unlock()
		for i := range taken {
			if _, p, err := ws.ReadMessage(); err != nil || string(p[:8]) != fmt.Sprintf("%08d", i) {
				t.Fatalf("message %d: got %.8q, %v", i, p, err)
			}
		}
		s.wait("Writable", func() bool { return s.writable == before+1 })
		sent := make(chan error, 1)
		go func() { sent <- s.send(s.prepare(message{hub.TextFrame, "after"})) }()
		if _, p, err := ws.ReadMessage(); err != nil || string(p) != "after" {
			t.Errorf("got %q, %v, want what was sent after Writable", p, err)
		}
		b.must("send", <-sent)
	})
}

func (s *side) changedSince(writable int) <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.writable > writable {
		c := make(chan struct{})
		close(c)
		return c
	}
	return s.changed
}

func TestAPauseHoldsMessagesBack(t *testing.T) {
	everyNetwork(t, func(t *testing.T, n network) {
		b := newBed(t, n)
		b.hook = func(m message) bool { return m.payload != "stop" }
		ws, s := b.gorilla(websocket.Dialer{})
		for _, text := range []string{"a", "stop", "b", "stop"} {
			b.must("WriteMessage", ws.WriteMessage(websocket.TextMessage, []byte(text)))
		}
		s.wait("the pause", func() bool { return len(s.got) == 2 })
		s.Resume()
		s.wait("the second pause", func() bool { return len(s.got) == 4 })
		// A paused connection can be closed, with its handshake.
		done := make(chan error, 1)
		go func() { done <- s.Close(wire.CloseGoingAway, "") }()
		if _, _, err := ws.ReadMessage(); !websocket.IsCloseError(err, 1001) {
			t.Errorf("client: got %v, want close 1001", err)
		}
		if err := <-done; err != nil {
			t.Errorf("Close: got %v, want nil", err)
		}
	})
}

// opaque is a writer of middleware's that shows nothing but Unwrap.
type opaque struct{ w http.ResponseWriter }

func (o opaque) Header() http.Header         { return o.w.Header() }
func (o opaque) Write(p []byte) (int, error) { return o.w.Write(p) }
func (o opaque) WriteHeader(status int)      { o.w.WriteHeader(status) }
func (o opaque) Unwrap() http.ResponseWriter { return o.w }

func TestHeadersOfMiddlewareAreInTheAnswer(t *testing.T) {
	b := newBed(t, networkOf("tcp"))
	b.wrap = func(w http.ResponseWriter) http.ResponseWriter {
		w.Header().Set("X-Trace", "abc")
		w.Header().Set("Content-Length", "7") // nonsense with an upgrade
		return opaque{opaque{w}}
	}
	d := websocket.Dialer{NetDial: func(string, string) (net.Conn, error) { return b.dial() }}
	ws, resp, err := d.Dial("ws://test/", nil)
	b.must("Dial", err)
	defer ws.Close()
	if got := resp.Header.Get("X-Trace"); got != "abc" {
		t.Errorf("X-Trace: got %q, want %q", got, "abc")
	}
	if got := resp.Header.Get("Content-Length"); got != "" {
		t.Errorf("Content-Length: got %q, want none", got)
	}
}

func TestCompressionIsUsedByThoseWhoNegotiateIt(t *testing.T) {
	n := networkOf("deflate")
	b := newBed(t, n)
	ms := []message{{hub.TextFrame, strings.Repeat("compressible ", 100)}}
	frames := b.tr.Prepare(ms[0].t, []byte(ms[0].payload))
	if got, want := frames.Size(), len(ms[0].payload)+4; got != want {
		t.Errorf("Size: got %d, want %d, the uncompressed frame", got, want)
	}
	plain, s1 := b.gorilla(websocket.Dialer{})
	squeezed, s2 := b.gorilla(websocket.Dialer{EnableCompression: true})
	shared := s1.prepare(ms...)
	for _, c := range []struct {
		ws *websocket.Conn
		s  *side
	}{{plain, s1}, {squeezed, s2}} {
		b.must("send", c.s.send(shared))
		if _, p, err := c.ws.ReadMessage(); err != nil || string(p) != ms[0].payload {
			t.Errorf("got %d bytes, %v, want %d", len(p), err, len(ms[0].payload))
		}
	}
}
