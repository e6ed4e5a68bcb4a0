package hubtest_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"forge.lthn.ai/core/go-ws/hub"
	"forge.lthn.ai/core/go-ws/hub/hubtest"
	"forge.lthn.ai/core/go-ws/hub/wire"
)

// sink is a receiver that records.
type sink struct {
	mu       sync.Mutex
	got      []string
	more     bool
	writable int
	closed   []error
}

func (s *sink) Receive(_ hub.FrameType, payload []byte) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.got = append(s.got, string(payload))
	return s.more
}

func (s *sink) Writable() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writable++
}

func (s *sink) Closed(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = append(s.closed, err)
}

func (s *sink) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return fmt.Sprintf("%q writable %d closed %d", s.got, s.writable, len(s.closed))
}

// dial connects and starts a sink.
func dial(t testing.TB, tr *hubtest.Transport) (*hubtest.Peer, hub.Conn, *sink) {
	t.Helper()
	s := &sink{more: true}
	var conn hub.Conn
	peer, resp := tr.Dial(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := tr.Accept(w, r, hub.AcceptOptions{ReadLimit: 1000, WriteTimeout: 10 * time.Second})
		if err != nil {
			return
		}
		conn = c
		c.Start(s)
	}), httptest.NewRequest("GET", "/ws", nil))
	if peer == nil {
		t.Fatalf("got status %d, want a connection", resp.Status)
	}
	return peer, conn, s
}

func TestFakeDialReturnsTheAnswerOfARefusal(t *testing.T) {
	tr := hubtest.NewTransport()
	peer, resp := tr.Dial(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Retry-After", "1")
		http.Error(w, "not now", http.StatusServiceUnavailable)
	}), httptest.NewRequest("GET", "/ws", nil))
	if peer != nil || resp.Status != 503 || resp.Header.Get("Retry-After") != "1" || string(resp.Body) != "not now\n" {
		t.Errorf("got %v, %+v, want a 503 with its header and body", peer, resp)
	}
}

func TestFakeAcceptFails(t *testing.T) {
	tr := hubtest.NewTransport()
	accept := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := tr.Accept(w, r, hub.AcceptOptions{}); err == nil {
			t.Errorf("got no error for %s %v", r.Method, r.Header)
		}
	})
	plain := httptest.NewRequest("GET", "/ws", nil)
	plain.Header.Set("Upgrade", "h2c")
	for want, r := range map[int]*http.Request{
		http.StatusMethodNotAllowed: httptest.NewRequest("POST", "/ws", nil),
		http.StatusUpgradeRequired:  plain,
	} {
		if peer, resp := tr.Dial(accept, r); peer != nil || resp.Status != want {
			t.Errorf("got %v, status %d, want status %d", peer, resp.Status, want)
		}
	}
	tr.FailAccept(errors.New("no"))
	if peer, resp := tr.Dial(accept, httptest.NewRequest("GET", "/ws", nil)); peer != nil || resp.Status != 500 {
		t.Errorf("got %v, status %d, want status 500", peer, resp.Status)
	}
	rec := httptest.NewRecorder()
	r := httptest.NewRequest("GET", "/ws", nil)
	r.Header.Set("Upgrade", "websocket")
	tr.FailAccept(nil)
	if accept(rec, r); rec.Code != http.StatusNotImplemented {
		t.Errorf("outside Dial: got status %d, want 501", rec.Code)
	}
}

func TestFakeCountsBatches(t *testing.T) {
	tr := hubtest.NewTransport()
	peer, conn, _ := dial(t, tr)
	defer conn.Close(0, "")
	f := tr.Prepare(hub.TextFrame, []byte("hello"))
	for range 2 {
		if n, err := conn.Send([]hub.Frame{f, f, f}); n != 3 || err != nil {
			t.Fatalf("got %d, %v, want 3, nil", n, err)
		}
	}
	if got := peer.Stats(); got.Batches != 2 || got.Frames != 6 || got.Bytes != 42 {
		t.Errorf("got %+v, want 2 batches of 6 frames and 42 bytes", got)
	}
	if ft, payload, err := peer.Receive(t.Context()); ft != hub.TextFrame || string(payload) != "hello" || err != nil {
		t.Errorf("got %v, %q, %v", ft, payload, err)
	}
	if err := tr.WaitFrames(t.Context(), 6); err != nil {
		t.Errorf("got %v, want the six frames counted", err)
	}
}

