package hub_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"forge.lthn.ai/core/go-ws/hub"
	"forge.lthn.ai/core/go-ws/hub/wire"
)

// userFromQuery believes whoever says who they are.
var userFromQuery = hub.AuthenticatorFunc(func(r *http.Request) hub.AuthResult {
	user := r.URL.Query().Get("user")
	if user == "" {
		return hub.AuthResult{Error: errors.New("no user")}
	}
	return hub.AuthResult{Valid: true, UserID: user, Claims: map[string]any{"name": user}}
})

// as is the request of a user.
func as(user string) *http.Request {
	r := request()
	r.URL.RawQuery = "user=" + user
	return r
}

// refused dials and fails unless the answer is the status.
func (w *world) refused(r *http.Request, status int) http.Header {
	w.t.Helper()
	p, resp := w.transport.Dial(w.Handler(), r)
	if p != nil {
		w.t.Fatalf("upgraded, want status %d", status)
	}
	if resp.Status != status {
		w.t.Fatalf("status %d %s, want %d", resp.Status, resp.Body, status)
	}
	return resp.Header
}

func TestAuthenticatorDecidesBeforeTheUpgrade(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var failures []string
		w := start(t, hub.Config{
			Authenticator: userFromQuery,
			OnAuthFailure: func(r *http.Request, result hub.AuthResult) {
				failures = append(failures, fmt.Sprintln(r.URL.Path, result.Valid, result.Error))
			},
			OnConnect: func(_ context.Context, c *hub.Client) error {
				if c.UserID() != "ann" || c.Claims()["name"] != "ann" {
					t.Errorf("in OnConnect: user %q, claims %v, want ann's", c.UserID(), c.Claims())
				}
				return nil
			},
		})
		if h := w.refused(request(), http.StatusUnauthorized); h.Get("WWW-Authenticate") != "Bearer" {
			t.Errorf("WWW-Authenticate %q, want Bearer", h.Get("WWW-Authenticate"))
		}
		if len(failures) != 1 || failures[0] != "/ws false no user\n" {
			t.Errorf("OnAuthFailure saw %v", failures)
		}
		w.connectAs(as("ann"))
		if n := w.ClientCount(); n != 1 {
			t.Errorf("%d clients, want 1", n)
		}
	})
}

func TestRefusalsMayBe403OrAChallengeOfTheirOwn(t *testing.T) {
	bubble(t, func(t *testing.T) {
		results := map[string]hub.AuthResult{
			"forbidden":  {Error: fmt.Errorf("banned: %w", hub.ErrForbidden)},
			"basic":      {Challenge: `Basic realm="x"`},
			"expired":    {Valid: true, UserID: "x", ExpiresAt: time.Now()},
			"long":       {Valid: true, UserID: repeat("x", 600)},
			"unreadable": {Valid: true, UserID: "\xff"},
		}
		w := start(t, hub.Config{Authenticator: hub.AuthenticatorFunc(func(r *http.Request) hub.AuthResult {
			result, ok := results[r.URL.Query().Get("user")]
			if !ok {
				panic("authenticator")
			}
			return result
		})})
		w.refused(as("forbidden"), http.StatusForbidden)
		if h := w.refused(as("basic"), http.StatusUnauthorized); h.Get("WWW-Authenticate") != `Basic realm="x"` {
			t.Errorf("WWW-Authenticate %q, want the Authenticator's", h.Get("WWW-Authenticate"))
		}
		w.refused(as("expired"), http.StatusUnauthorized)
		w.refused(as("long"), http.StatusUnauthorized)
		w.refused(as("unreadable"), http.StatusUnauthorized)
		w.refused(as("panics"), http.StatusUnauthorized)
		if s := w.Stats(); s.Panics != 1 || s.Refused[hub.RefusedAuth] != 6 || s.Clients != 0 {
			t.Errorf("Stats %+v, want one panic and six refusals", s)
		}
	})
}

func TestNilAuthenticatorAcceptsEveryone(t *testing.T) {
	bubble(t, func(t *testing.T) {
		clients := make(chan *hub.Client, 1)
		w := start(t, hub.Config{OnConnect: func(_ context.Context, c *hub.Client) error { clients <- c; return nil }})
		w.connect()
		if c := <-clients; c.UserID() != "" || c.Claims() != nil {
			t.Errorf("user %q, claims %v, want none", c.UserID(), c.Claims())
		}
	})
}

func TestASlowAuthenticatorIsBoundedByHandshakeTimeout(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := start(t, hub.Config{
			HandshakeTimeout: 3 * time.Second,
			Authenticator: hub.AuthenticatorFunc(func(r *http.Request) hub.AuthResult {
				<-r.Context().Done()
				return hub.AuthResult{Valid: r.URL.Query().Get("user") == "ann", Error: r.Context().Err()}
			}),
		})
		// Whether it would have let the client in or not, nobody can say.
		for _, user := range []string{"ann", "bob"} {
			began := time.Now()
			w.refused(as(user), http.StatusServiceUnavailable)
			if took := time.Since(began); took != 3*time.Second {
				t.Errorf("took %v, want 3s", took)
			}
		}
	})
}

