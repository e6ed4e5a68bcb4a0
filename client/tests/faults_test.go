package tests

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"forge.lthn.ai/core/go-ws/backplane/tests/netfault"
	"forge.lthn.ai/core/go-ws/client"
	"forge.lthn.ai/core/go-ws/hub"
	"forge.lthn.ai/core/go-ws/hub/wire"
)

func TestAConnectionThatIsCutIsComeBackFrom(t *testing.T) {
	s := serve(t, hub.Config{})
	way := proxyTo(t, s.addr)
	u := connected(t, quick(way.Addr()))
	u.join("news")
	for name, cut := range map[string]func() int{"ended": way.Cut, "reset": way.Reset} {
		if got := cut(); got != 1 {
			t.Fatalf("%s: got %d connections, want 1", name, got)
		}
		u.comesBack()
		u.live("news")
		s.publish(t, "news", name)
		u.wantText("news", name)
		if closed, ok := errors.AsType[*client.CloseError](take(t, "OnDisconnect", u.lost)); !ok || closed.Code != wire.CloseAbnormal {
			t.Errorf("%s: OnDisconnect got %v, want the code 1006", name, closed)
		}
	}
}

func TestAConnectionThatFreezesIsNoticed(t *testing.T) {
	s := serve(t, hub.Config{})
	way := proxyTo(t, s.addr)
	cfg := quick(way.Addr())
	cfg.PingInterval, cfg.PongTimeout, cfg.HandshakeTimeout = 50*time.Millisecond, 500*time.Millisecond, 500*time.Millisecond
	u := connected(t, cfg)
	u.join("news")
	way.Freeze(netfault.Swallow)
	for !errors.Is(take(t, "ErrPongTimeout", u.lost), client.ErrPongTimeout) {
		continue // a machine that is too slow to answer in time looks the same
	}
	way.Thaw()
	u.comesBack()
	u.live("news")
	s.publish(t, "news", "thawed")
	u.wantText("news", "thawed")
}

func TestConnectionsThatAreRefusedAreTriedAgain(t *testing.T) {
	s := serve(t, hub.Config{})
	way := proxyTo(t, s.addr)
	way.RefuseNew(true)
	u := newUser(t, quick(way.Addr()))
	done := make(chan struct{})
	go func() {
		defer close(done)
		u.connect()
	}()
	for range 3 {
		take(t, "an attempt that fails", u.errs)
	}
	way.RefuseNew(false)
	take(t, "Connect", done)
	u.join("news")
}

func TestNobodyListening(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := listener.Addr().String()
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	cfg := quick(addr)
	cfg.MaxRetries = 3
	if err := newUser(t, cfg).Run(t.Context()); !errors.Is(err, client.ErrTooManyRetries) {
		t.Errorf("Run: got %v, want ErrTooManyRetries", err)
	}
}

func TestAHandshakeThatIsNeverAnsweredIsGivenUp(t *testing.T) {
	s := serve(t, hub.Config{})
	way := proxyTo(t, s.addr)
	way.Freeze(netfault.Hold)
	cfg := quick(way.Addr())
	cfg.HandshakeTimeout = 200 * time.Millisecond
	u := newUser(t, cfg)
	connecting := make(chan error, 1)
	go func() { connecting <- u.Connect(t.Context()) }()
	if err := take(t, "an attempt that fails", u.errs); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("OnError: got %v, want deadline exceeded", err)
	}
	way.Thaw()
	if err := take(t, "Connect", connecting); err != nil {
		t.Errorf("Connect: got %v, want nil", err)
	}
}

