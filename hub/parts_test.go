package hub_test

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"

	"forge.lthn.ai/core/go-ws/hub"
	"forge.lthn.ai/core/go-ws/hub/hubtest"
)

// built makes a hub that has not run, on a transport without sockets.
func built(t testing.TB, cfg hub.Config) *hub.Hub {
	t.Helper()
	if cfg.Transport == nil {
		cfg.Transport = hubtest.NewTransport()
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	h, err := hub.New(cfg)
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	return h
}

// inBubble makes a hub run in the test's bubble until the test ends.
func inBubble(t *testing.T, cfg hub.Config) *hub.Hub {
	t.Helper()
	h := built(t, cfg)
	ctx, cancel := context.WithCancel(t.Context())
	ran := make(chan error, 1)
	go func() { ran <- h.Run(ctx) }()
	synctest.Wait()
	t.Cleanup(func() {
		cancel()
		if err := <-ran; err != nil {
			t.Errorf("Run: got %v, want nil", err)
		}
	})
	return h
}

// dialled connects a client to a hub.
func dialled(t testing.TB, transport *hubtest.Transport, h *hub.Hub) *hubtest.Peer {
	t.Helper()
	p, resp := transport.Dial(h.Handler(), httptest.NewRequest(http.MethodGet, "/", nil))
	if p == nil {
		t.Fatalf("dial: got status %d %s, want an upgrade", resp.Status, resp.Body)
	}
	return p
}
