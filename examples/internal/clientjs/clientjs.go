// Package clientjs serves the JavaScript client to the examples' pages. Its
// client.js is the build of client/js; scripts/clientjs -update copies it here.
package clientjs

import (
	"bytes"
	_ "embed"
	"net/http"
	"time"
)

// Path is where the examples serve the client: a page imports "./client.js".
const Path = "/client.js"

//go:embed client.js
var module []byte

// Mux serves a page at / and the client that it imports.
func Mux(page []byte) *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+Path, Serve)
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = w.Write(page) // who asked may be gone
	})
	return mux
}

// Serve answers with the client, one ES module.
func Serve(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-cache")
	w.Header().Set("Content-Type", "text/javascript; charset=utf-8")
	http.ServeContent(w, r, "client.js", time.Time{}, bytes.NewReader(module))
}
