package auth

import (
	"errors"
	"fmt"
	"net/http"
	"slices"

	"forge.lthn.ai/core/go-ws/hub"
)

// NewFirstOf returns an authenticator that asks others, in order, until one
// accepts the request; its result is what counts, and those behind it are not
// asked. With no authenticators it refuses everyone. It panics where one is nil.
//
// Where all refuse, the result is that of the first one that found credentials,
// which is to say whose error does not wrap ErrNoCredentials; where none found
// any, that of the first one. Where the request's context ends meanwhile, the
// rest are not asked.
//
// A panic in one of them is not caught: the hub refuses the request then,
// whatever the others would say.
func NewFirstOf(authenticators ...hub.Authenticator) hub.Authenticator {
	for i, a := range authenticators {
		if a == nil {
			panic(fmt.Sprintf("auth: NewFirstOf: authenticator %d is nil", i))
		}
	}
	return firstOf(slices.Clone(authenticators))
}

type firstOf []hub.Authenticator

func (as firstOf) Authenticate(r *http.Request) hub.AuthResult {
	refusal := hub.AuthResult{Error: ErrNoCredentials}
	for i, a := range as {
		if err := r.Context().Err(); err != nil {
			return hub.AuthResult{Error: fmt.Errorf("auth: not judged: %w", err)}
		}
		result := a.Authenticate(r)
		if result.Valid {
			return result
		}
		if i == 0 || errors.Is(refusal.Error, ErrNoCredentials) && !errors.Is(result.Error, ErrNoCredentials) {
			refusal = result
		}
	}
	return refusal
}
