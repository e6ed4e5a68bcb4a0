package main

import (
	"net/http"
	"strings"

	"forge.lthn.ai/core/go-ws/examples/internal/clientjs"
	"forge.lthn.ai/core/go-ws/hub"
)

// routes is all that the gateway serves.
func routes(s settings, h *hub.Hub) http.Handler {
	owner := access{key: s.publishKey}
	publisher := publisher{hub: h, maxBody: int64(s.maxPublishedBytes)}
	mux := http.NewServeMux()
	sockets := h.Handler()
	if len(s.apiKeys) == 0 {
		sockets = unrebound(sockets)
	}
	mux.Handle("/ws", sockets)
	mux.Handle("/publish", methods(owner.only(publisher.toChannel), http.MethodPost))
	mux.Handle("/broadcast", methods(owner.only(publisher.toAll), http.MethodPost))
	mux.Handle("/stats", methods(owner.only(serveStats(h)), http.MethodGet, http.MethodHead))
	mux.Handle("/healthz", methods(healthz(h), http.MethodGet, http.MethodHead))
	mux.Handle("/readyz", methods(readyz(h, s.readyNeedsBroker), http.MethodGet, http.MethodHead))
	mux.Handle("/{$}", methods(serveIndex, http.MethodGet, http.MethodHead))
	mux.Handle(clientjs.Path, methods(clientjs.Serve, http.MethodGet, http.MethodHead))
	mux.Handle("/page/", methods(serveAssets, http.MethodGet, http.MethodHead))
	mux.HandleFunc("/", notFound)
	return guarded(mux)
}

// methods answers 405 to all but the allowed methods.
func methods(next http.HandlerFunc, allowed ...string) http.Handler {
	allow := strings.Join(allowed, ", ")
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for _, m := range allowed {
			if r.Method == m {
				next(w, r)
				return
			}
		}
		w.Header().Set("Allow", allow)
		(&problem{status: http.StatusMethodNotAllowed, code: "method_not_allowed", message: "use " + allow}).write(w)
	})
}

// guarded sets the headers that keep a browser from using an answer for
// anything that it is not meant for.
func guarded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Content-Security-Policy", contentPolicy)
		next.ServeHTTP(w, r)
	})
}

func notFound(w http.ResponseWriter, _ *http.Request) {
	(&problem{status: http.StatusNotFound, code: "not_found", message: "there is nothing here"}).write(w)
}