func TestFakeStalledPeerBlocksThenWritableOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := &hubtest.Transport{Window: 30}
		peer, conn, s := dial(t, tr)
		f := tr.Prepare(hub.BinaryFrame, bytes.Repeat([]byte{1}, 20))
		peer.Stall()
		if n, err := conn.Send([]hub.Frame{f, f, f}); n != 2 || err != hub.ErrWouldBlock {
			t.Errorf("got %d, %v, want 2 taken", n, err)
		}
		if n, err := conn.Send([]hub.Frame{f}); n != 0 || err != hub.ErrWouldBlock {
			t.Errorf("got %d, %v, want none taken", n, err)
		}
		if _, _, ok := peer.TryReceive(); ok {
			t.Error("a stalled peer received")
		}
		peer.Unstall()
		synctest.Wait()
		if got, want := s.String(), `[] writable 1 closed 0`; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		if got := peer.Stats(); got.Frames != 2 || got.Blocked != 2 {
			t.Errorf("got %+v, want 2 frames", got)
		}
		conn.Close(0, "")
		if _, _, err := peer.Receive(t.Context()); err != nil {
			t.Errorf("got %v, want what was read before the cut", err)
		}
	})
}

func TestFakeClosingHandshakeGivesUpOnAStalledPeer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := hubtest.NewTransport()
		peer, conn, s := dial(t, tr)
		peer.Stall()
		began := time.Now()
		if err := conn.Close(wire.CloseNormal, "bye"); err == nil || time.Since(began) != 10*time.Second {
			t.Errorf("got %v after %v, want an error after the write timeout", err, time.Since(began))
		}
		if got, want := s.String(), `[] writable 0 closed 1`; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	})
}

func TestFakeSilentPeerAnswersNoPing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		peer, conn, _ := dial(t, hubtest.NewTransport())
		defer conn.Close(0, "")
		began := time.Now()
		time.Sleep(time.Second) // the bubble's clock
		conn.Ping()
		if got := conn.LastRead().Sub(began); got != time.Second {
			t.Errorf("got a last read after %v, want 1s", got)
		}
		peer.SetSilent(true)
		time.Sleep(time.Second)
		conn.Ping()
		if got := conn.LastRead().Sub(began); got != time.Second {
			t.Errorf("silent: got a last read after %v, want 1s", got)
		}
		if got := peer.Stats().Pings; got != 2 {
			t.Errorf("got %d pings, want 2", got)
		}
	})
}

func TestFakeCutReachesAPausedConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		peer, conn, s := dial(t, hubtest.NewTransport())
		s.more = false
		peer.SendText("a")
		peer.SendText("b")
		synctest.Wait()
		if got := peer.Unread(); got != 1 {
			t.Errorf("got %d unread, want 1", got)
		}
		peer.Cut()
		<-peer.Done()
		if got, want := s.String(), `["a"] writable 0 closed 1`; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		var ce *hub.CloseError
		if _, _, err := peer.Receive(t.Context()); !errors.As(err, &ce) || ce.Code != wire.CloseAbnormal {
			t.Errorf("got %v, want code 1006", err)
		}
		if err := conn.Close(wire.CloseNormal, ""); err != nil {
			t.Errorf("got %v, want nil", err)
		}
	})
}

// keeper keeps the payload, which it must not.
type keeper struct {
	sink
	kept []byte
}

func (k *keeper) Receive(_ hub.FrameType, payload []byte) bool {
	k.kept = payload
	return true
}

func TestFakePayloadsAreNobodysToKeep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := hubtest.NewTransport()
		k := &keeper{}
		var conn hub.Conn
		peer, _ := tr.Dial(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			conn, _ = tr.Accept(w, r, hub.AcceptOptions{ReadLimit: 10, WriteTimeout: time.Second})
		}), httptest.NewRequest("GET", "/ws", nil))
		mine := []byte("mine")
		peer.Send(hub.TextFrame, mine)
		conn.Start(k)
		synctest.Wait()
		if got := string(k.kept); got != "!!!!" {
			t.Errorf("the receiver's payload after Receive: got %q, want it overwritten", got)
		}
		if got := string(mine); got != "mine" {
			t.Errorf("the sender's payload: got %q, want it untouched", got)
		}
		conn.Close(0, "")
	})
}

func TestFakeContextEndsWithTheHandler(t *testing.T) {
	tr := hubtest.NewTransport()
	var ctx context.Context
	tr.Dial(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { ctx = r.Context() }),
		httptest.NewRequest("GET", "/ws", nil))
	if ctx.Err() == nil {
		t.Error("the request's context outlived the handler")
	}
}

func BenchmarkFakeSendTo1000(b *testing.B) {
	tr := &hubtest.Transport{Discard: true}
	var conns []hub.Conn
	for range 1000 {
		_, c, _ := dial(b, tr)
		conns = append(conns, c)
	}
	batch := []hub.Frame{tr.Prepare(hub.TextFrame, []byte("hello"))}
	b.ReportAllocs()
	for b.Loop() {
		for _, c := range conns {
			c.Send(batch)
		}
	}
}
