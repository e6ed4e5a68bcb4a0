package hubtest_test

import (
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"forge.lthn.ai/core/go-ws/hub"
	"forge.lthn.ai/core/go-ws/hub/hubtest"
	"forge.lthn.ai/core/go-ws/hub/wire"
)

// serveBytes upgrades, writes bytes, and keeps what the client answers.
func serveBytes(t *testing.T, extensions, p string) (hubtest.TransportClient, <-chan string) {
	t.Helper()
	answered := make(chan string, 1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Errorf("hijacking: %v", err)
			return
		}
		defer conn.Close()
		io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+extensions+"\r\n"+p)
		if tcp, ok := conn.(*net.TCPConn); ok {
			tcp.CloseWrite()
		}
		got, _ := io.ReadAll(conn)
		answered <- string(got)
	}))
	t.Cleanup(server.Close)
	c, status, err := hubtest.DialSocket(server.Listener.Addr().String(),
		hubtest.TransportDialOptions{Compress: extensions != ""})
	if err != nil {
		t.Fatalf("got status %d, %v, want a connection", status, err)
	}
	t.Cleanup(c.Cut)
	return c, answered
}

func TestSocketClientRefusesWhatNoServerMaySend(t *testing.T) {
	for name, p := range map[string]string{
		"nothing":                          "",
		"masked frame":                     "\x81\x81\x00\x00\x00\x00x",
		"reserved bit":                     "\xc1\x01x",
		"reserved opcode":                  "\x83\x00",
		"reserved control opcode":          "\x8b\x00",
		"long ping":                        "\x89\x7e\x00\x7e" + strings.Repeat("x", 126),
		"fragmented ping":                  "\x09\x00",
		"continuation of nothing":          "\x80\x01x",
		"message within another":           "\x01\x01x\x81\x01y",
		"length in too long a form":        "\x81\x7e\x00\x01x",
		"text that is not UTF-8":           "\x81\x01\xff",
		"cut within a frame":               "\x81\x05hell",
		"cut between fragments":            "\x01\x01x",
		"close frame of one byte":          "\x88\x01x",
		"close frame with code 1005":       "\x88\x02\x03\xed",
		"close frame with code 999":        "\x88\x02\x03\xe7",
		"close reason that is not UTF-8":   "\x88\x03\x03\xe8\xff",
		"two close frames":                 "\x88\x02\x03\xef\x88\x02\x03\xe8",
		"pong between halves of a message": "\x82\x04ab\x8a\x00",
	} {
		c, _ := serveBytes(t, "", p)
		_, got, err := c.Receive()
		if err == nil && name == "pong between halves of a message" {
			_, got, err = c.Receive() // the length is right, what is in it is not
		}
		var ce *hub.CloseError
		if err == nil || errors.As(err, &ce) {
			t.Errorf("%s: got %q, %v, want an error that is no CloseError", name, got, err)
		}
	}
}

func TestSocketClientReadsMessages(t *testing.T) {
	c, answered := serveBytes(t, "Sec-WebSocket-Extensions: permessage-deflate\r\n",
		"\x81\x02hi"+ // text
			"\x02\x01a\x89\x01p\x80\x01b"+ // fragments with a ping between
			"\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00"+ // RFC 7692, section 7.2.3.1
			"\x8a\x00"+ // pong
			"\x88\x05\x0f\xa1bye")
	for _, want := range []struct {
		t       hub.FrameType
		payload string
	}{{hub.TextFrame, "hi"}, {hub.BinaryFrame, "ab"}, {hub.TextFrame, "Hello"}} {
		if ft, got, err := c.Receive(); ft != want.t || string(got) != want.payload || err != nil {
			t.Errorf("got %v %q, %v, want %v", ft, got, err, want)
		}
	}
	_, _, err := c.Receive()
	var ce *hub.CloseError
	if !errors.As(err, &ce) || *ce != (hub.CloseError{Code: wire.CloseCredentialsExpired, Reason: "bye", Remote: true}) {
		t.Errorf("got %v, want 4001 bye", err)
	}
	if c.Pongs() != 1 {
		t.Errorf("got %d pongs, want 1", c.Pongs())
	}
	// A pong and a close frame, masked: 2 + 4 + 1 and 2 + 4 + 5 bytes.
	if got := <-answered; len(got) != 18 || got[0] != 0x8a || got[7] != 0x88 {
		t.Errorf("got the answer %q, want a pong and a close frame", got)
	}
}

func TestSocketClientReturnsTheAnswerOfARefusal(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	c, status, err := hubtest.DialSocket(server.Listener.Addr().String(), hubtest.TransportDialOptions{})
	if c != nil || status != http.StatusNotFound || err != nil {
		t.Errorf("got %v, status %d, %v, want status 404", c, status, err)
	}
}
