package main

import (
	"context"
	"net/http"

	"forge.lthn.ai/core/go-ws/auth"
	"forge.lthn.ai/core/go-ws/hub"
)

// authenticator admits who presents one of the keys: programs in the
// Authorization header, pages in the query, since a browser sets no headers on a
// WebSocket. Nil, which admits everyone, where there are no keys.
func (s *settings) authenticator() hub.Authenticator {
	if len(s.apiKeys) == 0 {
		return nil
	}
	keys := auth.NewAPIKeyAuth(s.apiKeys)
	query := auth.NewQueryToken("token", func(ctx context.Context, key string) hub.AuthResult {
		// The same keys, compared in the same way.
		r := &http.Request{Header: http.Header{"Authorization": {"Bearer " + key}}}
		return keys.Authenticate(r.WithContext(ctx))
	})
	return auth.NewFirstOf(keys, query)
}
