// Package probe is what the examples' tests look at programs with: a WebSocket
// client made of plain bytes (RFC 6455), so that no library's misreading can
// hide in both ends of a connection.
package probe

import (
	"bufio"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

// Bound is how long anything may take before it counts as hung.
const Bound = 60 * time.Second

// Frame is one message of the hub's.
type Frame struct {
	Type      string          `json:"type"`
	Channel   string          `json:"channel"`
	ProcessID string          `json:"processId"`
	ID        string          `json:"id"`
	Data      json.RawMessage `json:"data"`
	Timestamp string          `json:"timestamp"`
}

// Client is a connection to a hub. It is one goroutine's.
type Client struct {
	t    *testing.T
	conn net.Conn
	in   *bufio.Reader

	closed []byte // the payload of the server's close frame
}

const (
	opText  = 1
	opClose = 8
	opPing  = 9
	opPong  = 10
)

// Dial connects to an http:// address and fails the test where it is refused.
func Dial(t *testing.T, address string, headers ...string) *Client {
	t.Helper()
	c, status := Try(t, address, headers...)
	if status != http.StatusSwitchingProtocols {
		t.Fatalf("connecting to %s: got status %d, want 101", address, status)
	}
	return c
}

// Try connects and returns the status of the answer. Headers come in pairs.
func Try(t *testing.T, address string, headers ...string) (*Client, int) {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.DialTimeout("tcp", u.Host, Bound)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(Bound))
	var key [16]byte
	rand.Read(key[:])
	request := "GET " + u.RequestURI() + " HTTP/1.1\r\nHost: " + u.Host + "\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + base64.StdEncoding.EncodeToString(key[:]) + "\r\n"
	for i := 0; i+1 < len(headers); i += 2 {
		request += headers[i] + ": " + headers[i+1] + "\r\n"
	}
	if _, err := io.WriteString(conn, request+"\r\n"); err != nil {
		t.Fatal(err)
	}
	in := bufio.NewReader(conn)
	answer, err := http.ReadResponse(in, nil)
	if err != nil {
		t.Fatalf("connecting to %s: %v", address, err)
	}
	return &Client{t: t, conn: conn, in: in}, answer.StatusCode
}

// Send sends one text message.
func (c *Client) Send(text string) {
	c.t.Helper()
	if err := c.write(opText, []byte(text)); err != nil {
		c.t.Fatalf("sending %s: %v", text, err)
	}
}

// Join subscribes to a channel and waits until it is live.
func (c *Client) Join(channel string) {
	c.t.Helper()
	request, err := json.Marshal(map[string]string{"type": "subscribe", "data": channel})
	if err != nil {
		c.t.Fatal(err)
	}
	c.Send(string(request))
	if f := c.Next("subscribed"); f.Channel != channel {
		c.t.Fatalf("joining %q: got subscribed to %q", channel, f.Channel)
	}
}

// Any reads the next message.
func (c *Client) Any() Frame {
	c.t.Helper()
	op, payload := c.read()
	if op != opText {
		c.t.Fatalf("got a frame of opcode %d, %q, want a message", op, payload)
	}
	var f Frame
	if err := json.Unmarshal(payload, &f); err != nil {
		c.t.Fatalf("got %q: %v", payload, err)
	}
	return f
}

// Next reads the next message, which must be of a type.
func (c *Client) Next(kind string) Frame {
	c.t.Helper()
	f := c.Any()
	if f.Type != kind {
		c.t.Fatalf("got %+v, want a message of type %s", f, kind)
	}
	return f
}

// Closed reads until the server closes, answers it, and returns its code and
// reason.
func (c *Client) Closed() (code int, reason string) {
	c.t.Helper()
	code, reason = c.CloseFrame()
	c.AnswerClose()
	return code, reason
}

// CloseFrame reads until the server closes, and leaves it without an answer.
func (c *Client) CloseFrame() (code int, reason string) {
	c.t.Helper()
	for {
		op, payload := c.read()
		if op != opClose {
			continue
		}
		c.closed = payload
		if len(payload) < 2 {
			return 1005, ""
		}
		return int(binary.BigEndian.Uint16(payload)), string(payload[2:])
	}
}

// AnswerClose ends the closing handshake.
func (c *Client) AnswerClose() {
	c.t.Helper()
	if err := c.write(opClose, c.closed); err != nil {
		c.t.Fatalf("closing: %v", err)
	}
}

// write sends one masked frame.
func (c *Client) write(op byte, payload []byte) error {
	frame := []byte{0x80 | op}
	switch n := len(payload); {
	case n < 126:
		frame = append(frame, 0x80|byte(n))
	case n < 1<<16:
		frame = binary.BigEndian.AppendUint16(append(frame, 0x80|126), uint16(n))
	default:
		frame = binary.BigEndian.AppendUint64(append(frame, 0x80|127), uint64(n))
	}
	var mask [4]byte
	rand.Read(mask[:])
	frame = append(frame, mask[:]...)
	for i, b := range payload {
		frame = append(frame, b^mask[i%4])
	}
	_, err := c.conn.Write(frame)
	return err
}

// read returns the next frame that is no ping, and answers those. Servers send
// small messages in one frame, unmasked; anything else fails the test.
func (c *Client) read() (op byte, payload []byte) {
	c.t.Helper()
	for {
		c.conn.SetReadDeadline(time.Now().Add(Bound))
		var head [2]byte
		c.full(head[:])
		if head[0]&0x80 == 0 || head[1]&0x80 != 0 {
			c.t.Fatalf("got a frame that is fragmented or masked: % x", head)
		}
		size := uint64(head[1])
		switch size {
		case 126:
			var long [2]byte
			c.full(long[:])
			size = uint64(binary.BigEndian.Uint16(long[:]))
		case 127:
			var long [8]byte
			c.full(long[:])
			size = binary.BigEndian.Uint64(long[:])
		}
		if size > 16<<20 {
			c.t.Fatalf("got a frame of %d bytes", size)
		}
		payload = make([]byte, size)
		c.full(payload)
		op = head[0] & 0x0f
		switch op {
		case opPing:
			if err := c.write(opPong, payload); err != nil {
				c.t.Fatalf("answering a ping: %v", err)
			}
		case opText, opClose:
			return op, payload
		default:
			c.t.Fatalf("got a frame of opcode %d", op)
		}
	}
}

func (c *Client) full(buffer []byte) {
	c.t.Helper()
	if _, err := io.ReadFull(c.in, buffer); err != nil {
		c.t.Fatalf("reading: %v", err)
	}
}

// Output collects what a program prints, and tells of its lines.
type Output struct {
	reader *io.PipeReader
	*io.PipeWriter
	lines *bufio.Scanner
}

// NewOutput makes an Output; give it to run as its standard output.
func NewOutput() *Output {
	r, w := io.Pipe()
	return &Output{r, w, bufio.NewScanner(r)}
}

// Address waits for the line "listening on http://…" and returns the address.
// What is printed later is thrown away.
func (o *Output) Address(t *testing.T) string {
	t.Helper()
	for o.lines.Scan() {
		if address, ok := strings.CutPrefix(o.lines.Text(), "listening on "); ok {
			go io.Copy(io.Discard, o.reader)
			return address
		}
	}
	t.Fatalf("the program ended before it listened: %v", o.lines.Err())
	return ""
}
