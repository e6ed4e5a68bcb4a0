package clienttest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"nhooyr.io/websocket"

	"forge.lthn.ai/core/go-ws/hub/wire"
)

// Config says how a server behaves. The zero value is a hub that lets everybody
// do everything.
type Config struct {
	// Answer, where set, is asked first what to answer a client's frame with. Where
	// it reports false the server answers as a hub does. It is called by one
	// goroutine for each connection.
	Answer func(c *Conn, f wire.Frame) (answers []wire.Frame, ok bool)
}

// Attempt is one client's attempt to connect.
type Attempt struct {
	// At is when it came, by time.Now.
	At time.Time
	// URI is the path and query.
	URI string
	// Header of the request.
	Header http.Header
	// Status that it was answered with; zero: it failed, or has no answer yet.
	Status int
}

// Server is the server of a test. All methods may be called concurrently.
type Server struct {
	cfg  Config
	wait sync.WaitGroup

	mu       sync.Mutex
	door     door
	attempts []Attempt
	conns    map[*Conn]struct{}
	accepted []*Conn       // that Accepted has not returned yet
	writes   int           // of clients
	changed  chan struct{} // closed at the next change
	closed   bool
}

// door is what happens to those who come.
type door struct {
	status int // zero: they are let in
	header http.Header
	body   string
	err    error
	hang   bool
}

// NewServer makes a server that accepts whoever comes. Close ends it.
func NewServer(cfg Config) *Server {
	return &Server{cfg: cfg, conns: make(map[*Conn]struct{}), changed: make(chan struct{})}
}

// URL is what a client is to connect to.
func (s *Server) URL() string { return "ws://clienttest.invalid/ws" }

// HTTPClient is what a client is to connect with. It reaches this server, whatever
// the URL.
func (s *Server) HTTPClient() *http.Client { return &http.Client{Transport: roundTripper{s}} }

// Refuse answers those who come from now on with an HTTP status, until Admit.
func (s *Server) Refuse(status int, header http.Header) {
	s.change(func() { s.door = door{status: status, header: header.Clone(), body: http.StatusText(status) + "\n"} })
}

// Fail makes attempts fail from now on, as if no server were there, until Admit.
func (s *Server) Fail(err error) { s.change(func() { s.door = door{err: err} }) }

// Hang leaves attempts without an answer from now on, until Admit, which lets
// those in that still wait.
func (s *Server) Hang() { s.change(func() { s.door = door{hang: true} }) }

// Admit lets in whoever comes from now on.
func (s *Server) Admit() { s.change(func() { s.door = door{} }) }

// Attempts returns all attempts so far.
func (s *Server) Attempts() []Attempt {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Attempt(nil), s.attempts...)
}

// Writes is how many writes clients have made on their connections so far, each of
// which would have been a system call.
func (s *Server) Writes() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.writes
}

// Accepted returns the connections in the order in which they were made, each
// once. It waits for the next one.
func (s *Server) Accepted(ctx context.Context) (*Conn, error) {
	var c *Conn
	err := s.await(ctx, "a connection", func() bool {
		if len(s.accepted) == 0 {
			return false
		}
		c, s.accepted = s.accepted[0], s.accepted[1:]
		return true
	})
	return c, err
}

// Subscribed waits until a connection is on a channel.
func (s *Server) Subscribed(ctx context.Context, channel string) error {
	return s.await(ctx, "a subscription to "+channel, func() bool {
		for c := range s.conns {
			if c.channels[channel] {
				return true
			}
		}
		return false
	})
}

// Publish sends a frame to every connection that is on its channel, or to all
// where it has none. Where the frame has no timestamp it gets one. It returns
// when all of them are written.
func (s *Server) Publish(ctx context.Context, f wire.Frame) error {
	s.mu.Lock()
	var to []*Conn
	for c := range s.conns {
		if f.Channel == "" || c.channels[f.Channel] {
			to = append(to, c)
		}
	}
	s.mu.Unlock()
	var failed error
	for _, c := range to {
		failed = errors.Join(failed, c.Send(ctx, f))
	}
	return failed
}

var errClosed = errors.New("clienttest: the server is closed")

// Close cuts all connections, makes attempts fail, and waits until nothing of the
// server runs any more.
func (s *Server) Close() {
	s.Fail(errClosed)
	s.change(func() { s.closed = true })
	s.mu.Lock()
	for c := range s.conns {
		c.end.cut()
	}
	s.mu.Unlock()
	s.wait.Wait()
}

func (s *Server) change(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
	s.changedLocked()
}

func (s *Server) changedLocked() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// await waits until ok, which is called with the lock, reports true.
func (s *Server) await(ctx context.Context, what string, ok func() bool) error {
	for {
		s.mu.Lock()
		done, changed := ok(), s.changed
		s.mu.Unlock()
		if done {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("clienttest: waiting for %s: %w", what, ctx.Err())
		}
	}
}

// roundTripper is the way to a server.
type roundTripper struct{ s *Server }

func (t roundTripper) RoundTrip(r *http.Request) (*http.Response, error) {
	s, number := t.s, 0
	s.change(func() {
		number = len(s.attempts)
		s.attempts = append(s.attempts, Attempt{At: time.Now(), URI: r.URL.RequestURI(), Header: r.Header.Clone()})
	})
	var d door
	if err := s.await(r.Context(), "an answer", func() bool { d = s.door; return !d.hang }); err != nil {
		return nil, err
	}
	if d.err != nil {
		return nil, d.err
	}
	resp := &http.Response{
		StatusCode: d.status, Status: http.StatusText(d.status), Request: r,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: d.header, Body: io.NopCloser(strings.NewReader(d.body)),
	}
	if resp.Header == nil {
		resp.Header = make(http.Header)
	}
	if d.status == 0 {
		if err := s.upgrade(r, resp); err != nil {
			return nil, err
		}
	}
	s.change(func() { s.attempts[number].Status = resp.StatusCode })
	return resp, nil
}

// upgrade makes a connection, and the answer to the request.
func (s *Server) upgrade(r *http.Request, resp *http.Response) error {
	near, far := newPipe()
	w := &hijacker{header: resp.Header, conn: far}
	ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{"go-ws.v1.json"}})
	if err != nil {
		return fmt.Errorf("clienttest: %w", err)
	}
	ws.SetReadLimit(-1)
	c := newConn(s, ws, far)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed { // meanwhile: Close has cut the others, and waits for no more
		c.end.cut()
		_ = ws.CloseNow()
		return errClosed
	}
	s.conns[c] = struct{}{}
	s.accepted = append(s.accepted, c)
	s.wait.Go(c.run)
	s.changedLocked()
	resp.StatusCode, resp.Status, resp.Body = http.StatusSwitchingProtocols, "101 Switching Protocols", &counted{near, s}
	return nil
}

// hijacker is the ResponseWriter of an upgrade.
type hijacker struct {
	header http.Header
	conn   net.Conn
}

func (h *hijacker) Header() http.Header         { return h.header }
func (h *hijacker) WriteHeader(int)             {}
func (h *hijacker) Write(p []byte) (int, error) { return len(p), nil }
func (h *hijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return h.conn, bufio.NewReadWriter(bufio.NewReader(h.conn), bufio.NewWriter(h.conn)), nil
}

// counted is the client's side of a connection.
type counted struct {
	*end
	s *Server
}

func (c *counted) Write(p []byte) (int, error) {
	c.s.mu.Lock()
	c.s.writes++
	c.s.mu.Unlock()
	return c.end.Write(p)
}
