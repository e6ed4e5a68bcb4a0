package main

import (
	"embed"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"

	"forge.lthn.ai/core/go-ws/examples/internal/clientjs"
)

//go:embed page
var pageFiles embed.FS

// contentPolicy lets the page use its own files and talk to its own program,
// and nothing else.
const contentPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

func routes(b *broker, fleet []*member) http.Handler {
	mux := http.NewServeMux()
	for i, m := range fleet {
		mux.Handle(fmt.Sprintf("/hub/%d/ws", i+1), m.hub.Handler())
	}
	mux.HandleFunc("GET /broker", b.serveState)
	mux.HandleFunc("POST /broker/stop", func(w http.ResponseWriter, r *http.Request) {
		b.stop()
		b.serveState(w, r)
	})
	mux.HandleFunc("POST /broker/start", func(w http.ResponseWriter, r *http.Request) {
		if err := b.start(); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		b.serveState(w, r)
	})
	mux.HandleFunc("GET "+clientjs.Path, clientjs.Serve)
	for path, kind := range map[string]string{"/{$}": "text/html", "/page/app.js": "text/javascript", "/page/style.css": "text/css"} {
		name := strings.TrimPrefix(path, "/")
		if path == "/{$}" {
			name = "page/page.html"
		}
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", kind+"; charset=utf-8")
			w.Header().Set("Cache-Control", "no-cache")
			http.ServeFileFS(w, r, pageFiles, name)
		})
	}
	return guarded(http.NewCrossOriginProtection().Handler(mux))
}

func (b *broker) serveState(w http.ResponseWriter, _ *http.Request) {
	body, err := json.Marshal(map[string]any{"running": b.running(), "url": b.url()})
	if err != nil {
		http.Error(w, "no state", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Write(body)
}

// guarded keeps pages from elsewhere out, those too that have made a name of
// their own lead to this machine.
func guarded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Content-Security-Policy", contentPolicy)
		if !byAddress(r.Host) {
			http.Error(w, "open this by localhost or by an address", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func byAddress(hostport string) bool {
	host := hostport
	if name, _, err := net.SplitHostPort(hostport); err == nil {
		host = name
	}
	_, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil || strings.EqualFold(host, "localhost")
}
