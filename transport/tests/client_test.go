package tests

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"forge.lthn.ai/core/go-ws/hub"
	"forge.lthn.ai/core/go-ws/hub/hubtest"
	"forge.lthn.ai/core/go-ws/hub/wire"
)

// client is a WebSocket client on any net.Conn, made of a strictReader and of
// frames built by hand. It fills hubtest.TransportRawClient.
type client struct {
	strictReader
	nc     net.Conn
	header http.Header // of the answer
	pongs  atomic.Int64

	mu     sync.Mutex // guards writing
	closed bool       // a close frame was written
}

// handshake upgrades a connection. c is nil where the server refused.
func handshake(nc net.Conn, o hubtest.TransportDialOptions) (c *client, status int, err error) {
	var b strings.Builder
	b.WriteString("GET /ws HTTP/1.1\r\nHost: test\r\n")
	if !o.Plain {
		b.WriteString("Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n")
	}
	if len(o.Subprotocols) > 0 {
		fmt.Fprintf(&b, "Sec-WebSocket-Protocol: %s\r\n", strings.Join(o.Subprotocols, ", "))
	}
	if o.Compress {
		b.WriteString("Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n")
	}
	// A strings.Builder takes everything.
	_ = o.Header.Write(&b)
	b.WriteString("\r\n")
	if _, err := io.WriteString(nc, b.String()); err != nil {
		return nil, 0, err
	}
	br := bufio.NewReader(nc)
	resp, err := http.ReadResponse(br, nil)
	if err != nil {
		return nil, 0, err
	}
	if resp.StatusCode != http.StatusSwitchingProtocols {
		_, err := io.Copy(io.Discard, resp.Body)
		return nil, resp.StatusCode, errors.Join(err, resp.Body.Close(), nc.Close())
	}
	c = &client{nc: nc, header: resp.Header}
	c.r = br
	switch ext := resp.Header.Get("Sec-WebSocket-Extensions"); {
	case ext == "":
	case o.Compress && ext == "permessage-deflate; client_no_context_takeover; server_no_context_takeover":
		c.deflate = true
	default:
		return nil, 0, breach("extensions %q", ext)
	}
	// The example of RFC 6455, section 1.3.
	if got, want := resp.Header.Get("Sec-WebSocket-Accept"), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="; got != want {
		return nil, 0, breach("Sec-WebSocket-Accept %q, want %q", got, want)
	}
	return c, resp.StatusCode, nil
}

func (c *client) Subprotocol() string { return c.header.Get("Sec-WebSocket-Protocol") }
func (c *client) Pongs() int          { return int(c.pongs.Load()) }
func (c *client) Ping() error         { return c.write(fin|opPing, []byte("ping")) }

func (c *client) Cut() {
	if tcp, ok := c.nc.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // a reset
	}
	if t, ok := c.nc.(interface{ NetConn() net.Conn }); ok {
		_ = t.NetConn().Close()
		return
	}
	_ = c.nc.Close()
}

// SendRaw writes bytes as they are.
func (c *client) SendRaw(p []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, err := c.nc.Write(p)
	return err
}

func (c *client) write(head byte, payload []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return errors.New("a close frame was written")
	}
	c.closed = head&0x0F == opClose
	_, err := c.nc.Write(maskedFrame(head, payload))
	return err
}

// Send sends one message in fragments, a compressed one where that was
// negotiated.
func (c *client) Send(t hub.FrameType, parts ...[]byte) error {
	head := byte(opText)
	if t == hub.BinaryFrame {
		head = opBinary
	}
	if c.deflate {
		var whole []byte
		for _, p := range parts {
			whole = append(whole, p...)
		}
		squeezed := deflate(whole)
		head |= rsv1
		parts = slices.Clone(parts)
		for i := range parts { // cut anew, at any place
			parts[i] = squeezed[i*len(squeezed)/len(parts) : (i+1)*len(squeezed)/len(parts)]
		}
	}
	for i, p := range parts {
		if i == len(parts)-1 {
			head |= fin
		}
		if err := c.write(head, p); err != nil {
			return err
		}
		head = opContinuation
	}
	return nil
}

func (c *client) Close(code wire.CloseCode, reason string) error {
	return c.write(fin|opClose, closePayload(code, reason))
}

// Receive answers pings and close frames up to the next message.
func (c *client) Receive() (hub.FrameType, []byte, error) {
	for {
		e, err := c.next()
		if err != nil {
			return 0, nil, err
		}
		switch e.op {
		case opText:
			return hub.TextFrame, e.payload, nil
		case opBinary:
			return hub.BinaryFrame, e.payload, nil
		case opPing:
			// It fails where a close frame went out.
			_ = c.write(fin|opPong, e.payload)
		case opPong:
			c.pongs.Add(1)
		case opClose:
			_ = c.write(fin|opClose, e.payload)
			_ = c.nc.SetReadDeadline(time.Now().Add(patience))
			if _, err := c.next(); errors.Is(err, errBreach) {
				return 0, nil, err
			}
			e.close.Remote = true
			return 0, nil, &e.close
		}
	}
}
