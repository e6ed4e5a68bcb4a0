package hubtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"forge.lthn.ai/core/go-ws/hub"
)

// Transport is a hub.Transport without sockets, for tests and benchmarks of
// what runs on top of one. Connections are made by Dial, which plays the HTTP
// server and hands back the client's side.
//
// It keeps the port's contract to the letter, and where the contract leaves
// room it takes the inconvenient side: Writable may run beside Receive, and a
// payload is overwritten once Receive has returned. Time is only read, and
// only Conn.Close waits for it, so that a hub on it can be tested in a bubble
// of testing/synctest. An idle connection has no goroutine.
//
// The zero value is ready. The fields are set before the first Dial; all
// methods may be called concurrently.
type Transport struct {
	// Window is how many bytes the network takes for a peer that has stalled,
	// before Send returns hub.ErrWouldBlock; 4,096 when zero.
	Window int
	// Discard makes peers count what they get and keep none of it, for
	// benchmarks. Control frames work as ever.
	Discard bool

	frames atomic.Int64 // taken by all connections
	target atomic.Int64 // smallest count that somebody waits for, 0 for none

	mu        sync.Mutex
	acceptErr error
	waiting   []frameWaiter
}

type frameWaiter struct {
	n    int64
	done chan struct{}
}

const defaultWindow = 4096

// NewTransport returns a Transport with the defaults.
func NewTransport() *Transport { return &Transport{} }

// Response is what a handler answered.
type Response struct {
	Status int
	Header http.Header
	Body   []byte
}

