package auth_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"forge.lthn.ai/core/go-ws/auth"
	"forge.lthn.ai/core/go-ws/hub"
	"forge.lthn.ai/core/go-ws/hub/hubtest"
)

// request has the given Authorization headers.
func request(authorization ...string) *http.Request {
	r := httptest.NewRequest("GET", "/ws", nil)
	for _, v := range authorization {
		r.Header.Add("Authorization", v)
	}
	return r
}

func keys() *auth.APIKeyAuthenticator {
	return auth.NewAPIKeyAuth(map[string]string{"key-of-alice": "alice", "key-of-bob": "bob", "key-of-nobody": ""})
}

func TestAPIKeyAcceptsValidKey(t *testing.T) {
	for header, user := range map[string]string{
		"Bearer key-of-alice":    "alice",
		"Bearer key-of-bob":      "bob",
		"Bearer key-of-nobody":   "",
		"bearer key-of-alice":    "alice",
		"BEARER key-of-alice":    "alice",
		"bEaReR   key-of-alice":  "alice",
		"Bearer      key-of-bob": "bob",
	} {
		got := keys().Authenticate(request(header))
		if !got.Valid || got.UserID != user || got.Error != nil || got.Challenge != "" || !got.ExpiresAt.IsZero() {
			t.Errorf("%q: got %+v, want user %q", header, got, user)
		}
	}
}

func TestAPIKeyRefusesInvalidKey(t *testing.T) {
	for _, key := range []string{"wrong", "KEY-OF-ALICE", "key-of-alic", "key-of-alicee", "alice"} {
		refused(t, keys(), request("Bearer "+key), auth.ErrInvalid, `Bearer error="invalid_token"`)
	}
}

func TestAPIKeyRefusesMissingHeader(t *testing.T) {
	refused(t, keys(), request(), auth.ErrNoCredentials, "Bearer")
	refused(t, keys(), &http.Request{}, auth.ErrNoCredentials, "Bearer")
}

// malformed are Authorization headers without a usable bearer token.
var malformed = map[string][]string{
	"empty":                  {""},
	"scheme without a token": {"Bearer"},
	"only spaces behind it":  {"Bearer   "},
	"no space":               {"Bearerkey-of-alice"},
	"tab for a space":        {"Bearer\tkey-of-alice"},
	"wrong scheme":           {"Basic key-of-alice"},
	"no scheme":              {"key-of-alice"},
	"space before the scheme": {
		" Bearer key-of-alice"},
	"space behind the key":  {"Bearer key-of-alice "},
	"two tokens":            {"Bearer key-of-alice key-of-alice"},
	"joined by a proxy":     {"Bearer key-of-alice, Bearer key-of-bob"},
	"two headers":           {"Bearer key-of-alice", "Bearer key-of-alice"},
	"nul":                   {"Bearer key-of-alice\x00"},
	"newline":               {"Bearer key-of-alice\r\nX: y"},
	"delete character":      {"Bearer key-of-alice\x7f"},
	"not ASCII":             {"Bearer key-of-älice"},
	"far too long":          {"Bearer key-of-alice" + strings.Repeat("x", auth.MaxToken)},
	"scheme that looks so":  {"Веarer key-of-alice"},
	"scheme far too long":   {strings.Repeat("Bearer", 1<<20)},
	"nothing but separator": {" "},
}

func TestAPIKeyRefusesMalformedHeader(t *testing.T) {
	for name, headers := range malformed {
		t.Run(name, func(t *testing.T) {
			refused(t, keys(), request(headers...), auth.ErrMalformed, `Bearer error="invalid_request"`)
		})
	}
}

// refused checks a refusal, and that it does not tell the key.
func refused(t *testing.T, a hub.Authenticator, r *http.Request, want error, challenge string) {
	t.Helper()
	got := a.Authenticate(r)
	if got.Valid || got.UserID != "" || !errors.Is(got.Error, want) || got.Challenge != challenge {
		t.Errorf("got %+v, want a refusal for %q with the challenge %q", got, want, challenge)
	}
	if got.Error == nil || strings.Contains(got.Error.Error(), "key-of") || strings.Contains(got.Error.Error(), "secret") {
		t.Errorf("got the error %v, want one without the credential", got.Error)
	}
}

func TestAPIKeyTakesTheLongestKey(t *testing.T) {
	key := strings.Repeat("k", auth.MaxToken)
	a := auth.NewAPIKeyAuth(map[string]string{key: "alice"})
	if got := a.Authenticate(request("Bearer " + key)); !got.Valid {
		t.Errorf("got %+v, want a key of %d bytes accepted", got, auth.MaxToken)
	}
	refused(t, auth.NewAPIKeyAuth(map[string]string{key + "k": "alice"}), request("Bearer "+key+"k"),
		auth.ErrMalformed, `Bearer error="invalid_request"`)
}

func TestAPIKeyNeverAcceptsAnEmptyKey(t *testing.T) {
	a := auth.NewAPIKeyAuth(map[string]string{"": "ghost"})
	for _, h := range []string{"Bearer", "Bearer ", ""} {
		refused(t, a, request(h), auth.ErrMalformed, `Bearer error="invalid_request"`)
	}
	refused(t, a, request(), auth.ErrNoCredentials, "Bearer")
}

func TestAPIKeyConstructorCopiesTheMap(t *testing.T) {
	m := map[string]string{"key-of-alice": "alice"}
	a := auth.NewAPIKeyAuth(m)
	delete(m, "key-of-alice")
	m["key-of-eve"] = "eve"
	if got := a.Authenticate(request("Bearer key-of-alice")); got.UserID != "alice" {
		t.Errorf("got %+v, want alice: the map was copied", got)
	}
	refused(t, a, request("Bearer key-of-eve"), auth.ErrInvalid, `Bearer error="invalid_token"`)
}

func TestAPIKeyLiteralWorks(t *testing.T) {
	a := &auth.APIKeyAuthenticator{Keys: map[string]string{"key-of-alice": "alice"}}
	if got := a.Authenticate(request("Bearer key-of-alice")); got.UserID != "alice" {
		t.Errorf("got %+v, want alice", got)
	}
	refused(t, &auth.APIKeyAuthenticator{}, request("Bearer key-of-alice"), auth.ErrInvalid, `Bearer error="invalid_token"`)
}

func TestAPIKeyRefusesWhenTheContextIsOver(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	refused(t, keys(), request("Bearer key-of-alice").WithContext(ctx), context.Canceled, `Bearer error="invalid_token"`)
}

func TestAPIKeyConformance(t *testing.T) {
	hubtest.TestAuthenticator(t, keys(),
		hubtest.AuthenticatorCase{Name: "alice", Request: request("Bearer key-of-alice"), Valid: true, UserID: "alice"},
		hubtest.AuthenticatorCase{Name: "bob", Request: request("bearer key-of-bob"), Valid: true, UserID: "bob"},
		hubtest.AuthenticatorCase{Name: "stranger", Request: request("Bearer key-of-eve")},
		hubtest.AuthenticatorCase{Name: "nobody", Request: request()},
	)
}

func BenchmarkAPIKey(b *testing.B) {
	r := request("Bearer key-of-alice")
	a := keys()
	b.ReportAllocs()
	for b.Loop() {
		if !a.Authenticate(r).Valid {
			b.Fatal("refused")
		}
	}
}