func TestAThousandUnfinishedHandshakesKeepNobodyOut(t *testing.T) {
	bubble(t, func(t *testing.T) {
		release := make(chan struct{})
		w := start(t, hub.Config{
			MaxHandshakes: 1002,
			Authenticator: hub.AuthenticatorFunc(func(r *http.Request) hub.AuthResult {
				if r.URL.Query().Get("user") == "slow" {
					<-release
				}
				return hub.AuthResult{Valid: true}
			}),
		})
		var wg sync.WaitGroup
		dial := func() { wg.Go(func() { w.transport.Dial(w.Handler(), as("slow")) }) }
		for range 1000 {
			dial()
		}
		synctest.Wait()
		if n := w.Stats().Handshakes; n != 1000 {
			t.Fatalf("%d handshakes under way, want 1000", n)
		}
		w.connectAs(as("quick"))
		dial()
		dial()
		synctest.Wait()
		w.refused(as("quick"), http.StatusServiceUnavailable)
		close(release)
		wg.Wait()
		w.connectAs(as("quick"))
	})
}

func TestClientLimitsAnswerWithTheirName(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := start(t, hub.Config{
			Authenticator: userFromQuery, MaxClients: 4, MaxClientsPerUser: 2, MaxClientsPerAddress: 3,
		})
		from := func(user, address string) *http.Request {
			r := as(user)
			r.RemoteAddr = netip.AddrPortFrom(netip.MustParseAddr(address), 1234).String()
			return r
		}
		w.connectAs(from("ann", "192.0.2.1"))
		leaver := w.connectAs(from("ann", "192.0.2.1"))
		if h := w.refused(from("ann", "192.0.2.9"), http.StatusTooManyRequests); h.Get("Retry-After") == "" {
			t.Error("429 without Retry-After")
		}
		w.connectAs(from("bob", "192.0.2.1"))
		w.refused(from("cid", "192.0.2.1"), http.StatusTooManyRequests)
		w.connectAs(from("cid", "2001:db8::1"))
		w.refused(from("dan", "2001:db8:1::1"), http.StatusServiceUnavailable)
		leaver.Cut()
		synctest.Wait()
		w.connectAs(from("ann", "2001:db8::2"))
		s := w.Stats()
		if s.Refused[hub.RefusedUserClients] != 1 || s.Refused[hub.RefusedAddressClients] != 1 || s.Refused[hub.RefusedClients] != 1 {
			t.Errorf("Refused %v, want one of each limit", s.Refused)
		}
	})
}

func TestAForeignOriginAnswers403(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var asked atomic.Bool
		w := start(t, hub.Config{
			AllowedOrigins: []string{"https://*.friend.example"},
			Authenticator: hub.AuthenticatorFunc(func(*http.Request) hub.AuthResult {
				asked.Store(true)
				return hub.AuthResult{Valid: true}
			}),
		})
		from := func(origin string) *http.Request {
			r := request()
			r.Header.Set("Origin", origin)
			return r
		}
		for _, origin := range []string{"https://example.com", "http://example.com:81", "http://evil.example", "null", "https://friend.example"} {
			w.refused(from(origin), http.StatusForbidden)
		}
		if asked.Load() {
			t.Error("the Authenticator was asked about a foreign page's request")
		}
		w.connectAs(from("http://example.com"))
		w.connectAs(from("https://a.friend.example"))
	})
}

func TestAnUpgradeThatFailsAnswersWithAnErrorAndLeavesNothing(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := start(t, hub.Config{MaxClients: 1})
		w.transport.FailAccept(errors.New("no"))
		for range 3 {
			w.refused(request(), http.StatusInternalServerError)
		}
		w.transport.FailAccept(nil)
		w.connect()
		if n := w.Stats().Refused[hub.RefusedUpgrade]; n != 3 {
			t.Errorf("Refused[upgrade] %d, want 3", n)
		}
	})
}

func TestExpiredCredentialsCloseTheClient(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := start(t, hub.Config{Authenticator: hub.AuthenticatorFunc(func(*http.Request) hub.AuthResult {
			return hub.AuthResult{Valid: true, ExpiresAt: time.Now().Add(10 * time.Minute)}
		})})
		began := time.Now()
		p := w.connect()
		p.wantClosed(wire.CloseCredentialsExpired)
		if took := time.Since(began); took < 10*time.Minute || took > 10*time.Minute+2*time.Second {
			t.Errorf("closed after %v, want 10m and at most two ticks more", took)
		}
		synctest.Wait()
		if n := w.Stats().Disconnected[hub.DisconnectedExpired]; n != 1 {
			t.Errorf("Disconnected[expired] %d, want 1", n)
		}
	})
}

func TestSubprotocolIsNegotiated(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := start(t, hub.Config{})
		r := request()
		r.Header.Set("Sec-WebSocket-Protocol", "other, "+hub.Subprotocol)
		if got := w.connectAs(r).Subprotocol(); got != hub.Subprotocol {
			t.Errorf("subprotocol %q, want %q", got, hub.Subprotocol)
		}
		if got := w.connect().Subprotocol(); got != "" {
			t.Errorf("subprotocol %q, want none", got)
		}
	})
}
