package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"forge.lthn.ai/core/go-ws/examples/internal/probe"
	"forge.lthn.ai/core/go-ws/hub"
)

// sign makes a token of any claims, with any method and key.
func sign(t *testing.T, method jwt.SigningMethod, key any, change func(*claims)) string {
	t.Helper()
	c := claims{
		RegisteredClaims: jwt.RegisteredClaims{
			Issuer: issuer, Audience: jwt.ClaimStrings{audience}, Subject: "ann",
			ExpiresAt: jwt.NewNumericDate(time.Now().Add(time.Hour)),
		},
		Scopes: []string{scope},
	}
	change(&c)
	token, err := jwt.NewWithClaims(method, c).SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func request(header, value string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, "/ws", nil)
	if header != "" {
		r.Header.Set(header, value)
	}
	return r
}

func TestGoodTokensAreAdmitted(t *testing.T) {
	tokens := newTokens(time.Hour)
	token, expires, err := tokens.mint("ann", scope)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range []*http.Request{
		request("Authorization", "Bearer "+token),
		request("Authorization", "bearer "+token),
		request("Cookie", "token="+token),
	} {
		result := tokens.Authenticate(r)
		if !result.Valid || result.UserID != "ann" || result.Error != nil {
			t.Errorf("%v: got %+v, want ann admitted", r.Header, result)
		}
		if got, want := result.ExpiresAt, expires.Truncate(time.Second); !got.Equal(want) {
			t.Errorf("ExpiresAt: got %v, want %v", got, want)
		}
	}
}

func TestTokensThatProveNothingAreRefused(t *testing.T) {
	tokens := newTokens(time.Hour)
	hs256, same := jwt.SigningMethodHS256, func(*claims) {}
	good := sign(t, hs256, tokens.key, same)
	for name, r := range map[string]*http.Request{
		"no token":           request("", ""),
		"no bearer":          request("Authorization", "Bearer"),
		"another scheme":     request("Authorization", "Basic "+good),
		"garbage":            request("Authorization", "Bearer a.b.c"),
		"an empty cookie":    request("Cookie", "token="),
		"another cookie":     request("Cookie", "session="+good),
		"two cookies":        request("Cookie", "token="+good+"; token="+good),
		"no algorithm":       request("Authorization", "Bearer "+sign(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, same)),
		"another algorithm":  request("Authorization", "Bearer "+sign(t, jwt.SigningMethodHS512, tokens.key, same)),
		"another key":        request("Authorization", "Bearer "+sign(t, hs256, newTokens(time.Hour).key, same)),
		"a changed token":    request("Authorization", "Bearer "+good[:len(good)-4]+"AAAA"),
		"an expired token":   request("Authorization", "Bearer "+sign(t, hs256, tokens.key, func(c *claims) { c.ExpiresAt = jwt.NewNumericDate(time.Now().Add(-time.Second)) })),
		"a token for ever":   request("Authorization", "Bearer "+sign(t, hs256, tokens.key, func(c *claims) { c.ExpiresAt = nil })),
		"not valid yet":      request("Authorization", "Bearer "+sign(t, hs256, tokens.key, func(c *claims) { c.NotBefore = jwt.NewNumericDate(time.Now().Add(time.Hour)) })),
		"another issuer":     request("Authorization", "Bearer "+sign(t, hs256, tokens.key, func(c *claims) { c.Issuer = "somebody" })),
		"no issuer":          request("Authorization", "Bearer "+sign(t, hs256, tokens.key, func(c *claims) { c.Issuer = "" })),
		"another audience":   request("Authorization", "Bearer "+sign(t, hs256, tokens.key, func(c *claims) { c.Audience = jwt.ClaimStrings{"billing"} })),
		"no audience":        request("Authorization", "Bearer "+sign(t, hs256, tokens.key, func(c *claims) { c.Audience = nil })),
		"nobody":             request("Authorization", "Bearer "+sign(t, hs256, tokens.key, func(c *claims) { c.Subject = "" })),
		"a token in the URL": httptest.NewRequest(http.MethodGet, "/ws?token="+good, nil),
	} {
		result := tokens.Authenticate(r)
		if result.Valid || result.UserID != "" || result.Error == nil || errors.Is(result.Error, hub.ErrForbidden) {
			t.Errorf("%s: got %+v, want a refusal with an error that is not ErrForbidden", name, result)
		}
	}
}

func TestTokensThatAllowTooLittleAreForbidden(t *testing.T) {
	tokens := newTokens(time.Hour)
	token := sign(t, jwt.SigningMethodHS256, tokens.key, func(c *claims) { c.Scopes = []string{"read-mail"} })
	if result := tokens.Authenticate(request("Authorization", "Bearer "+token)); result.Valid || !errors.Is(result.Error, hub.ErrForbidden) {
		t.Errorf("got %+v, want ErrForbidden", result)
	}
}

