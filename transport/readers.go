package transport

import (
	"bufio"
	"net"
	"net/http"
	"sync"

	"nhooyr.io/websocket"

	"forge.lthn.ai/core/go-ws/hub"
)

// reader is a connection of the library's, and a goroutine that is in it. It
// reads for one of our connections at a time, and only while there is something
// to read: with its second goroutine, its channels and its buffers it is more
// than all else that an idle connection keeps. Between two messages it remembers
// nothing, so that it may go from one connection to another.
type reader struct {
	net.Conn // nil: the library calls none but the three methods below

	ws   *websocket.Conn
	in   *libraryConn // whose bytes it reads, nil while it is spare
	work chan hub.Receiver
	done chan outcome // closed where the library has left its goroutine
}

// outcome says how far a reader came: over is false where the connection goes on.
type outcome struct {
	over bool
	v    verdict
}

// run reads for one connection after the other. Its stack has grown to what the
// library needs, so that a connection's own stays small.
func (r *reader) run() {
	defer close(r.done)
	for receiver := range r.work {
		r.done <- r.in.c.readSome(receiver)
	}
}

// Read implements net.Conn.
func (r *reader) Read(p []byte) (int, error) { return r.in.read(p) }

// Write implements net.Conn.
func (r *reader) Write(p []byte) (int, error) { return r.in.write(p) }

// Close implements net.Conn.
func (r *reader) Close() error {
	if r.in != nil {
		r.in.close()
	}
	return nil
}

const (
	// readBuffer is the least that a bufio.Reader has. Payloads pass it by.
	readBuffer = 16
	// controlBuffer holds any control frame of a server's, so that the library
	// writes each with one call.
	controlBuffer = 128
)

// newReader makes a spare one. The library makes connections only of upgrade
// requests, so it gets one.
func newReader(deflate bool) *reader {
	request := &http.Request{Method: http.MethodGet, ProtoMajor: 1, ProtoMinor: 1, Header: http.Header{
		"Connection":            {"Upgrade"},
		"Upgrade":               {"websocket"},
		"Sec-Websocket-Version": {"13"},
		"Sec-Websocket-Key":     {"AAAAAAAAAAAAAAAAAAAAAA=="},
	}}
	options := &websocket.AcceptOptions{CompressionMode: websocket.CompressionDisabled}
	if deflate {
		request.Header.Set("Sec-WebSocket-Extensions", "permessage-deflate")
		options.CompressionMode = websocket.CompressionNoContextTakeover
	}
	r := &reader{work: make(chan hub.Receiver), done: make(chan outcome)}
	ws, err := websocket.Accept(&fitting{r, http.Header{}}, request, options)
	if err != nil {
		panic("transport: the library refuses what it should take: " + err.Error())
	}
	r.ws = ws
	go r.run()
	return r
}

// fitting is the http.ResponseWriter of newReader's request.
type fitting struct {
	r      *reader
	header http.Header
}

func (f *fitting) Header() http.Header         { return f.header }
func (f *fitting) WriteHeader(int)             {}
func (f *fitting) Write(p []byte) (int, error) { return len(p), nil }

// Hijack implements http.Hijacker.
func (f *fitting) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return f.r, bufio.NewReadWriter(bufio.NewReaderSize(f.r, readBuffer), bufio.NewWriterSize(f.r, controlBuffer)), nil
}

// discard ends its goroutines, and waits for them.
func (r *reader) discard() {
	close(r.work)
	for range r.done {
	}
	_ = r.ws.CloseNow()
}

// maxSpare is how many readers of a kind wait for work. Most connections need
// one for the moment only in which a message is taken apart.
const maxSpare = 32

// readers are those of a Transport. While it has connections some wait here;
// the last connection takes them with it.
type readers struct {
	mu    sync.Mutex
	conns int
	spare [2][]*reader // without and with deflate
}

func kind(deflate bool) int {
	if deflate {
		return 1
	}
	return 0
}

// enter counts a connection.
func (p *readers) enter() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.conns++
}

// leave says that a connection is over, and reports whether it was the last.
func (p *readers) leave() (none bool) {
	p.mu.Lock()
	var last [2][]*reader
	p.conns--
	none = p.conns == 0
	if none {
		last, p.spare = p.spare, last
	}
	p.mu.Unlock()
	for _, spare := range last {
		for _, r := range spare {
			r.discard()
		}
	}
	return none
}

// borrow gives the connection a reader.
func (p *readers) borrow(c *conn) {
	p.mu.Lock()
	spare := &p.spare[kind(c.out.deflate)]
	if last := len(*spare) - 1; last >= 0 {
		c.reader = (*spare)[last]
		*spare = (*spare)[:last]
	}
	p.mu.Unlock()
	if c.reader == nil {
		c.reader = newReader(c.out.deflate)
	}
	c.reader.in = &c.in
	c.reader.ws.SetReadLimit(min(c.limit, maxReadLimit))
}

// maxReadLimit keeps the library from counting past the largest number.
const maxReadLimit = 1 << 62

// giveBack takes the connection's reader, which stands between two messages.
func (p *readers) giveBack(c *conn) {
	r := c.reader
	c.reader, r.in = nil, nil
	p.mu.Lock()
	spare := &p.spare[kind(c.out.deflate)]
	// One that has inflated may hold what came behind the end of the
	// compressed stream.
	keep := !c.in.scan.deflated && len(*spare) < maxSpare
	c.in.scan.deflated = false
	if keep {
		*spare = append(*spare, r)
	}
	p.mu.Unlock()
	if !keep {
		r.discard()
	}
}
