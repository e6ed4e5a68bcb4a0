package transport

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"strings"
	"time"

	"nhooyr.io/websocket"

	"forge.lthn.ai/core/go-ws/hub"
)

// Accept implements hub.Transport. It takes HTTP/1.1 requests on writers that
// http.ResponseController can hijack, and answers the others with an error:
// 505 for HTTP/2, 426 for a request that is no upgrade, 400, 405 or 500. It
// does not look at the request's origin.
func (t *Transport) Accept(w http.ResponseWriter, r *http.Request, o hub.AcceptOptions) (hub.Conn, error) {
	if status, err := refuse(r, o); err != nil {
		http.Error(w, err.Error(), status)
		return nil, fmt.Errorf("transport: accept: %w", err)
	}
	c := newConn(t, o)
	h := &hijacker{w: w, header: w.Header().Clone(), conn: c}
	mode := websocket.CompressionDisabled
	if t.compression {
		mode = websocket.CompressionNoContextTakeover
	}
	ws, err := websocket.Accept(h, r, &websocket.AcceptOptions{
		Subprotocols:       o.Subprotocols,
		InsecureSkipVerify: true, // the hub has checked the origin
		CompressionMode:    mode,
	})
	if err != nil {
		if h.err != nil { // the library says only that hijacking failed
			err = h.err
		}
		return nil, fmt.Errorf("transport: accept: %w", err)
	}
	c.ws = ws
	c.subprotocol = spelling(o.Subprotocols, ws.Subprotocol())
	if c.out.deflate {
		t.deflating.Add(1)
	}
	ws.SetReadLimit(min(o.ReadLimit, maxReadLimit))
	return c, nil
}

// maxReadLimit keeps the library from counting past the largest number.
const maxReadLimit = 1 << 62

// refuse checks what the library does not.
func refuse(r *http.Request, o hub.AcceptOptions) (status int, err error) {
	switch {
	case o.ReadLimit <= 0:
		return http.StatusInternalServerError, errors.New("AcceptOptions.ReadLimit is not positive")
	case o.WriteTimeout <= 0:
		return http.StatusInternalServerError, errors.New("AcceptOptions.WriteTimeout is not positive")
	case r.ProtoMajor != 1:
		return http.StatusHTTPVersionNotSupported, fmt.Errorf("WebSocket needs an HTTP/1.1 upgrade, not %s", r.Proto)
	case r.ContentLength != 0 || len(r.TransferEncoding) > 0:
		// Its bytes would be taken for frames.
		return http.StatusBadRequest, errors.New("an upgrade request has no body")
	}
	return 0, nil
}

// spelling gives a subprotocol as the hub writes it; the library compares
// without regard to case and hands back the client's.
func spelling(offered []string, negotiated string) string {
	for _, p := range offered {
		if strings.EqualFold(p, negotiated) {
			return p
		}
	}
	return negotiated
}

// hijacker is the http.ResponseWriter that the library gets. It unwraps what
// middleware has wrapped, writes the upgrade's answer by itself, so that the
// write is bounded and its failure noticed, and hands out a connection that
// only reads for the library.
type hijacker struct {
	w      http.ResponseWriter
	header http.Header
	conn   *conn
	err    error // why hijacking failed, after the request was answered
}

func (h *hijacker) Header() http.Header { return h.header }

func (h *hijacker) WriteHeader(status int) {
	if status == http.StatusSwitchingProtocols || h.err != nil {
		return
	}
	maps.Copy(h.w.Header(), h.header)
	h.w.WriteHeader(status)
}

func (h *hijacker) Write(p []byte) (int, error) {
	if h.err != nil {
		return len(p), nil
	}
	return h.w.Write(p)
}

// Hijack implements http.Hijacker.
func (h *hijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	nc, brw, err := http.NewResponseController(h.w).Hijack()
	if err != nil {
		h.err = fmt.Errorf("the connection can't be upgraded: %w", err)
		http.Error(h.w, h.err.Error(), http.StatusInternalServerError)
		return nil, nil, h.err
	}
	c := h.conn
	c.out.deflate = h.header.Get("Sec-WebSocket-Extensions") != ""
	if err := h.answer(nc); err != nil {
		h.err = fmt.Errorf("answer: %w", err)
		hardClose(nc)
		return nil, nil, h.err
	}
	// net/http's own buffers are 4 KiB each: they go, with what they hold kept.
	early, _ := brw.Reader.Peek(brw.Reader.Buffered())
	c.adopt(nc, bytes.Clone(early))
	return &c.in, bufio.NewReadWriter(bufio.NewReaderSize(&c.in, readBuffer), bufio.NewWriterSize(&c.in, controlBuffer)), nil
}

const (
	// readBuffer is what an idle connection keeps for reading. Payloads longer
	// than that are read past it.
	readBuffer = 256
	// controlBuffer holds any control frame of a server's, so that the library
	// writes each with one call.
	controlBuffer = 128
)

func (h *hijacker) answer(nc net.Conn) error {
	// Deadlines that the server had for the request would end the connection.
	if err := nc.SetDeadline(time.Time{}); err != nil {
		return err
	}
	if err := nc.SetWriteDeadline(time.Now().Add(h.conn.timeout)); err != nil {
		return err
	}
	h.header.Del("Content-Length")
	h.header.Del("Transfer-Encoding")
	var b bytes.Buffer
	b.WriteString("HTTP/1.1 101 Switching Protocols\r\n")
	_ = h.header.Write(&b) // a bytes.Buffer takes everything
	b.WriteString("\r\n")
	if _, err := nc.Write(b.Bytes()); err != nil {
		return err
	}
	return nc.SetWriteDeadline(time.Time{})
}

// hardClose closes a socket without ever waiting: a tls.Conn would first try
// to say goodbye.
func hardClose(nc net.Conn) {
	if t, ok := nc.(*tls.Conn); ok {
		nc = t.NetConn()
	}
	// There is nothing to be done about an error.
	_ = nc.Close()
}
