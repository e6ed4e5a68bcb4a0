package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"forge.lthn.ai/core/go-ws/hub"
)

const (
	issuer   = "customauth"
	audience = "chat"
	// scope is what a token must allow for its bearer to connect.
	scope = "connect"
	// cookieName is the cookie that a browser brings its token in: a page can't
	// set headers on a WebSocket.
	cookieName = "token"
)

// claims are what a token says, beside the registered ones.
type claims struct {
	jwt.RegisteredClaims
	Scopes []string `json:"scopes"`
}

// tokens mints tokens and judges them: it is the hub's Authenticator. The key
// is made anew at each start, so tokens don't outlive the program.
type tokens struct {
	key      []byte
	lifetime time.Duration
	parser   *jwt.Parser
}

var _ hub.Authenticator = (*tokens)(nil)

func newTokens(lifetime time.Duration) *tokens {
	key := make([]byte, 32)
	rand.Read(key)
	return &tokens{
		key:      key,
		lifetime: lifetime,
		parser: jwt.NewParser(
			// The algorithm is ours to choose, never the token's: "none" would
			// need no key at all.
			jwt.WithValidMethods([]string{jwt.SigningMethodHS256.Alg()}),
			jwt.WithIssuer(issuer),
			jwt.WithAudience(audience),
			jwt.WithExpirationRequired(),
		),
	}
}

// mint makes a token for a user.
func (t *tokens) mint(user string, scopes ...string) (token string, expires time.Time, err error) {
	expires = time.Now().Add(t.lifetime)
	token, err = jwt.NewWithClaims(jwt.SigningMethodHS256, claims{
		RegisteredClaims: jwt.RegisteredClaims{
			Issuer:    issuer,
			Audience:  jwt.ClaimStrings{audience},
			Subject:   user,
			IssuedAt:  jwt.NewNumericDate(time.Now()),
			ExpiresAt: jwt.NewNumericDate(expires),
		},
		Scopes: scopes,
	}).SignedString(t.key)
	return token, expires, err
}

// Authenticate admits who brings a good token. The hub closes the client when
// the token expires, with a code that tells it to get a new one.
func (t *tokens) Authenticate(r *http.Request) hub.AuthResult {
	token, err := tokenOf(r)
	if err != nil {
		return hub.AuthResult{Error: err}
	}
	var c claims
	if _, err := t.parser.ParseWithClaims(token, &c, func(*jwt.Token) (any, error) { return t.key, nil }); err != nil {
		return hub.AuthResult{Error: err, Challenge: `Bearer error="invalid_token"`}
	}
	if c.Subject == "" {
		return hub.AuthResult{Error: errors.New("the token names no user"), Challenge: `Bearer error="invalid_token"`}
	}
	if !slices.Contains(c.Scopes, scope) {
		return hub.AuthResult{Error: fmt.Errorf("%w: the token has no scope %q", hub.ErrForbidden, scope)}
	}
	return hub.AuthResult{
		Valid:     true,
		UserID:    c.Subject,
		Claims:    map[string]any{"scopes": c.Scopes},
		ExpiresAt: c.ExpiresAt.Time,
	}
}

// tokenOf takes the token from the Authorization header, as programs send it,
// or else from the cookie. The hub lets only pages of its own origin connect,
// so no other page can use a visitor's cookie.
func tokenOf(r *http.Request) (string, error) {
	if header := r.Header.Get("Authorization"); header != "" {
		kind, token, _ := strings.Cut(header, " ")
		if !strings.EqualFold(kind, "Bearer") || strings.TrimSpace(token) == "" {
			return "", errors.New("the Authorization header is not Bearer and a token")
		}
		return strings.TrimSpace(token), nil
	}
	cookies := r.CookiesNamed(cookieName)
	if len(cookies) != 1 {
		// One of two may be another site's, set on a domain that both are in.
		return "", fmt.Errorf("%d tokens", len(cookies))
	}
	return cookies[0].Value, nil
}
