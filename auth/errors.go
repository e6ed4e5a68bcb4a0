package auth

import "errors"

// Errors of refusals, wrapped with where the fault was but never with the
// credential. Where the request's context is over, its error is wrapped instead.
var (
	// ErrNoCredentials says that the request carries nothing that the
	// authenticator looks for.
	ErrNoCredentials = errors.New("auth: no credentials")
	// ErrMalformed says that there is something, but not in the right form: the
	// wrong scheme, no token, more than one, characters that no token has, too
	// long.
	ErrMalformed = errors.New("auth: malformed credentials")
	// ErrInvalid says that the token is well formed and not accepted.
	ErrInvalid = errors.New("auth: invalid credentials")
)
