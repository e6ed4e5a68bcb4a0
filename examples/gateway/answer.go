package main

import (
	"encoding/json"
	"net/http"
)

// problem is an answer that is not the one that was asked for. It reaches the
// caller as {"error":{"code":…,"message":…}}.
type problem struct {
	status  int
	code    string // for programs
	message string // for people
	// id names the message that may or may not have been sent: trying again
	// with it delivers nothing twice.
	id string
}

func (p *problem) write(w http.ResponseWriter) {
	type detail struct {
		Code    string `json:"code"`
		Message string `json:"message"`
	}
	if p.status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Bearer realm="gateway"`)
	}
	answer(w, p.status, struct {
		Error detail `json:"error"`
		ID    string `json:"id,omitempty"`
	}{detail{p.code, p.message}, p.id})
}

// answer writes v as JSON.
func answer(w http.ResponseWriter, status int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		// Answers are structs of plain fields.
		panic("gateway: " + err.Error())
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	// Whoever asked may be gone by now.
	_, _ = w.Write(append(body, '\n'))
}
