package auth

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"forge.lthn.ai/core/go-ws/hub"
)

// MaxToken is the longest token that is looked at, in bytes. Longer ones are
// refused as malformed.
const MaxToken = 8192

// ValidateFunc judges a token: it is not empty, at most MaxToken bytes long, of
// printable ASCII without spaces. ctx is the request's: it ends when the client
// goes away or the hub's handshake timeout is over, and a slow function, one
// that asks a database, must return then. It is called concurrently.
//
// The result goes to the hub as it is: UserID, Claims, ExpiresAt (when the
// client is to be closed and told to come back with a new token), and Error (one
// that wraps hub.ErrForbidden answers 403 instead of 401). Of a refusal without
// an Error it becomes ErrInvalid. Don't put the token into it: it may be logged.
type ValidateFunc func(ctx context.Context, token string) hub.AuthResult

// NewBearer returns an authenticator for "Authorization: Bearer <token>"
// (RFC 6750, section 2.1). The scheme's case does not matter. It panics where
// validate is nil.
//
// A browser's WebSocket can't set headers: this is for other programs.
func NewBearer(validate ValidateFunc) hub.Authenticator {
	mustHave(validate)
	return hub.AuthenticatorFunc(func(r *http.Request) hub.AuthResult {
		token, err := bearerToken(r.Header)
		return bearerChallenge(judge(r, token, err, validate))
	})
}

// NewQueryToken returns an authenticator for a token in the URL: the query
// parameter called name. It panics where name is empty or validate is nil.
//
// URLs end up in the logs of servers and proxies, so a token in one should live
// for seconds: have the page fetch one just before it connects.
func NewQueryToken(name string, validate ValidateFunc) hub.Authenticator {
	mustHave(validate)
	if name == "" {
		panic("auth: NewQueryToken without a name")
	}
	return hub.AuthenticatorFunc(func(r *http.Request) hub.AuthResult {
		token, err := queryToken(r.URL, name)
		return judge(r, token, err, validate)
	})
}

// NewCookie returns an authenticator for a token in the cookie called name. It
// panics where name is empty or validate is nil.
//
// Browsers send cookies whichever page asks them to connect. What keeps other
// sites' pages out is the hub's origin check alone: don't open it wider than to
// the sites that you trust.
func NewCookie(name string, validate ValidateFunc) hub.Authenticator {
	mustHave(validate)
	if name == "" {
		panic("auth: NewCookie without a name")
	}
	return hub.AuthenticatorFunc(func(r *http.Request) hub.AuthResult {
		token, err := cookieToken(r, name)
		return judge(r, token, err, validate)
	})
}

func mustHave(validate ValidateFunc) {
	if validate == nil {
		panic("auth: no function to validate tokens")
	}
}

// judge has a token validated, if one was found and somebody still waits.
func judge(r *http.Request, token string, err error, validate ValidateFunc) hub.AuthResult {
	if err != nil {
		return hub.AuthResult{Error: err}
	}
	ctx := r.Context()
	if err := ctx.Err(); err != nil {
		return hub.AuthResult{Error: fmt.Errorf("auth: not judged: %w", err)}
	}
	result := validate(ctx, token)
	if !result.Valid && result.Error == nil {
		result.Error = ErrInvalid
	}
	return result
}

// bearerChallenge says in the words of RFC 6750, section 3, what was wrong.
func bearerChallenge(result hub.AuthResult) hub.AuthResult {
	if result.Valid || result.Challenge != "" {
		return result
	}
	switch {
	case errors.Is(result.Error, ErrNoCredentials):
		result.Challenge = `Bearer`
	case errors.Is(result.Error, ErrMalformed):
		result.Challenge = `Bearer error="invalid_request"`
	default:
		result.Challenge = `Bearer error="invalid_token"`
	}
	return result
}

// bearerToken takes the token from an Authorization header.
func bearerToken(h http.Header) (string, error) {
	values := h["Authorization"]
	switch len(values) {
	case 0:
		return "", fmt.Errorf("%w: no Authorization header", ErrNoCredentials)
	case 1:
	default:
		return "", fmt.Errorf("%w: %d Authorization headers", ErrMalformed, len(values))
	}
	scheme, token, _ := strings.Cut(values[0], " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return "", fmt.Errorf("%w: Authorization header is not of scheme Bearer", ErrMalformed)
	}
	token = strings.TrimLeft(token, " ")
	return token, checkToken(token, "Authorization header")
}

func queryToken(u *url.URL, name string) (string, error) {
	if u == nil || u.RawQuery == "" {
		return "", fmt.Errorf("%w: no query parameter %q", ErrNoCredentials, name)
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil { // its text has a piece of the query
		return "", fmt.Errorf("%w: the query can't be read", ErrMalformed)
	}
	values := query[name]
	switch len(values) {
	case 0:
		return "", fmt.Errorf("%w: no query parameter %q", ErrNoCredentials, name)
	case 1:
		return values[0], checkToken(values[0], "query parameter")
	}
	return "", fmt.Errorf("%w: %d query parameters %q", ErrMalformed, len(values), name)
}

func cookieToken(r *http.Request, name string) (string, error) {
	cookies := r.CookiesNamed(name)
	switch len(cookies) {
	case 0:
		return "", fmt.Errorf("%w: no cookie %q", ErrNoCredentials, name)
	case 1:
		return cookies[0].Value, checkToken(cookies[0].Value, "cookie")
	}
	// One of them may be another site's, set on a domain that both are in.
	return "", fmt.Errorf("%w: %d cookies %q", ErrMalformed, len(cookies), name)
}

func checkToken(token, where string) error {
	switch {
	case token == "":
		return fmt.Errorf("%w: %s without a token", ErrMalformed, where)
	case len(token) > MaxToken:
		return fmt.Errorf("%w: %s with a token of more than %d bytes", ErrMalformed, where, MaxToken)
	}
	for i := range len(token) {
		if token[i] <= ' ' || token[i] > '~' {
			return fmt.Errorf("%w: %s with a character that no token has", ErrMalformed, where)
		}
	}
	return nil
}
