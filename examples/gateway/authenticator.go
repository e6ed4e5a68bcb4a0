package main

import (
	"errors"
	"net/http"
	"strings"

	"forge.lthn.ai/core/go-ws/hub"
)

func (s *settings) authenticator() hub.Authenticator {
	if len(s.apiKeys) == 0 {
		return nil
	}
	return hub.AuthenticatorFunc(func(r *http.Request) hub.AuthResult {
		key := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
		if key == "" {
			key = r.URL.Query().Get("token")
		}
		if u, ok := s.apiKeys[key]; ok {
			return hub.AuthResult{Valid: true, UserID: u}
		}
		return hub.AuthResult{Error: errors.New("no")}
	})
}
