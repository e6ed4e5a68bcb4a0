package system_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"forge.lthn.ai/core/go-ws/backplane"
	"forge.lthn.ai/core/go-ws/hub"
	"forge.lthn.ai/core/go-ws/hub/wire"
)

func serveTLS(t *testing.T) *server {
	t.Helper()
	return serve(t, hub.Config{}, func(h *httptest.Server) { h.TLS = new(tls.Config) })
}

func TestTheSeedsFramesOverSockets(t *testing.T) {
	s := serve(t, hub.Config{})
	c, other := s.on("news"), s.on("sport")
	s.send("news", map[string]int{"n": 1})
	if f := c.want(hub.TypeEvent, `{"n":1}`); f.Channel != "news" || f.Timestamp.IsZero() {
		t.Errorf("got %+v, want channel news and a timestamp", f)
	}
	c.send(`{"type":"ping"}`)
	if f := c.want(hub.TypePong, ""); time.Since(f.Timestamp) > hang {
		t.Errorf("pong of %v, want one of now", f.Timestamp)
	}
	c.send(`{"type":"unsubscribe","data":"news"}`)
	if f := c.next(); f.Type != wire.TypeUnsubscribed || f.Channel != "news" {
		t.Errorf("got %+v, want unsubscribed news", f)
	}
	s.send("news", "nobody hears it")
	if _, err := s.Broadcast(t.Context(), hub.Message{Data: "all"}); err != nil {
		t.Fatal(err)
	}
	c.want(hub.TypeEvent, `"all"`)
	other.want(hub.TypeEvent, `"all"`)
}

