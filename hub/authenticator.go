package hub

import (
	"net/http"
	"time"
)

// Authenticator is the port that decides who may connect. Package auth has
// ready-made ones; hubtest.TestAuthenticator is the suite that an
// implementation must pass. A nil Authenticator in Config accepts everyone.
type Authenticator interface {
	// Authenticate judges an upgrade request before anything is upgraded. It
	// may read headers, query parameters, cookies and the TLS state, and may be
	// slow: it runs on the request's goroutine, with a context that ends when
	// the client goes away or Config.HandshakeTimeout is over. It is called
	// concurrently, and must not change or keep the request. A panic in it
	// refuses the request.
	Authenticate(r *http.Request) AuthResult
}

// AuthResult is an Authenticator's judgement. The zero value refuses.
type AuthResult struct {
	// Valid admits the client.
	Valid bool
	// UserID says who it is; several clients may share it. Empty is allowed:
	// such a client is anonymous and SendToUser never reaches it.
	UserID string
	// Claims are the application's, handed on as Client.Claims.
	Claims map[string]any
	// Error says why a client was refused. It is given to OnAuthFailure and
	// never to the client. An error that wraps ErrForbidden makes the answer
	// 403 instead of 401; one that wraps ErrUnavailable, because whoever knows
	// is away, 503, so that the client keeps its credentials and comes back.
	Error error
	// ExpiresAt is when the credentials end: the client is then closed with
	// wire.CloseCredentialsExpired, which tells it to come back with new ones.
	// Zero means never.
	ExpiresAt time.Time
	// Challenge is the WWW-Authenticate header of a 401 (RFC 9110, section
	// 11.6.1); "Bearer" when empty.
	Challenge string
}

// AuthenticatorFunc makes a function an Authenticator.
type AuthenticatorFunc func(r *http.Request) AuthResult

// Authenticate calls f.
func (f AuthenticatorFunc) Authenticate(r *http.Request) AuthResult { return f(r) }
