package auth_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"forge.lthn.ai/core/go-ws/auth"
	"forge.lthn.ai/core/go-ws/hub"
	"forge.lthn.ai/core/go-ws/hub/hubtest"
)

var expiry = time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)

// validate knows two tokens.
func validate(ctx context.Context, token string) hub.AuthResult {
	switch token {
	case "secret-of-alice":
		return hub.AuthResult{Valid: true, UserID: "alice", Claims: map[string]any{"role": "admin"}, ExpiresAt: expiry}
	case "secret-of-mallory":
		return hub.AuthResult{Error: fmt.Errorf("banned: %w", hub.ErrForbidden)}
	case "secret-of-nobody":
		return hub.AuthResult{Challenge: `Bearer realm="mine"`}
	}
	return hub.AuthResult{}
}

func withQuery(q string) *http.Request { return httptest.NewRequest("GET", "/ws?"+q, nil) }

func withCookies(cookies string) *http.Request {
	r := httptest.NewRequest("GET", "/ws", nil)
	r.Header.Set("Cookie", cookies)
	return r
}

// kinds are the authenticators that take a function, and how a request carries
// a token for each.
var kinds = map[string]struct {
	a    hub.Authenticator
	with func(token string) *http.Request
}{
	"bearer": {auth.NewBearer(validate), func(token string) *http.Request { return request("Bearer " + token) }},
	"query":  {auth.NewQueryToken("token", validate), func(token string) *http.Request { return withQuery("token=" + token) }},
	"cookie": {auth.NewCookie("session", validate), func(token string) *http.Request { return withCookies("a=b; session=" + token) }},
}

func TestTokenResultIsTheFunctions(t *testing.T) {
	for name, k := range kinds {
		got := k.a.Authenticate(k.with("secret-of-alice"))
		want := hub.AuthResult{Valid: true, UserID: "alice", Claims: map[string]any{"role": "admin"}, ExpiresAt: expiry}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %+v, want %+v", name, got, want)
		}
		got = k.a.Authenticate(k.with("secret-of-mallory"))
		if got.Valid || !errors.Is(got.Error, hub.ErrForbidden) {
			t.Errorf("%s: got %+v, want forbidden", name, got)
		}
		got = k.a.Authenticate(k.with("secret-of-eve"))
		if got.Valid || !errors.Is(got.Error, auth.ErrInvalid) {
			t.Errorf("%s: got %+v, want an invalid token", name, got)
		}
		got = k.a.Authenticate(k.with("secret-of-nobody"))
		if got.Challenge != `Bearer realm="mine"` {
			t.Errorf("%s: got the challenge %q, want the function's", name, got.Challenge)
		}
	}
}

func TestTokenConformance(t *testing.T) {
	for name, k := range kinds {
		t.Run(name, func(t *testing.T) {
			hubtest.TestAuthenticator(t, k.a,
				hubtest.AuthenticatorCase{Name: "alice", Request: k.with("secret-of-alice"), Valid: true, UserID: "alice"},
				hubtest.AuthenticatorCase{Name: "mallory", Request: k.with("secret-of-mallory"), Forbidden: true},
				hubtest.AuthenticatorCase{Name: "eve", Request: k.with("secret-of-eve")},
				hubtest.AuthenticatorCase{Name: "nobody", Request: request()},
			)
		})
	}
}

func TestBearerRefusesMalformedHeader(t *testing.T) {
	for name, headers := range malformed {
		t.Run(name, func(t *testing.T) {
			refused(t, auth.NewBearer(never(t)), request(headers...), auth.ErrMalformed, `Bearer error="invalid_request"`)
		})
	}
	refused(t, auth.NewBearer(never(t)), request(), auth.ErrNoCredentials, "Bearer")
}

// never is a function that must not be asked.
func never(t *testing.T) auth.ValidateFunc {
	return func(context.Context, string) hub.AuthResult {
		t.Error("the function was asked")
		return hub.AuthResult{Valid: true}
	}
}

func TestQueryTokenRefusesWhatIsNoToken(t *testing.T) {
	a := auth.NewQueryToken("token", never(t))
	for query, want := range map[string]error{
		"":                    auth.ErrNoCredentials,
		"other=secret":        auth.ErrNoCredentials,
		"Token=secret":        auth.ErrNoCredentials,
		"token":               auth.ErrMalformed,
		"token=":              auth.ErrMalformed,
		"token=secret%20x":    auth.ErrMalformed,
		"token=secret%00":     auth.ErrMalformed,
		"token=secret%C3%A4":  auth.ErrMalformed,
		"token=secret%zz":     auth.ErrMalformed,
		"token=secret;a=b":    auth.ErrMalformed,
		"token=secret&token=": auth.ErrMalformed,
		"token=" + strings.Repeat("secret", auth.MaxToken): auth.ErrMalformed,
	} {
		r := httptest.NewRequest("GET", "/ws", nil)
		r.URL.RawQuery = query
		refused(t, a, r, want, "")
	}
	refused(t, a, &http.Request{}, auth.ErrNoCredentials, "")
}

