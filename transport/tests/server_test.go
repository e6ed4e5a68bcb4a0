package tests

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"forge.lthn.ai/core/go-ws/hub"
	"forge.lthn.ai/core/go-ws/hub/hubtest"
	"forge.lthn.ai/core/go-ws/transport"
)

// patience bounds what must happen.
const patience = time.Minute

// network is a way from client to server.
type network struct {
	name   string
	listen func(t testing.TB) (net.Listener, func() (net.Conn, error))
	tls    bool
	config transport.Config
}

// networkOf gives one of networks.
func networkOf(name string) network {
	i := slices.IndexFunc(networks, func(n network) bool { return n.name == name })
	return networks[i]
}

// networks are all the ways that a connection of ours can take.
var networks = []network{
	{name: "tcp", listen: listenOn("tcp", "127.0.0.1:0")},
	{name: "tight tcp", listen: listenTight},
	{name: "tcp6", listen: listenOn("tcp", "[::1]:0")},
	{name: "unix", listen: listenOn("unix", "")},
	{name: "tls", listen: listenOn("tcp", "127.0.0.1:0"), tls: true},
	{name: "pipe", listen: listenPipe},
	{name: "deflate", listen: listenOn("tcp", "127.0.0.1:0"), config: transport.Config{Compression: true, CompressionThreshold: 1}},
	{name: "deflate over tls", listen: listenOn("tcp", "127.0.0.1:0"), tls: true, config: transport.Config{Compression: true}},
}

func listenOn(kind, address string) func(testing.TB) (net.Listener, func() (net.Conn, error)) {
	return func(t testing.TB) (net.Listener, func() (net.Conn, error)) {
		at := address
		if kind == "unix" {
			at = filepath.Join(t.TempDir(), "s")
		}
		l, err := net.Listen(kind, at)
		if err != nil {
			t.Fatalf("Listen: %v", err)
		}
		return l, func() (net.Conn, error) { return net.Dial(kind, l.Addr().String()) }
	}
}

// tightListener accepts sockets that hold little, so that they are soon full.
type tightListener struct{ net.Listener }

func (l tightListener) Accept() (net.Conn, error) {
	nc, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return nc, nc.(*net.TCPConn).SetWriteBuffer(4096)
}

func listenTight(t testing.TB) (net.Listener, func() (net.Conn, error)) {
	l, dial := listenOn("tcp", "127.0.0.1:0")(t)
	return tightListener{l}, dial
}

// pipeListener accepts the ends of net.Pipe.
type pipeListener struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func listenPipe(testing.TB) (net.Listener, func() (net.Conn, error)) {
	l := &pipeListener{conns: make(chan net.Conn), done: make(chan struct{})}
	return l, l.dial
}

func (l *pipeListener) dial() (net.Conn, error) {
	here, there := net.Pipe()
	select {
	case l.conns <- there:
		return newBuffered(here), nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

// buffered lets a client write what nobody reads yet, as a socket does and a
// net.Pipe does not.
type buffered struct {
	net.Conn
	wake   chan struct{}
	pumped sync.WaitGroup

	mu     sync.Mutex
	waits  []byte
	closed bool
}

func newBuffered(nc net.Conn) *buffered {
	b := &buffered{Conn: nc, wake: make(chan struct{}, 1)}
	b.pumped.Go(b.pump)
	return b
}

func (b *buffered) pump() {
	for range b.wake {
		b.mu.Lock()
		p := b.waits
		b.waits = nil
		b.mu.Unlock()
		if _, err := b.Conn.Write(p); err != nil {
			_ = b.Conn.Close()
		}
	}
}

func (b *buffered) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return 0, net.ErrClosed
	}
	b.waits = append(b.waits, p...)
	select {
	case b.wake <- struct{}{}:
	default:
	}
	return len(p), nil
}

func (b *buffered) Close() error {
	b.mu.Lock()
	if !b.closed {
		b.closed = true
		close(b.wake)
	}
	b.mu.Unlock()
	err := b.Conn.Close()
	b.pumped.Wait()
	return err
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error   { l.once.Do(func() { close(l.done) }); return nil }
func (l *pipeListener) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "pipe"} }

// serve runs an HTTP server until the test ends.
func (n network) serve(t testing.TB, handler http.Handler) func() (net.Conn, error) {
	l, dial := n.listen(t)
	server := &httptest.Server{Listener: l, Config: &http.Server{Handler: handler}}
	if !n.tls {
		server.Start()
		t.Cleanup(server.Close)
		return dial
	}
	server.StartTLS()
	t.Cleanup(server.Close)
	return func() (net.Conn, error) {
		nc, err := dial()
		if err != nil {
			return nil, err
		}
		return tls.Client(nc, clientTLS(server)), nil
	}
}

func clientTLS(server *httptest.Server) *tls.Config {
	c := server.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
	c.ServerName = "example.com" // whom httptest's certificate is for
	return c
}

