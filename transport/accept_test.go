package transport_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"forge.lthn.ai/core/go-ws/hub"
	"forge.lthn.ai/core/go-ws/transport"
)

func TestNewRefusesWhatCannotBe(t *testing.T) {
	_, err := transport.New(transport.Config{CompressionThreshold: -1})
	if err == nil || !strings.Contains(err.Error(), "CompressionThreshold") {
		t.Errorf("got %v, want an error that names CompressionThreshold", err)
	}
}

func TestAcceptAnswersWhatItCannotTake(t *testing.T) {
	tr, err := transport.New(transport.Config{})
	if err != nil {
		t.Fatal(err)
	}
	whole := hub.AcceptOptions{ReadLimit: 1000, WriteTimeout: time.Second}
	for name, c := range map[string]struct {
		change func(r *http.Request)
		o      hub.AcceptOptions
		status int
	}{
		"HTTP/2":                 {func(r *http.Request) { r.Proto, r.ProtoMajor, r.ProtoMinor = "HTTP/2.0", 2, 0 }, whole, 505},
		"no upgrade":             {func(r *http.Request) { r.Header.Del("Upgrade") }, whole, 426},
		"no key":                 {func(r *http.Request) { r.Header.Del("Sec-WebSocket-Key") }, whole, 400},
		"a writer of no socket":  {func(*http.Request) {}, whole, 500},
		"no read limit":          {func(*http.Request) {}, hub.AcceptOptions{WriteTimeout: time.Second}, 500},
		"no write timeout":       {func(*http.Request) {}, hub.AcceptOptions{ReadLimit: 1000}, 500},
		"a body of known length": {func(r *http.Request) { r.ContentLength = 5 }, whole, 400},
	} {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequest("GET", "/ws", nil)
			r.Header.Set("Connection", "Upgrade")
			r.Header.Set("Upgrade", "websocket")
			r.Header.Set("Sec-WebSocket-Version", "13")
			r.Header.Set("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
			c.change(r)
			w := httptest.NewRecorder()
			conn, err := tr.Accept(w, r, c.o)
			if conn != nil || err == nil || w.Code != c.status || w.Body.Len() == 0 {
				t.Errorf("got connection %v, %v, status %d %q, want an error and status %d", conn, err, w.Code, w.Body, c.status)
			}
			if got := w.Header().Get("Sec-WebSocket-Accept"); got != "" {
				t.Errorf("Sec-WebSocket-Accept: got %q with an error, want none", got)
			}
		})
	}
}
