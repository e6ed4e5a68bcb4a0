package tests

import (
	"net/http/httptest"
	"testing"

	"forge.lthn.ai/core/go-ws/client"
	"forge.lthn.ai/core/go-ws/hub"
)

// TestOverTLSWithTheProgramsOwnHTTPClient trusts a certificate that only this
// HTTP client knows.
func TestOverTLSWithTheProgramsOwnHTTPClient(t *testing.T) {
	s := serve(t, hub.Config{})
	web := httptest.NewTLSServer(s.Handler())
	defer web.Close()
	cfg := quick(web.Listener.Addr().String())
	cfg.URL = "wss://" + web.Listener.Addr().String() + "/ws"
	cfg.MaxRetries = 1
	if err := newUser(t, cfg).Run(t.Context()); err == nil {
		t.Error("without trust: got nil, want an error")
	}
	cfg.HTTPClient = web.Client()
	u := connected(t, cfg)
	u.join("news")
	s.publish(t, "news", "hello")
	u.wantText("news", "hello")
	if _, err := u.Request(t.Context(), client.Message{Type: "ping"}); err != nil {
		t.Errorf("Request: %v", err)
	}
	_ = u.Close()
}