func newTransport(t testing.TB, config transport.Config) *transport.Transport {
	tr, err := transport.New(config)
	if err != nil {
		t.Fatalf("New(%+v): got %v, want a transport", config, err)
	}
	return tr
}

// bed is a server with connections as a hub would have them.
type bed struct {
	testing.TB
	tr    *transport.Transport
	dial  func() (net.Conn, error)
	conns chan *side
	// Set before the first connection.
	accept hub.AcceptOptions
	hook   func(message) bool // Receive's answer
	wrap   func(http.ResponseWriter) http.ResponseWriter
}

func newBed(t testing.TB, n network) *bed {
	b := &bed{TB: t, tr: newTransport(t, n.config), conns: make(chan *side, 100)}
	b.accept = hub.AcceptOptions{ReadLimit: 1 << 20, WriteTimeout: patience}
	b.dial = n.serve(t, http.HandlerFunc(b.handle))
	return b
}

func (b *bed) handle(w http.ResponseWriter, r *http.Request) {
	if b.wrap != nil {
		w = b.wrap(w)
	}
	conn, err := b.tr.Accept(w, r, b.accept)
	if err != nil {
		return
	}
	s := &side{Conn: conn, b: b, changed: make(chan struct{})}
	b.Cleanup(func() { _ = conn.Close(0, "") })
	conn.Start(s)
	b.conns <- s
}

// connect gives both sides of a connection.
func (b *bed) connect(o hubtest.TransportDialOptions) (*client, *side) {
	b.Helper()
	nc, err := b.dial()
	if err != nil {
		b.Fatalf("dial: %v", err)
	}
	c, status, err := handshake(nc, o)
	if err != nil || c == nil {
		b.Fatalf("handshake: got status %d, error %v, want 101", status, err)
	}
	b.Cleanup(c.Cut)
	return c, b.server()
}

// server is the server's side of the connection that was made last.
func (b *bed) server() *side {
	b.Helper()
	select {
	case s := <-b.conns:
		return s
	case <-time.After(patience):
		b.Fatal("no connection came")
		return nil
	}
}

type message struct {
	t       hub.FrameType
	payload string
}

// side is the receiver of a connection; it keeps what it is told.
type side struct {
	hub.Conn
	b *bed

	mu       sync.Mutex
	changed  chan struct{} // closed and replaced with each change
	got      []message
	writable int
	closed   []error
}

func (s *side) update(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
	close(s.changed)
	s.changed = make(chan struct{})
}

// wait waits until cond, called with the lock, holds.
func (s *side) wait(what string, cond func() bool) {
	s.b.Helper()
	if err := s.await(what, cond); err != nil {
		s.b.Fatal(err)
	}
}

func (s *side) await(what string, cond func() bool) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for {
		s.mu.Lock()
		ok, changed := cond(), s.changed
		s.mu.Unlock()
		if ok {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return errors.New("waited too long for " + what)
		}
	}
}

func (s *side) Receive(t hub.FrameType, p []byte) bool {
	m := message{t, string(p)}
	s.update(func() {
		if len(s.closed) > 0 {
			s.b.Error("Receive was called after Closed")
		}
		s.got = append(s.got, m)
	})
	return s.b.hook == nil || s.b.hook(m)
}

func (s *side) Writable() {
	s.update(func() {
		if len(s.closed) > 0 {
			s.b.Error("Writable was called after Closed")
		}
		s.writable++
	})
}

func (s *side) Closed(err error) { s.update(func() { s.closed = append(s.closed, err) }) }

// end waits for Closed.
func (s *side) end() error {
	s.b.Helper()
	s.wait("Closed", func() bool { return len(s.closed) > 0 })
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.closed) != 1 {
		s.b.Errorf("got %d calls of Closed, want 1", len(s.closed))
	}
	return s.closed[0]
}

// endsWith checks how the connection ended.
func (s *side) endsWith(want hub.CloseError) {
	s.b.Helper()
	err := s.end()
	var got *hub.CloseError
	if !errors.As(err, &got) || got.Code != want.Code || got.Remote != want.Remote || want.Reason != "" && got.Reason != want.Reason {
		s.b.Errorf("Closed: got %v, want %+v", err, want)
	}
}

func (s *side) prepare(ms ...message) []hub.Frame {
	fs := make([]hub.Frame, 0, len(ms))
	for _, m := range ms {
		fs = append(fs, s.b.tr.Prepare(m.t, []byte(m.payload)))
	}
	return fs
}

// send sends all, waiting for Writable where that must be.
func (s *side) send(frames []hub.Frame) error {
	for {
		s.mu.Lock()
		before := s.writable
		s.mu.Unlock()
		n, err := s.Send(frames)
		if frames = frames[n:]; err == nil || !errors.Is(err, hub.ErrWouldBlock) {
			return err
		}
		over := false
		if err := s.await("Writable", func() bool { over = len(s.closed) > 0; return s.writable > before || over }); err != nil {
			return err
		}
		if over {
			return net.ErrClosed
		}
		if len(frames) == 0 {
			return nil
		}
	}
}