func TestWhatTheHubAnswersTheUpgradeWithDecides(t *testing.T) {
	var status atomic.Int64
	s := serve(t, hub.Config{Authenticator: hub.AuthenticatorFunc(func(r *http.Request) hub.AuthResult {
		switch status.Load() {
		case 403:
			return hub.AuthResult{Error: hub.ErrForbidden}
		case 503:
			return hub.AuthResult{Error: hub.ErrUnavailable}
		}
		if r.Header.Get("Authorization") != "Bearer good" {
			return hub.AuthResult{}
		}
		return hub.AuthResult{Valid: true, UserID: "ann"}
	})})

	t.Run("401 without Credentials ends the client", func(t *testing.T) {
		err := newUser(t, quick(s.addr)).Run(t.Context())
		if e, ok := errors.AsType[*client.StatusError](err); !ok || e.Status != 401 || !errors.Is(err, client.ErrRefused) || !strings.Contains(e.Cause, "auth") {
			t.Errorf("Run: got %v, want 401 and ErrRefused", err)
		}
	})
	t.Run("401 fetches new ones", func(t *testing.T) {
		cfg := quick(s.addr)
		var calls atomic.Int64
		cfg.Credentials = func(_ context.Context, last error) (client.Credentials, error) {
			token := "old"
			if e, ok := errors.AsType[*client.StatusError](last); ok && e.Status == 401 {
				token = "good"
			}
			calls.Add(1)
			return client.Credentials{Header: http.Header{"Authorization": {"Bearer " + token}}}, nil
		}
		connected(t, cfg)
		if got := calls.Load(); got != 2 {
			t.Errorf("Credentials: got %d calls, want 2", got)
		}
	})
	t.Run("403 ends the client", func(t *testing.T) {
		status.Store(403)
		err := newUser(t, quick(s.addr)).Run(t.Context())
		if e, ok := errors.AsType[*client.StatusError](err); !ok || e.Status != 403 || !errors.Is(err, client.ErrRefused) {
			t.Errorf("Run: got %v, want 403 and ErrRefused", err)
		}
	})
	t.Run("503 is waited for", func(t *testing.T) {
		status.Store(503)
		cfg := quick(s.addr)
		cfg.MaxServerDelay = 10 * time.Millisecond // of Retry-After's seconds
		cfg.Header = http.Header{"Authorization": {"Bearer good"}}
		u := newUser(t, cfg)
		connecting := make(chan error, 1)
		go func() { connecting <- u.Connect(t.Context()) }()
		for range 3 {
			if e, ok := errors.AsType[*client.StatusError](take(t, "an attempt that fails", u.errs)); !ok || e.Status != 503 || e.RetryAfter == 0 {
				t.Errorf("OnError: got %+v, want 503 with Retry-After", e)
			}
		}
		status.Store(0)
		if err := take(t, "Connect", connecting); err != nil {
			t.Errorf("Connect: got %v, want nil", err)
		}
	})
}

func TestAHubThatShutsDownIsLeftAndItsHintObeyed(t *testing.T) {
	s := serve(t, hub.Config{})
	next := serve(t, hub.Config{})
	way := proxyTo(t, s.addr)
	u := connected(t, quick(way.Addr()))
	u.join("news")
	way.SetTarget(next.addr)
	if err := s.Shutdown(t.Context()); err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	closed, ok := errors.AsType[*client.CloseError](take(t, "OnDisconnect", u.lost))
	if !ok || closed.Code != wire.CloseServiceRestart || !strings.Contains(closed.Reason, "reconnectAfterMs") {
		t.Errorf("OnDisconnect: got %v, want 1012 with a hint", closed)
	}
	u.comesBack()
	u.live("news")
	next.publish(t, "news", "elsewhere")
	u.wantText("news", "elsewhere")
}

func TestAUserWhoIsThrownOutStaysAway(t *testing.T) {
	s := serve(t, hub.Config{Authenticator: hub.AuthenticatorFunc(func(*http.Request) hub.AuthResult {
		return hub.AuthResult{Valid: true, UserID: "ann"}
	})})
	u := connected(t, quick(s.addr))
	u.join("news") // the hub knows the client by now
	if _, err := s.DisconnectUser(t.Context(), "ann", 4500, "banned"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), hang)
	defer cancel()
	err := u.Wait(ctx)
	if closed, ok := errors.AsType[*client.CloseError](err); !ok || !errors.Is(err, client.ErrRefused) || closed.Code != 4500 || closed.Reason != "banned" {
		t.Errorf("Wait: got %v, want ErrRefused, 4500 and the reason", err)
	}
}