func TestProcessOutputStreamsOverSockets(t *testing.T) {
	s := serve(t, hub.Config{})
	c := s.on("process:7")
	for i := range 100 {
		if _, err := s.SendProcessOutput(t.Context(), "7", fmt.Sprint("line ", i)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.SendProcessStatus(t.Context(), "7", "exited", 2); err != nil {
		t.Fatal(err)
	}
	for i := range 100 {
		if f := c.want(hub.TypeProcessOutput, fmt.Sprintf(`"line %d"`, i)); f.ProcessID != "7" {
			t.Errorf("processId %q, want 7", f.ProcessID)
		}
	}
	c.want(hub.TypeProcessStatus, `{"status":"exited","exitCode":2}`)
}

func TestABurstArrivesWholeOneObjectAMessage(t *testing.T) {
	s := serve(t, hub.Config{})
	c := s.on("news")
	text := strings.Repeat("x", 2048)
	for i := range 400 {
		s.send("news", fmt.Sprint(i, text))
	}
	for i := range 400 {
		c.want(hub.TypeEvent, fmt.Sprintf(`"%d%s"`, i, text))
	}
}

func TestMessagesCrossHubsOverSockets(t *testing.T) {
	bus := backplane.NewMemory(backplane.MemoryConfig{})
	a, b := serve(t, hub.Config{Backplane: bus.Join()}), serve(t, hub.Config{Backplane: bus.Join()})
	here, there := a.on("news"), b.on("news")
	for i := range 100 {
		a.send("news", i)
		here.want(hub.TypeEvent, fmt.Sprint(i))
		there.want(hub.TypeEvent, fmt.Sprint(i))
	}
}

func TestShutdownTellsClientsToComeBack(t *testing.T) {
	s := serve(t, hub.Config{DrainTimeout: hang})
	c := s.on("news")
	s.send("news", "last")
	s.stop()
	c.want(hub.TypeEvent, `"last"`)
	closed := c.wantClosed(wire.CloseServiceRestart)
	var hint wire.ReconnectHint
	if err := json.Unmarshal([]byte(closed.Text), &hint); err != nil || hint.Reason != "restart" {
		t.Errorf("reason %q, want a hint", closed.Text)
	}
	s.end()
	if c, resp := s.dial(nil); c != nil || resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" {
		t.Errorf("got %+v, want 503 with Retry-After", resp)
	}
}

// masked is a client's text frame with a mask of zeros, whose payload is
// therefore as it is.
func masked(text string) []byte {
	var b []byte
	switch n := len(text); {
	case n < 126:
		b = []byte{0x81, 0x80 | byte(n)}
	default:
		b = binary.BigEndian.AppendUint16([]byte{0x81, 0x80 | 126}, uint16(n))
	}
	return append(append(b, 0, 0, 0, 0), text...)
}

// TestTheProtocolByHand knows no library: every byte that the client sends is
// here, and every byte that comes back is looked at.
func TestTheProtocolByHand(t *testing.T) {
	s := serve(t, hub.Config{})
	nc := s.tcp()
	write := func(p []byte) {
		t.Helper()
		if _, err := nc.Write(p); err != nil {
			t.Fatal(err)
		}
	}
	// The key and its answer are RFC 6455's own (section 1.3).
	write([]byte("GET /ws HTTP/1.1\r\nHost: example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: go-ws.v1.json\r\n\r\n"))
	r := bufio.NewReader(nc)
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != 101 || resp.Header.Get("Sec-WebSocket-Accept") != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" ||
		!strings.EqualFold(resp.Header.Get("Upgrade"), "websocket") || resp.Header.Get("Sec-WebSocket-Protocol") != hub.Subprotocol {
		t.Fatalf("answer %+v", resp)
	}
	// next reads one unfragmented, unmasked frame of under 65,536 bytes.
	next := func() (first byte, payload string) {
		t.Helper()
		head := make([]byte, 2)
		if _, err := io.ReadFull(r, head); err != nil {
			t.Fatal(err)
		}
		size := int(head[1])
		switch {
		case size == 126:
			long := make([]byte, 2)
			if _, err := io.ReadFull(r, long); err != nil {
				t.Fatal(err)
			}
			if size = int(binary.BigEndian.Uint16(long)); size < 126 {
				t.Fatalf("a length of %d in two bytes more than it needs", size)
			}
		case size > 126:
			t.Fatalf("header % x, want a short unmasked frame", head)
		}
		p := make([]byte, size)
		if _, err := io.ReadFull(r, p); err != nil {
			t.Fatal(err)
		}
		return head[0], string(p)
	}
	want := func(first byte, prefix, suffix string) {
		t.Helper()
		got, payload := next()
		if got != first || !strings.HasPrefix(payload, prefix) || !strings.HasSuffix(payload, suffix) {
			t.Fatalf("got %x %q, want %x %q…%q", got, payload, first, prefix, suffix)
		}
	}

	write(masked(`{"type":"subscribe","data":"news","id":"1"}`))
	want(0x81, `{"type":"subscribed","channel":"news","id":"1","timestamp":"2`, `Z"}`)

	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	if _, err := s.SendToChannel(t.Context(), "news", hub.Message{Data: []int{1}, Timestamp: at}); err != nil {
		t.Fatal(err)
	}
	want(0x81, `{"type":"event","channel":"news","data":[1],"timestamp":"2026-01-02T03:04:05Z"}`, "")

	// Two frames in one segment, then one in three pieces and two fragments.
	write(append(masked(`{"type":"ping","id":"a"}`), masked(`{"type":"ping","id":"b"}`)...))
	want(0x81, `{"type":"pong","id":"a",`, `"}`)
	want(0x81, `{"type":"pong","id":"b",`, `"}`)
	write([]byte{0x01, 0x80 | 8, 1, 2, 3, 4})
	write([]byte{'{' ^ 1, '"' ^ 2, 't' ^ 3, 'y' ^ 4, 'p' ^ 1, 'e' ^ 2, '"' ^ 3, ':' ^ 4})
	write(append([]byte{0x80, 0x80 | 7, 0, 0, 0, 0}, `"ping"}`...))
	want(0x81, `{"type":"pong",`, `"}`)

	// A WebSocket ping between frames is answered with its payload.
	write([]byte{0x89, 0x80 | 2, 0, 0, 0, 0, 'h', 'i'})
	want(0x8A, "hi", "")

	write([]byte{0x82, 0x80 | 1, 0, 0, 0, 0, 0xFF})
	want(0x81, `{"type":"error","data":{"code":"unsupported",`, `"}`)
	write(masked(`{"type":`))
	want(0x81, `{"type":"error","data":{"code":"invalid_frame",`, `"}`)

	// The closing handshake: the code comes back, and then the end.
	write([]byte{0x88, 0x80 | 2, 0, 0, 0, 0, 0x03, 0xE8})
	if first, payload := next(); first != 0x88 || !bytes.Equal([]byte(payload), []byte{0x03, 0xE8}) {
		t.Fatalf("got %x % x, want a close frame of 1000", first, payload)
	}
	if _, err := r.ReadByte(); err != io.EOF {
		t.Fatalf("after the close frame: %v, want EOF", err)
	}
	s.await("the client is gone", func() bool { return s.ClientCount() == 0 && s.ChannelCount() == 0 })
}
