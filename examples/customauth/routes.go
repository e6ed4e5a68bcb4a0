package main

import (
	_ "embed"
	"encoding/json"
	"errors"
	"net/http"
	"strings"

	"forge.lthn.ai/core/go-ws/examples/internal/clientjs"
	"forge.lthn.ai/core/go-ws/hub"
)

//go:embed page.html
var page []byte

// contentPolicy: the page is one file, so its script and its style are inline,
// and its script imports the client.
const contentPolicy = "default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'unsafe-inline'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

const maxName = 40 // bytes

func routes(h *hub.Hub, t *tokens) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/ws", h.Handler())
	mux.HandleFunc("POST /login", t.serveLogin)
	mux.HandleFunc("GET /me", t.serveMe)
	mux.HandleFunc("GET "+clientjs.Path, clientjs.Serve)
	mux.HandleFunc("GET /{$}", servePage)
	// No page of another origin may log a visitor in.
	return http.NewCrossOriginProtection().Handler(mux)
}

// serveLogin takes {"name":"Ann"} and answers with a token, in the body for
// programs and in a cookie for the page. There is no password: this shows
// tokens, not how to know people.
func (t *tokens) serveLogin(w http.ResponseWriter, r *http.Request) {
	var login struct{ Name string }
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 4096)).Decode(&login); err != nil {
		http.Error(w, "the body is not JSON", http.StatusBadRequest)
		return
	}
	name := strings.TrimSpace(login.Name)
	if name == "" || len(name) > maxName {
		http.Error(w, "a name is needed, of up to 40 bytes", http.StatusBadRequest)
		return
	}
	token, expires, err := t.mint(name, scope)
	if err != nil {
		http.Error(w, "no token could be made", http.StatusInternalServerError)
		return
	}
	http.SetCookie(w, &http.Cookie{
		Name: cookieName, Value: token, Path: "/", Expires: expires,
		// No script reads it, and no other site's page makes a browser send it.
		HttpOnly: true, SameSite: http.SameSiteStrictMode, Secure: r.TLS != nil,
	})
	writeJSON(w, http.StatusOK, map[string]any{"user": name, "token": token, "expiresAt": expires})
}

// serveMe tells a page whether its cookie is still good, which a browser does
// not tell it of a WebSocket that was refused.
func (t *tokens) serveMe(w http.ResponseWriter, r *http.Request) {
	result := t.Authenticate(r)
	switch {
	case result.Valid:
		writeJSON(w, http.StatusOK, map[string]any{"user": result.UserID, "expiresAt": result.ExpiresAt})
	case errors.Is(result.Error, hub.ErrForbidden):
		writeJSON(w, http.StatusForbidden, map[string]any{"error": "forbidden"})
	default:
		writeJSON(w, http.StatusUnauthorized, map[string]any{"error": "unauthorized"})
	}
}

func writeJSON(w http.ResponseWriter, status int, v map[string]any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	// Whoever asked may be gone by now.
	_ = json.NewEncoder(w).Encode(v)
}

func servePage(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", contentPolicy)
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Write(page)
}
