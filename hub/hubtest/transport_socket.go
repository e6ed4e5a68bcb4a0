package hubtest

import (
	"bufio"
	"bytes"
	"compress/flate"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unicode/utf8"

	"forge.lthn.ai/core/go-ws/hub"
	"forge.lthn.ai/core/go-ws/hub/wire"
)

// serveSockets is TransportHarness.Serve for WebSockets over HTTP/1.1.
func serveSockets(t testing.TB, _ hub.Transport, handler http.Handler) TransportDialer {
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	address := server.Listener.Addr().String()
	return func(o TransportDialOptions) (TransportClient, int, error) {
		c, status, err := dialSocket(address, o)
		if c == nil {
			return nil, status, err
		}
		return c, status, nil
	}
}

// socketClient is a WebSocket client (RFC 6455) that is as strict as it can be:
// Receive fails on whatever a server must not send.
type socketClient struct {
	conn        net.Conn
	r           *bufio.Reader
	subprotocol string
	compressed  bool
	pongs       atomic.Int64

	mu     sync.Mutex // guards writing
	closed bool       // a close frame went out
}

const (
	opContinuation = 0
	opText         = 1
	opBinary       = 2
	opClose        = 8
	opPing         = 9
	opPong         = 10

	bitFin        = 0x80
	bitCompressed = 0x40
	bitMask       = 0x80
)

func dialSocket(address string, o TransportDialOptions) (c *socketClient, status int, err error) {
	conn, err := net.DialTimeout("tcp", address, time.Minute)
	if err != nil {
		return nil, 0, err
	}
	defer func() {
		if c == nil {
			conn.Close()
		}
	}()
	r, err := http.NewRequest(http.MethodGet, "http://"+address+"/", nil)
	if err != nil {
		return nil, 0, err
	}
	for name, values := range o.Header {
		r.Header[name] = values
	}
	if !o.Plain {
		var key [16]byte
		rand.Read(key[:])
		r.Header.Set("Connection", "Upgrade")
		r.Header.Set("Upgrade", "websocket")
		r.Header.Set("Sec-WebSocket-Version", "13")
		r.Header.Set("Sec-WebSocket-Key", base64.StdEncoding.EncodeToString(key[:]))
	}
	if len(o.Subprotocols) > 0 {
		r.Header.Set("Sec-WebSocket-Protocol", strings.Join(o.Subprotocols, ", "))
	}
	if o.Compress {
		r.Header.Set("Sec-WebSocket-Extensions",
			"permessage-deflate; server_no_context_takeover; client_no_context_takeover")
	}
	if err := r.Write(conn); err != nil {
		return nil, 0, err
	}
	br := bufio.NewReader(conn)
	resp, err := http.ReadResponse(br, r)
	if err != nil {
		return nil, 0, err
	}
	if resp.StatusCode != http.StatusSwitchingProtocols {
		_, err := io.Copy(io.Discard, resp.Body)
		return nil, resp.StatusCode, errors.Join(err, resp.Body.Close())
	}
	extensions := resp.Header.Get("Sec-WebSocket-Extensions")
	if extensions != "" && !(o.Compress && strings.HasPrefix(extensions, "permessage-deflate")) {
		return nil, 0, fmt.Errorf("server chose extensions that were not offered: %q", extensions)
	}
	return &socketClient{
		conn:        conn,
		r:           br,
		subprotocol: resp.Header.Get("Sec-WebSocket-Protocol"),
		compressed:  extensions != "",
	}, resp.StatusCode, nil
}

func (c *socketClient) Subprotocol() string { return c.subprotocol }
func (c *socketClient) Pongs() int          { return int(c.pongs.Load()) }
func (c *socketClient) Ping() error         { return c.write(bitFin|opPing, []byte("ping")) }

func (c *socketClient) Cut() {
	if tcp, ok := c.conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // a reset, as when the machine is gone
	}
	c.conn.Close()
}

func (c *socketClient) SendRaw(p []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, err := c.conn.Write(p)
	return err
}

// Send puts a ping between the fragments, where RFC 6455 allows it.
func (c *socketClient) Send(t hub.FrameType, parts ...[]byte) error {
	op := byte(opText)
	if t == hub.BinaryFrame {
		op = opBinary
	}
	if c.compressed && len(parts) == 1 {
		p, err := deflate(parts[0])
		if err != nil {
			return err
		}
		return c.write(bitFin|bitCompressed|op, p)
	}
	for i, p := range parts {
		if i > 0 {
			op = opContinuation
			if err := c.Ping(); err != nil {
				return err
			}
		}
		if i == len(parts)-1 {
			op |= bitFin
		}
		if err := c.write(op, p); err != nil {
			return err
		}
	}
	return nil
}

func (c *socketClient) Close(code wire.CloseCode, reason string) error {
	if code == wire.CloseNoStatus {
		return c.write(bitFin|opClose, nil)
	}
	return c.write(bitFin|opClose, append(binary.BigEndian.AppendUint16(nil, uint16(code)), reason...))
}

// write writes one frame, masked as a client's must be.
func (c *socketClient) write(head byte, payload []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return errors.New("a close frame was sent")
	}
	c.closed = head&0x0f == opClose
	f := []byte{head}
	switch n := len(payload); {
	case n < 126:
		f = append(f, bitMask|byte(n))
	case n < 1<<16:
		f = binary.BigEndian.AppendUint16(append(f, bitMask|126), uint16(n))
	default:
		f = binary.BigEndian.AppendUint64(append(f, bitMask|127), uint64(n))
	}
	var mask [4]byte
	rand.Read(mask[:])
	f = append(f, mask[:]...)
	for i, b := range payload {
		f = append(f, b^mask[i%4])
	}
	_, err := c.conn.Write(f)
	return err
}

