package main

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"forge.lthn.ai/core/go-ws/hub/hubtest"
)

func TestAuthenticatorKeepsTheContract(t *testing.T) {
	s := settings{apiKeys: map[string]string{"sesame": "ann", "oath=": "ben"}}
	header := httptest.NewRequest(http.MethodGet, "/ws", nil)
	header.Header.Set("Authorization", "Bearer sesame")
	hubtest.TestAuthenticator(t, s.authenticator(),
		hubtest.AuthenticatorCase{Name: "header", Request: header, Valid: true, UserID: "ann"},
		hubtest.AuthenticatorCase{Name: "query", Request: httptest.NewRequest(http.MethodGet, "/ws?token=oath%3D", nil), Valid: true, UserID: "ben"},
		hubtest.AuthenticatorCase{Name: "wrong key", Request: httptest.NewRequest(http.MethodGet, "/ws?token=open", nil)},
		hubtest.AuthenticatorCase{Name: "no key", Request: httptest.NewRequest(http.MethodGet, "/ws", nil)},
	)
}