// Dial runs handler, on the calling goroutine, as an HTTP server would for r,
// and returns when the handler has. Where the handler had the request upgraded
// by this Transport, peer is the client's side and resp has status 101;
// otherwise peer is nil and resp is the HTTP answer.
//
// The handler gets a copy of r, with a WebSocket upgrade's headers unless r has
// an Upgrade header of its own, and with a context that ends when the handler
// returns, as a server's does. A panic of the handler reaches the caller.
func (t *Transport) Dial(handler http.Handler, r *http.Request) (peer *Peer, resp *Response) {
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	r = r.Clone(ctx)
	if r.Header == nil {
		r.Header = http.Header{}
	}
	if r.Header.Get("Upgrade") == "" {
		r.Header.Set("Connection", "Upgrade")
		r.Header.Set("Upgrade", "websocket")
		r.Header.Set("Sec-WebSocket-Version", "13")
		r.Header.Set("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
	}
	w := &responseWriter{header: http.Header{}}
	handler.ServeHTTP(w, r)
	if w.conn != nil {
		return &Peer{c: w.conn}, &Response{Status: http.StatusSwitchingProtocols, Header: w.sent}
	}
	w.WriteHeader(http.StatusOK)
	return nil, &Response{Status: w.status, Header: w.sent, Body: w.body.Bytes()}
}

// FailAccept makes every later Accept answer 500 and return err. With nil they
// work again.
func (t *Transport) FailAccept(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.acceptErr = err
}

// Accept upgrades a request that came through Dial, also where the writer has
// been wrapped by something with an Unwrap method. Others are answered with an
// HTTP error.
func (t *Transport) Accept(w http.ResponseWriter, r *http.Request, o hub.AcceptOptions) (hub.Conn, error) {
	t.mu.Lock()
	err := t.acceptErr
	t.mu.Unlock()
	status := http.StatusInternalServerError
	rw := unwrap(w)
	switch {
	case err != nil:
	case r.Method != http.MethodGet:
		status, err = http.StatusMethodNotAllowed, fmt.Errorf("hubtest: upgrade by method %q", r.Method)
	case !strings.EqualFold(r.Header.Get("Upgrade"), "websocket"):
		w.Header().Set("Upgrade", "websocket")
		status, err = http.StatusUpgradeRequired, errors.New("hubtest: no WebSocket upgrade")
	case rw == nil:
		status, err = http.StatusNotImplemented, errors.New("hubtest: request did not come through Transport.Dial")
	case rw.status != 0 || rw.conn != nil:
		return nil, errors.New("hubtest: already answered")
	}
	if err != nil {
		http.Error(w, http.StatusText(status), status)
		return nil, err
	}
	c := &conn{
		t:            t,
		readLimit:    o.ReadLimit,
		writeTimeout: o.WriteTimeout,
		subprotocol:  negotiate(o.Subprotocols, r.Header.Values("Sec-WebSocket-Protocol")),
		done:         make(chan struct{}),
		lastRead:     time.Now(),
	}
	h := w.Header()
	h.Set("Upgrade", "websocket")
	h.Set("Connection", "Upgrade")
	if c.subprotocol != "" {
		h.Set("Sec-WebSocket-Protocol", c.subprotocol)
	}
	rw.conn = c
	rw.sent = h.Clone()
	return c, nil
}

// Prepare copies payload.
func (t *Transport) Prepare(ft hub.FrameType, payload []byte) hub.Frame {
	return &frame{t: ft, payload: bytes.Clone(payload)}
}

// Frames is how many frames the connections have taken since the Transport
// was made.
func (t *Transport) Frames() int64 { return t.frames.Load() }

// WaitFrames waits until the connections have taken n frames in all, or ctx
// ends, and then returns its error.
func (t *Transport) WaitFrames(ctx context.Context, n int64) error {
	w := frameWaiter{n: n, done: make(chan struct{})}
	t.mu.Lock()
	t.waiting = append(t.waiting, w)
	t.wakeWaitersLocked()
	t.mu.Unlock()
	select {
	case <-w.done:
		return nil
	case <-ctx.Done():
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.waiting = slices.DeleteFunc(t.waiting, func(o frameWaiter) bool { return o.done == w.done })
	t.wakeWaitersLocked()
	return ctx.Err()
}

// took counts frames. It is called with a connection's lock held.
func (t *Transport) took(n int) {
	sum := t.frames.Add(int64(n))
	if target := t.target.Load(); target == 0 || sum < target {
		return
	}
	t.mu.Lock()
	t.wakeWaitersLocked()
	t.mu.Unlock()
}

// wakeWaitersLocked publishes the next target before it reads the count, as
// took adds to the count before it reads the target: one of the two sees the
// other.
func (t *Transport) wakeWaitersLocked() {
	for {
		next := int64(0)
		for _, w := range t.waiting {
			if next == 0 || w.n < next {
				next = max(w.n, 1)
			}
		}
		t.target.Store(next)
		sum := t.frames.Load()
		before := len(t.waiting)
		t.waiting = slices.DeleteFunc(t.waiting, func(w frameWaiter) bool {
			if sum < w.n {
				return false
			}
			close(w.done)
			return true
		})
		if len(t.waiting) == before {
			return
		}
	}
}

func (t *Transport) window() int {
	if t.Window == 0 {
		return defaultWindow
	}
	return t.Window
}

// frame is a prepared message.
type frame struct {
	t       hub.FrameType
	payload []byte
}

// Size counts a server's frame: no mask (RFC 6455, section 5.2).
func (f *frame) Size() int { return frameSize(len(f.payload)) }

func frameSize(payload int) int {
	switch {
	case payload < 126:
		return 2 + payload
	case payload < 1<<16:
		return 4 + payload
	}
	return 10 + payload
}

// negotiate picks the server's first choice among what the client offers.
func negotiate(supported, headers []string) string {
	var offered []string
	for _, h := range headers {
		for p := range strings.SplitSeq(h, ",") {
			offered = append(offered, strings.TrimSpace(p))
		}
	}
	for _, s := range supported {
		if slices.Contains(offered, s) {
			return s
		}
	}
	return ""
}

// responseWriter records an answer, or the connection that took its place.
type responseWriter struct {
	header http.Header
	status int
	sent   http.Header // header as it was when it went out
	body   bytes.Buffer
	conn   *conn
}

func (w *responseWriter) Header() http.Header { return w.header }

func (w *responseWriter) WriteHeader(status int) {
	if w.status != 0 || w.conn != nil {
		return
	}
	w.status = status
	w.sent = w.header.Clone()
}

func (w *responseWriter) Write(p []byte) (int, error) {
	if w.conn != nil {
		return 0, http.ErrHijacked
	}
	w.WriteHeader(http.StatusOK)
	return w.body.Write(p)
}

// unwrap finds Dial's writer below those that middleware put around it.
func unwrap(w http.ResponseWriter) *responseWriter {
	for {
		switch v := w.(type) {
		case *responseWriter:
			return v
		case interface{ Unwrap() http.ResponseWriter }:
			w = v.Unwrap()
		default:
			return nil
		}
	}
}