// start runs the program; the test's end stops it.
func start(t *testing.T, args ...string) (url string, stop func(), ended <-chan error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	out, result, over := probe.NewOutput(), make(chan error, 1), make(chan struct{})
	go func() {
		defer close(over)
		err := run(ctx, append([]string{"-addr", "127.0.0.1:0"}, args...), out)
		out.CloseWithError(err)
		result <- err
	}()
	t.Cleanup(func() {
		cancel()
		<-over
	})
	url = out.Address(t)
	return url, cancel, result
}

// login gets a token as the page does.
func login(t *testing.T, url, body string, headers ...string) (answer *http.Response, token string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url+"/login", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	answer, err = http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	var got struct{ Token string }
	if answer.StatusCode == http.StatusOK {
		if err := json.Unmarshal(text, &got); err != nil {
			t.Fatal(err)
		}
	}
	return answer, got.Token
}

func TestTokensOpenConnectionsAndNameTheirBearer(t *testing.T) {
	url, stop, ended := start(t)
	if _, status := probe.Try(t, url+"/ws"); status != http.StatusUnauthorized {
		t.Errorf("without a token: got %d, want 401", status)
	}
	answer, token := login(t, url, `{"name":"Ann"}`)
	cookie := answer.Cookies()[0]
	if !cookie.HttpOnly || cookie.SameSite != http.SameSiteStrictMode || cookie.Value != token {
		t.Errorf("cookie: got %+v, want the token, for no script and no other site", cookie)
	}
	_, other := login(t, url, `{"name":"Ben"}`)
	ann := probe.Dial(t, url+"/ws", "Cookie", "token="+token)
	ben := probe.Dial(t, url+"/ws", "Authorization", "Bearer "+other)
	ann.Join("lobby")
	ben.Join("lobby")
	ben.Send(`{"type":"say","data":"I am Ann, believe me"}`)
	if f := ann.Next("event"); string(f.Data) != `{"from":"Ben","text":"I am Ann, believe me"}` {
		t.Errorf("got %s, want it from Ben", f.Data)
	}
	if _, status := probe.Try(t, url+"/ws", "Cookie", "token="+token, "Origin", "https://attacker.example"); status != http.StatusForbidden {
		t.Errorf("a foreign page with the visitor's cookie: got %d, want 403", status)
	}
	stop()
	ann.Closed()
	ben.Closed()
	if err := <-ended; err != nil {
		t.Errorf("run: %v", err)
	}
}

func TestClientIsClosedWhenItsTokenExpires(t *testing.T) {
	url, _, _ := start(t, "-lifetime", "2s")
	// A token may expire before its bearer has connected: then it gets another.
	var ann *probe.Client
	var token string
	for status := 0; status != http.StatusSwitchingProtocols; {
		_, token = login(t, url, `{"name":"Ann"}`)
		ann, status = probe.Try(t, url+"/ws", "Authorization", "Bearer "+token)
	}
	if code, _ := ann.Closed(); code != 4001 {
		t.Errorf("close code: got %d, want 4001", code)
	}
	if _, status := probe.Try(t, url+"/ws", "Authorization", "Bearer "+token); status != http.StatusUnauthorized {
		t.Errorf("with the expired token: got %d, want 401", status)
	}
}

func TestLoginTakesANameFromThisSiteAlone(t *testing.T) {
	url, _, _ := start(t)
	for _, c := range []struct {
		name, body string
		headers    []string
		want       int
	}{
		{"a name", `{"name":"Ann"}`, []string{"Origin", url}, 200},
		{"no JSON", `name=Ann`, nil, 400},
		{"no name", `{"name":"  "}`, nil, 400},
		{"a long name", `{"name":"` + strings.Repeat("a", 41) + `"}`, nil, 400},
		{"a long body", `{"name":"` + strings.Repeat("a", 5000) + `"}`, nil, 400},
		{"a foreign page", `{"name":"Ann"}`, []string{"Origin", "https://attacker.example"}, 403},
		{"a foreign page in a new browser", `{"name":"Ann"}`, []string{"Sec-Fetch-Site", "cross-site"}, 403},
	} {
		if answer, _ := login(t, url, c.body, c.headers...); answer.StatusCode != c.want {
			t.Errorf("%s: got %d, want %d", c.name, answer.StatusCode, c.want)
		}
	}
}

func TestMeTellsWhetherTheCookieIsGood(t *testing.T) {
	url, _, _ := start(t)
	_, token := login(t, url, `{"name":"Ann"}`)
	for cookie, want := range map[string]int{"token=" + token: 200, "token=x": 401, "": 401} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+"/me", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Cookie", cookie)
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if answer.StatusCode != want {
			t.Errorf("cookie %.10q: got %d, want %d", cookie, answer.StatusCode, want)
		}
	}
}