func TestQueryTokenErrorHasNoPieceOfTheToken(t *testing.T) {
	r := httptest.NewRequest("GET", "/ws", nil)
	r.URL.RawQuery = "token=%q9x" // package url names the faulty escape
	got := auth.NewQueryToken("token", never(t)).Authenticate(r)
	if !errors.Is(got.Error, auth.ErrMalformed) || strings.Contains(got.Error.Error(), "q9") {
		t.Errorf("got %v, want a malformed query and no piece of it", got.Error)
	}
}

func TestCookieRefusesWhatIsNoToken(t *testing.T) {
	a := auth.NewCookie("session", never(t))
	for cookies, want := range map[string]error{
		"":                                auth.ErrNoCredentials,
		"other=secret":                    auth.ErrNoCredentials,
		"session=":                        auth.ErrMalformed,
		"session=secret; session=secret2": auth.ErrMalformed,
		"session=" + strings.Repeat("secret", auth.MaxToken): auth.ErrMalformed,
	} {
		refused(t, a, withCookies(cookies), want, "")
	}
	refused(t, a, &http.Request{}, auth.ErrNoCredentials, "")
}

func TestTokenFunctionGetsTheRequestsContext(t *testing.T) {
	type key struct{}
	for name, k := range map[string]func(auth.ValidateFunc) hub.Authenticator{
		"bearer": auth.NewBearer,
		"query":  func(f auth.ValidateFunc) hub.Authenticator { return auth.NewQueryToken("token", f) },
		"cookie": func(f auth.ValidateFunc) hub.Authenticator { return auth.NewCookie("session", f) },
	} {
		asked := 0
		a := k(func(ctx context.Context, token string) hub.AuthResult {
			if asked++; ctx.Value(key{}) != "mine" || token != "t" {
				t.Errorf("%s: got token %q and a context with %v, want t and the request's", name, token, ctx.Value(key{}))
			}
			return hub.AuthResult{Valid: true}
		})
		ctx, cancel := context.WithCancel(context.WithValue(t.Context(), key{}, "mine"))
		r := kinds[name].with("t").WithContext(ctx)
		if got := a.Authenticate(r); !got.Valid || asked != 1 {
			t.Errorf("%s: got %+v after %d calls, want valid after 1", name, got, asked)
		}
		cancel()
		if got := a.Authenticate(r); got.Valid || !errors.Is(got.Error, context.Canceled) || asked != 1 {
			t.Errorf("%s: got %+v after %d calls, want the context's error and no second call", name, got, asked)
		}
	}
}

func TestConstructorsPanicOnWhatCannotWork(t *testing.T) {
	for name, f := range map[string]func(){
		"bearer":       func() { auth.NewBearer(nil) },
		"query":        func() { auth.NewQueryToken("token", nil) },
		"query, name":  func() { auth.NewQueryToken("", validate) },
		"cookie":       func() { auth.NewCookie("session", nil) },
		"cookie, name": func() { auth.NewCookie("", validate) },
		"first of":     func() { auth.NewFirstOf(nil) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: got no panic", name)
				}
			}()
			f()
		}()
	}
}

func FuzzBearerHeader(f *testing.F) {
	for _, headers := range malformed {
		f.Add(headers[0])
	}
	f.Add("Bearer secret-of-alice")
	f.Fuzz(func(t *testing.T, header string) {
		var token string
		a := auth.NewBearer(func(_ context.Context, s string) hub.AuthResult {
			token = s
			return hub.AuthResult{Valid: true}
		})
		got := a.Authenticate(request(header))
		if !got.Valid {
			if !errors.Is(got.Error, auth.ErrMalformed) || got.Challenge == "" {
				t.Errorf("got %+v, want a malformed header with a challenge", got)
			}
			return
		}
		if token == "" || len(token) > auth.MaxToken || strings.ContainsFunc(token, func(c rune) bool { return c <= ' ' || c > '~' }) {
			t.Errorf("got the token %q, want a clean one", token)
		}
		if scheme := header[:len(header)-len(token)]; !strings.EqualFold(strings.TrimRight(scheme, " "), "Bearer") || !strings.HasSuffix(scheme, " ") {
			t.Errorf("got a token behind %q, want Bearer and spaces", scheme)
		}
	})
}
