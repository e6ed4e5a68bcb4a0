package tests

import (
	"bytes"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"forge.lthn.ai/core/go-ws/hub"
	"forge.lthn.ai/core/go-ws/hub/wire"
)

const upgrade = "GET /ws HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
	"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"

// rawConn writes and expects bytes, so that no library's reading of the
// protocol, ours included, is in between.
type rawConn struct {
	t  *testing.T
	nc net.Conn
}

func (b *bed) raw(t *testing.T) *rawConn {
	nc, err := b.dial()
	if err != nil {
		t.Fatalf("dial: %v", err)
	}
	t.Cleanup(func() { _ = nc.Close() })
	if err := nc.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return &rawConn{t, nc}
}

func (r *rawConn) write(s string) {
	r.t.Helper()
	if _, err := io.WriteString(r.nc, s); err != nil {
		r.t.Fatalf("write: %v", err)
	}
}

func (r *rawConn) expect(want string) {
	r.t.Helper()
	got := make([]byte, len(want))
	if n, err := io.ReadFull(r.nc, got); err != nil || string(got) != want {
		r.t.Fatalf("got %q, %v, want %q", got[:n], err, want)
	}
}

func (r *rawConn) expectEnd() {
	r.t.Helper()
	if got, err := io.ReadAll(r.nc); err != nil || len(got) > 0 {
		r.t.Fatalf("got %q, %v, want the end", got, err)
	}
}

// answer reads up to the end of the HTTP answer's header.
func (r *rawConn) answer() string {
	r.t.Helper()
	var b []byte
	for one := make([]byte, 1); !bytes.HasSuffix(b, []byte("\r\n\r\n")); {
		if _, err := r.nc.Read(one); err != nil {
			r.t.Fatalf("got %q, %v, want a whole answer", b, err)
		}
		b = append(b, one[0])
	}
	return string(b)
}

func TestAScriptOfBytes(t *testing.T) {
	b := newBed(t, networkOf("tcp"))
	r := b.raw(t)
	// The first message comes with the request: net/http has read it already.
	// Its bytes and mask are those of RFC 6455, section 5.7.
	r.write(upgrade + "\r\n" + "\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58")
	if got, want := r.answer(), "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n"+
		"Sec-Websocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nUpgrade: websocket\r\n\r\n"; got != want {
		t.Errorf("answer: got %q, want %q", got, want)
	}
	s := b.server()
	s.wait("the early message", func() bool { return len(s.got) == 1 })
	if s.got[0] != (message{hub.TextFrame, "Hello"}) {
		t.Errorf("got %q, want %q", s.got[0], "Hello")
	}

	b.must("send", s.send(s.prepare(message{hub.TextFrame, "Hello"}, message{hub.BinaryFrame, "\x00\xff"})))
	r.expect("\x81\x05Hello" + "\x82\x02\x00\xff")
	for _, c := range []struct {
		n      int
		header string
	}{{125, "\x82\x7d"}, {126, "\x82\x7e\x00\x7e"}, {65535, "\x82\x7e\xff\xff"}, {65536, "\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00"}} {
		b.must("send", s.send(s.prepare(message{hub.BinaryFrame, strings.Repeat("x", c.n)})))
		r.expect(c.header + strings.Repeat("x", c.n))
	}

	r.write("\x89\x83\x00\x00\x00\x00abc") // a ping
	r.expect("\x8a\x03abc")
	b.must("Ping", s.Ping())
	r.expect("\x89\x00")

	r.write("\x01\x82\x01\x01\x01\x01\x62\x63" + "\x89\x80\x00\x00\x00\x00" + "\x80\x81\x00\x00\x00\x00d") // "cb", a ping, "d"
	r.expect("\x8a\x00")
	s.wait("the fragments", func() bool { return len(s.got) == 2 })
	if s.got[1].payload != "cbd" {
		t.Errorf("got %q, want %q", s.got[1].payload, "cbd")
	}

	done := make(chan error, 1)
	go func() { done <- s.Close(wire.CloseServiceRestart, "later") }()
	r.expect("\x88\x07\x03\xf4later")
	r.write("\x82\x81\x00\x00\x00\x00z") // sent before the close frame was read
	r.write("\x88\x82\x00\x00\x00\x00\x03\xf4")
	r.expectEnd()
	if err := <-done; err != nil {
		t.Errorf("Close: got %v, want nil", err)
	}
	s.endsWith(hub.CloseError{Code: 1012, Remote: true})
	if len(s.got) != 2 {
		t.Errorf("got %q, want nothing received after Close", s.got[2:])
	}
}

