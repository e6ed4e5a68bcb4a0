package main

import (
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"forge.lthn.ai/core/go-ws/hub/hubtest"
)

func TestAuthenticatorKeepsTheContract(t *testing.T) {
	tokens := newTokens(time.Hour)
	good := sign(t, jwt.SigningMethodHS256, tokens.key, func(*claims) {})
	weak := sign(t, jwt.SigningMethodHS256, tokens.key, func(c *claims) { c.Scopes = nil })
	hubtest.TestAuthenticator(t, tokens,
		hubtest.AuthenticatorCase{Name: "header", Request: request("Authorization", "Bearer "+good), Valid: true, UserID: "ann"},
		hubtest.AuthenticatorCase{Name: "cookie", Request: request("Cookie", "token="+good), Valid: true, UserID: "ann"},
		hubtest.AuthenticatorCase{Name: "too little", Request: request("Authorization", "Bearer "+weak), Forbidden: true},
	)
}