// Receive reads frames up to the end of a message.
func (c *socketClient) Receive() (hub.FrameType, []byte, error) {
	var message []byte
	first := byte(0) // the message's first byte, 0 while there is none
	for {
		head, payload, err := c.frame()
		if err != nil {
			return 0, nil, err
		}
		op := head & 0x0f
		if head&^(bitFin|bitCompressed|0x0f) != 0 || head&bitCompressed != 0 && (!c.compressed || op != opText && op != opBinary) {
			return 0, nil, fmt.Errorf("frame with reserved bits: %#x", head)
		}
		if op >= opClose {
			if head&bitFin == 0 || len(payload) > 125 {
				return 0, nil, fmt.Errorf("control frame %#x of %d bytes", head, len(payload))
			}
			if err := c.control(op, payload); err != nil {
				return 0, nil, err
			}
			continue
		}
		switch {
		case op == opContinuation && first == 0:
			return 0, nil, errors.New("continuation of nothing")
		case op != opContinuation && first != 0:
			return 0, nil, errors.New("message within another")
		case op > opBinary:
			return 0, nil, fmt.Errorf("reserved opcode %d", op)
		case first == 0:
			first = head
		}
		if message = append(message, payload...); head&bitFin == 0 {
			continue
		}
		if first&bitCompressed != 0 {
			if message, err = inflate(message); err != nil {
				return 0, nil, fmt.Errorf("inflating: %w", err)
			}
		}
		if first&0x0f == opBinary {
			return hub.BinaryFrame, message, nil
		}
		if !utf8.Valid(message) {
			return 0, nil, errors.New("text that is not UTF-8")
		}
		return hub.TextFrame, message, nil
	}
}

// frame reads one frame, whose length must take no more bytes than needed.
func (c *socketClient) frame() (head byte, payload []byte, err error) {
	var b [8]byte
	if _, err := io.ReadFull(c.r, b[:2]); err != nil {
		return 0, nil, err
	}
	head = b[0]
	if b[1]&bitMask != 0 {
		return 0, nil, errors.New("masked frame")
	}
	n, least := uint64(b[1]), uint64(0)
	switch n {
	case 126:
		_, err = io.ReadFull(c.r, b[:2])
		n, least = uint64(binary.BigEndian.Uint16(b[:2])), 126
	case 127:
		_, err = io.ReadFull(c.r, b[:8])
		n, least = binary.BigEndian.Uint64(b[:8]), 1<<16
	}
	if err != nil {
		return 0, nil, err
	}
	if n < least || n > 1<<30 {
		return 0, nil, fmt.Errorf("length %d in a form for %d or more", n, least)
	}
	payload = make([]byte, n)
	_, err = io.ReadFull(c.r, payload)
	return head, payload, err
}

func (c *socketClient) control(op byte, payload []byte) error {
	switch op {
	case opPing:
		if err := c.write(bitFin|opPong, payload); err != nil && !c.wroteClose() {
			return err
		}
	case opPong:
		c.pongs.Add(1)
	case opClose:
		ce := &hub.CloseError{Code: wire.CloseNoStatus, Remote: true}
		if len(payload) == 1 {
			return errors.New("close frame of one byte")
		}
		if len(payload) >= 2 {
			ce.Code = wire.CloseCode(binary.BigEndian.Uint16(payload))
			ce.Reason = string(payload[2:])
		}
		if ce.Code < 1000 || ce.Code == wire.CloseAbnormal || ce.Code > 4999 || !utf8.ValidString(ce.Reason) || len(payload) > 0 && ce.Code == wire.CloseNoStatus {
			return fmt.Errorf("close frame with %d %q", ce.Code, ce.Reason)
		}
		// The answer: it fails where one was sent, or nobody is there any more.
		_ = c.write(bitFin|opClose, payload)
		return c.last(ce)
	default:
		return fmt.Errorf("reserved opcode %d", op)
	}
	return nil
}

// last reads on after a close frame, up to the server's end of the stream:
// nothing may follow, and it is the server that goes first (RFC 6455, section
// 7.1.1).
func (c *socketClient) last(ce *hub.CloseError) error {
	defer c.conn.Close()
	_ = c.conn.SetReadDeadline(time.Now().Add(time.Minute))
	if n, _ := io.ReadFull(c.r, make([]byte, 1)); n > 0 {
		return fmt.Errorf("bytes after the close frame %d %q", ce.Code, ce.Reason)
	}
	return ce
}

func (c *socketClient) wroteClose() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closed
}

// tail ends a flushed block of DEFLATE; it does not travel (RFC 7692, section
// 7.2.1). The empty last block after it lets the reader see an end.
const (
	tail      = "\x00\x00\xff\xff"
	lastBlock = "\x01\x00\x00\xff\xff"
)

func deflate(p []byte) ([]byte, error) {
	var out bytes.Buffer
	w, err := flate.NewWriter(&out, flate.BestSpeed)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(p); err != nil {
		return nil, err
	}
	if err := w.Flush(); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(out.Bytes(), []byte(tail)), nil
}

func inflate(p []byte) ([]byte, error) {
	return io.ReadAll(flate.NewReader(io.MultiReader(bytes.NewReader(p), strings.NewReader(tail+lastBlock))))
}