// TestABreachIsAnsweredWithOneCloseFrame writes what no client may, and reads
// one close frame and the end.
func TestABreachIsAnsweredWithOneCloseFrame(t *testing.T) {
	zero := "\x00\x00\x00\x00"
	for name, c := range map[string]struct {
		bytes string
		code  wire.CloseCode
	}{
		"no mask":                        {"\x81\x05Hello", 1002},
		"reserved bit 1":                 {"\xc1\x80" + zero, 1002},
		"reserved bit 2":                 {"\xa1\x80" + zero, 1002},
		"reserved bit 3 of a ping":       {"\x99\x80" + zero, 1002},
		"opcode 3":                       {"\x83\x80" + zero, 1002},
		"opcode 11":                      {"\x8b\x80" + zero, 1002},
		"fragmented ping":                {"\x09\x80" + zero, 1002},
		"long ping":                      {"\x89\xfe\x00\x7e" + zero + strings.Repeat("x", 126), 1002},
		"continuation of nothing":        {"\x80\x80" + zero, 1002},
		"message within another":         {"\x01\x80" + zero + "\x82\x80" + zero, 1002},
		"close frame of one byte":        {"\x88\x81" + zero + "\x03", 1002},
		"close frame with 1005":          {"\x88\x82" + zero + "\x03\xed", 1002},
		"close frame with 999":           {"\x88\x82" + zero + "\x03\xe7", 1002},
		"close reason that is not UTF-8": {"\x88\x83" + zero + "\x03\xe8\xff", 1002},
		"text that is not UTF-8":         {"\x81\x81" + zero + "\xff", 1007},
		"text cut in a character":        {"\x01\x81" + zero + "\xe2\x80\x81" + zero + "\x82", 1007},
		"a length without a message":     {"\x82\xff\x00\x00\x00\x7f\x00\x00\x00\x00" + zero, 1009},
		"a length of 64 bits":            {"\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff" + zero, 1009},
		"fragments beyond the limit":     {"\x02\x84" + zero + "abcd" + "\x80\xfe\x13\x85" + zero, 1009},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBed(t, networkOf("tcp"))
			b.accept.ReadLimit = 5000
			r := b.raw(t)
			r.write(upgrade + "\r\n")
			r.answer()
			s := b.server()
			// What follows is not looked at, and resets nothing.
			r.write(c.bytes + "\x89\x80" + zero + strings.Repeat("rubbish", 1000))
			head := make([]byte, 4)
			if _, err := io.ReadFull(r.nc, head); err != nil {
				t.Fatalf("got %q, %v, want a close frame", head, err)
			}
			if head[0] != 0x88 || wire.CloseCode(head[2])<<8|wire.CloseCode(head[3]) != c.code {
				t.Fatalf("got %q, want a close frame with %d", head, c.code)
			}
			if _, err := io.CopyN(io.Discard, r.nc, int64(head[1])-2); err != nil {
				t.Fatalf("the reason: %v", err)
			}
			r.expectEnd()
			_ = r.nc.Close()
			s.endsWith(hub.CloseError{Code: c.code})
			if len(s.got) != 0 {
				t.Errorf("got %q handed over, want nothing", s.got)
			}
		})
	}
}

func TestRequestsThatAreNoUpgradeGetAnError(t *testing.T) {
	b := newBed(t, networkOf("tcp"))
	for name, c := range map[string]struct{ request, status string }{
		"a page":          {"GET / HTTP/1.1\r\nHost: test\r\n\r\n", "426"},
		"HTTP/1.0":        {"GET / HTTP/1.0\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", "426"},
		"another upgrade": {"GET / HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n", "426"},
		"a POST":          {strings.Replace(upgrade, "GET", "POST", 1) + "\r\n", "405"},
		"an old version":  {strings.Replace(upgrade, "13", "8", 1) + "\r\n", "400"},
		"a short key":     {strings.Replace(upgrade, "dGhlIHNhbXBsZSBub25jZQ==", "AAAA", 1) + "\r\n", "400"},
		"a body":          {upgrade + "Content-Length: 5\r\n\r\nhello", "400"},
		"a chunked body":  {upgrade + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "400"},
	} {
		t.Run(name, func(t *testing.T) {
			r := b.raw(t)
			r.write(c.request)
			if got := r.answer(); !strings.HasPrefix(got, "HTTP/1.1 "+c.status+" ") && !strings.HasPrefix(got, "HTTP/1.0 "+c.status+" ") {
				t.Errorf("got %q, want status %s", got, c.status)
			}
		})
	}
}
