package main

import (
	"net/http"

	"forge.lthn.ai/core/go-ws/hub"
)

// health is the body of /healthz and /readyz.
type health struct {
	Status    string          `json:"status"`
	Backplane backplaneHealth `json:"backplane"`
}

type backplaneHealth struct {
	Configured bool `json:"configured"`
	Healthy    bool `json:"healthy"`
}

func backplaneHealthOf(h *hub.Hub) backplaneHealth {
	s := h.Stats().Backplane
	return backplaneHealth{s.Configured, s.Healthy}
}

// healthz says that the process lives. A backplane that is away is in the body
// only: restarting every gateway would not bring it back.
func healthz(h *hub.Hub) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, health{"ok", backplaneHealthOf(h)})
	}
}

// readyz says whether clients should be sent here.
func readyz(h *hub.Hub, needsBackplane bool) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		state := health{"ready", backplaneHealthOf(h)}
		switch {
		case h.Ready() != nil:
			state.Status = "draining"
		case needsBackplane && !state.Backplane.Healthy:
			state.Status = "backplane_away"
		default:
			answer(w, http.StatusOK, state)
			return
		}
		answer(w, http.StatusServiceUnavailable, state)
	}
}