func TestARealHubAnswersRequestsAndRefusals(t *testing.T) {
	s := serve(t, hub.Config{
		OnSubscribe: func(_ context.Context, _ *hub.Client, channel string) error {
			if channel == "secret" {
				return &hub.RequestError{Code: wire.ErrorForbidden, Message: "members only"}
			}
			return nil
		},
		OnMessage: func(_ context.Context, _ *hub.Client, f wire.Frame) (*hub.Message, error) {
			if f.Type != "echo" {
				return nil, &hub.RequestError{Code: wire.ErrorUnknownType, Message: "only echo"}
			}
			return &hub.Message{Data: f.Data}, nil
		},
	})
	u := connected(t, quick(s.addr))
	ctx, cancel := context.WithTimeout(t.Context(), hang)
	defer cancel()
	if f, err := u.Request(ctx, client.Message{Type: "echo", Data: 7}); err != nil || string(f.Data) != "7" {
		t.Errorf("echo: got %s, %v, want 7", f.Data, err)
	}
	if _, err := u.Request(ctx, client.Message{Type: "shout"}); err == nil {
		t.Error("shout: got nil, want an error")
	} else if e, ok := errors.AsType[*client.RequestError](err); !ok || e.Code != wire.ErrorUnknownType {
		t.Errorf("shout: got %v, want unknown_type", err)
	}
	if f, err := u.Request(ctx, client.Message{Type: wire.TypePing}); err != nil || f.Type != wire.TypePong {
		t.Errorf("ping: got %v, %v, want pong", f.Type, err)
	}
	refused := make(chan error, 1)
	if err := u.Subscribe("secret", func(_ context.Context, d client.Delivery) { refused <- d.Err }); err != nil {
		t.Fatal(err)
	}
	if e, ok := errors.AsType[*client.RequestError](take(t, "the refusal", refused)); !ok || e.Code != wire.ErrorForbidden {
		t.Errorf("a refused subscription: got %v, want forbidden", e)
	}
}

// TestAsManyChannelsAsAllowedComeBack is within the hub's default limits.
func TestAsManyChannelsAsAllowedComeBack(t *testing.T) {
	s := serve(t, hub.Config{})
	way := proxyTo(t, s.addr)
	u := newUser(t, quick(way.Addr()))
	live := make(chan string, 10_000)
	for i := range 1000 {
		name := "channel-" + string(rune('0'+i/100)) + string(rune('0'+i/10%10)) + string(rune('0'+i%10))
		if err := u.Subscribe(name, func(_ context.Context, d client.Delivery) {
			if d.Err != nil || d.Type != wire.TypeSubscribed {
				t.Errorf("%s: got %v, %v, want subscribed", name, d.Type, d.Err)
			}
			live <- name
		}); err != nil {
			t.Fatal(err)
		}
	}
	u.connect()
	for range 3 {
		seen := map[string]bool{}
		for range 1000 {
			seen[take(t, "a subscription", live)] = true
		}
		if len(seen) != 1000 {
			t.Errorf("got %d channels, want 1000", len(seen))
		}
		way.Cut()
		u.comesBack()
	}
}

// TestTheSubprotocolIsTheHubs guards the one constant that the client has for
// itself, so that it need not import the hub.
func TestTheSubprotocolIsTheHubs(t *testing.T) {
	got := make(chan string, 1)
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got <- r.Header.Get("Sec-WebSocket-Protocol")
		w.WriteHeader(http.StatusForbidden)
	}))
	defer web.Close()
	if err := newUser(t, quick(web.Listener.Addr().String())).Run(t.Context()); !errors.Is(err, client.ErrRefused) {
		t.Errorf("Run: got %v, want ErrRefused", err)
	}
	if sub := take(t, "an attempt", got); sub != hub.Subprotocol {
		t.Errorf("subprotocol: got %q, want %q", sub, hub.Subprotocol)
	}
}
