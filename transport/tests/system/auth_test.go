package system_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"

	"forge.lthn.ai/core/go-ws/auth"
	"forge.lthn.ai/core/go-ws/hub"
	"forge.lthn.ai/core/go-ws/hub/wire"
)

var keys = map[string]string{"key-ann": "ann", "key-bob": "bob", "key-cid": "cid"}

func authorization(value string) http.Header { return http.Header{"Authorization": {value}} }

// users is a hub that tells who came in.
func users(t *testing.T, cfg hub.Config) (*server, chan string) {
	t.Helper()
	came := make(chan string, 100)
	cfg.OnConnect = func(_ context.Context, c *hub.Client) error {
		came <- c.UserID()
		return nil
	}
	return serve(t, cfg), came
}

func TestAValidKeyIsUpgradedWithItsUserID(t *testing.T) {
	s, came := users(t, hub.Config{Authenticator: auth.NewAPIKeyAuth(keys)})
	for _, value := range []string{"Bearer key-ann", "bearer key-ann", "BEARER key-ann"} {
		c, resp := s.dial(authorization(value))
		if c == nil {
			t.Fatalf("%s: status %d, want an upgrade", value, resp.StatusCode)
		}
		if got := <-came; got != "ann" {
			t.Errorf("%s: user %q, want ann", value, got)
		}
	}
}

func TestAnythingButAValidKeyAnswers401(t *testing.T) {
	var mu sync.Mutex
	failed := 0
	s, _ := users(t, hub.Config{
		Authenticator: auth.NewAPIKeyAuth(keys),
		OnAuthFailure: func(_ *http.Request, result hub.AuthResult) {
			mu.Lock()
			defer mu.Unlock()
			failed++
			if result.Valid || result.Error == nil {
				t.Errorf("OnAuthFailure got %+v, want an error", result)
			}
		},
	})
	headers := map[string]http.Header{
		"invalid key":   authorization("Bearer wrong"),
		"no header":     nil,
		"no token":      authorization("Bearer"),
		"empty token":   authorization("Bearer "),
		"wrong scheme":  authorization("Basic key-ann"),
		"bare key":      authorization("key-ann"),
		"several":       {"Authorization": {"Bearer key-ann", "Bearer key-bob"}},
		"a key's start": authorization("Bearer key-an"),
	}
	for name, header := range headers {
		c, resp := s.dial(header)
		if c != nil || resp.StatusCode != http.StatusUnauthorized || resp.Header.Get("WWW-Authenticate") == "" {
			t.Errorf("%s: got %+v, want 401 with a challenge", name, resp)
		}
	}
	if failed != len(headers) {
		t.Errorf("OnAuthFailure fired %d times, want %d", failed, len(headers))
	}
	if got := s.Stats().Refused[hub.RefusedAuth]; got != uint64(len(headers)) || s.ClientCount() != 0 {
		t.Errorf("refused %d with %d clients, want %d and none", got, s.ClientCount(), len(headers))
	}
}

func TestNoAuthenticatorAcceptsEveryone(t *testing.T) {
	s, came := users(t, hub.Config{})
	s.connect()
	if got := <-came; got != "" {
		t.Errorf("user %q, want none", got)
	}
}

func TestSeveralClientsEachHaveTheirUserID(t *testing.T) {
	s, came := users(t, hub.Config{Authenticator: auth.NewAPIKeyAuth(keys)})
	clients := map[string]*client{}
	for key, user := range keys {
		c, resp := s.dial(authorization("Bearer " + key))
		if c == nil {
			t.Fatalf("%s: status %d, want an upgrade", user, resp.StatusCode)
		}
		clients[user] = c
	}
	got := []string{<-came, <-came, <-came}
	slices.Sort(got)
	if want := []string{"ann", "bob", "cid"}; !slices.Equal(got, want) {
		t.Errorf("users %v, want %v", got, want)
	}
	for user, c := range clients {
		if _, err := s.SendToUser(t.Context(), user, hub.Message{Data: user}); err != nil {
			t.Fatal(err)
		}
		c.want(hub.TypeEvent, fmt.Sprintf("%q", user))
	}
}

func TestAFunctionIsAnAuthenticatorAndMayForbid(t *testing.T) {
	s, came := users(t, hub.Config{Authenticator: hub.AuthenticatorFunc(func(r *http.Request) hub.AuthResult {
		if r.Header.Get("X-User") == "" {
			return hub.AuthResult{Error: fmt.Errorf("stranger: %w", hub.ErrForbidden)}
		}
		return hub.AuthResult{Valid: true, UserID: r.Header.Get("X-User")}
	})})
	if c, resp := s.dial(nil); c != nil || resp.StatusCode != http.StatusForbidden {
		t.Errorf("got %+v, want 403", resp)
	}
	if c, resp := s.dial(http.Header{"X-User": {"eve"}}); c == nil {
		t.Errorf("status %d, want an upgrade", resp.StatusCode)
	} else if got := <-came; got != "eve" {
		t.Errorf("user %q, want eve", got)
	}
}

func TestAForeignPageIsRefusedOverSockets(t *testing.T) {
	s := serve(t, hub.Config{})
	for _, origin := range []string{"http://evil.example", "https://" + s.http.Listener.Addr().String(), "http://127.0.0.1:1"} {
		if c, resp := s.dial(http.Header{"Origin": {origin}}); c != nil || resp.StatusCode != http.StatusForbidden {
			t.Errorf("%s: got %+v, want 403", origin, resp)
		}
	}
	if c, resp := s.dial(http.Header{"Origin": {s.http.URL}}); c == nil {
		t.Errorf("own origin: status %d, want an upgrade", resp.StatusCode)
	}
}

func TestTLSAndWrappedWritersAreUpgraded(t *testing.T) {
	s := serve(t, hub.Config{}, func(h *httptest.Server) {
		h.TLS = nil
		next := h.Config.Handler
		h.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { next.ServeHTTP(wrapped{w}, r) })
	})
	s.connect().send(`{"type":"ping"}`)
	tls := serveTLS(t)
	c := tls.on("news")
	tls.send("news", "secret")
	c.want(hub.TypeEvent, `"secret"`)
	c.send(`{"type":"ping"}`)
	c.want(wire.TypePong, "")
}

// wrapped is what middleware does to a writer.
type wrapped struct{ w http.ResponseWriter }

func (w wrapped) Header() http.Header         { return w.w.Header() }
func (w wrapped) Write(p []byte) (int, error) { return w.w.Write(p) }
func (w wrapped) WriteHeader(status int)      { w.w.WriteHeader(status) }
func (w wrapped) Unwrap() http.ResponseWriter { return w.w }
