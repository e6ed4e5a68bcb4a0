package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"
	"unicode/utf8"

	"forge.lthn.ai/core/go-ws/hub"
)

// publisher turns requests into messages.
type publisher struct {
	hub     *hub.Hub
	maxBody int64
}

// publication is the body of a publish.
type publication struct {
	channel string
	message hub.Message
}

// toChannel serves POST /publish.
func (p publisher) toChannel(w http.ResponseWriter, r *http.Request) {
	p.serve(w, r, true, func(ctx context.Context, pub publication) (hub.Result, error) {
		return p.hub.SendToChannel(ctx, pub.channel, pub.message)
	})
}

// toAll serves POST /broadcast.
func (p publisher) toAll(w http.ResponseWriter, r *http.Request) {
	p.serve(w, r, false, func(ctx context.Context, pub publication) (hub.Result, error) {
		return p.hub.Broadcast(ctx, pub.message)
	})
}

func (p publisher) serve(w http.ResponseWriter, r *http.Request, withChannel bool, send func(context.Context, publication) (hub.Result, error)) {
	pub, bad := p.read(w, r, withChannel)
	if bad != nil {
		bad.write(w)
		return
	}
	result, err := send(r.Context(), pub)
	if err != nil {
		publishProblem(err, result.ID).write(w)
		return
	}
	answer(w, http.StatusOK, struct {
		ID string `json:"id"`
	}{result.ID})
}

// read takes the request's body. A body that is not exactly what is expected
// is refused: a field that was misspelt would otherwise be lost without a word.
func (p publisher) read(w http.ResponseWriter, r *http.Request, withChannel bool) (publication, *problem) {
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		return publication{}, &problem{status: http.StatusUnsupportedMediaType, code: "unsupported_media_type", message: "the body must be JSON, with Content-Type: application/json"}
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, p.maxBody))
	if err != nil {
		if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
			return publication{}, tooLarge(fmt.Sprintf("the body is larger than %d bytes", p.maxBody))
		}
		return publication{}, &problem{status: http.StatusBadRequest, code: "invalid_request", message: "the body could not be read"}
	}
	pub, err := parsePublication(body, withChannel)
	if err != nil {
		return publication{}, &problem{status: http.StatusBadRequest, code: "invalid_request", message: err.Error()}
	}
	return pub, nil
}

// parsePublication reads {"channel":"…","data":…,"id":"…"}.
func parsePublication(body []byte, withChannel bool) (publication, error) {
	var pub publication
	// encoding/json takes any bytes in a string; a browser would be cut off by
	// what is no UTF-8.
	if !utf8.Valid(body) {
		return pub, errors.New("the body is not UTF-8")
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(body, &fields); err != nil || fields == nil {
		return pub, errors.New("the body is not one JSON object")
	}
	known := []string{"data", "id"}
	if withChannel {
		known = append(known, "channel")
	}
	for name := range fields {
		if !slices.Contains(known, name) {
			return pub, fmt.Errorf("unknown field %q", name)
		}
	}
	data, ok := fields["data"]
	if !ok {
		return pub, errors.New(`field "data" is missing`)
	}
	pub.message.Data = data
	if id, ok := fields["id"]; ok {
		if err := readString(id, &pub.message.ID); err != nil {
			return pub, fmt.Errorf(`field "id" %w`, err)
		}
	}
	if withChannel {
		if err := readString(fields["channel"], &pub.channel); err != nil {
			return pub, fmt.Errorf(`field "channel" %w`, err)
		}
	}
	return pub, nil
}

func readString(raw json.RawMessage, to *string) error {
	if raw == nil {
		return errors.New("is missing")
	}
	if raw[0] != '"' || json.Unmarshal(raw, to) != nil {
		return errors.New("is not a string")
	}
	return nil
}

// publishProblem says to the caller what the hub said to us.
func publishProblem(err error, id string) *problem {
	switch {
	case errors.Is(err, hub.ErrInvalidChannel):
		return &problem{status: http.StatusBadRequest, code: "invalid_channel", message: "a channel's name is UTF-8 of limited length, not empty, and does not begin with $"}
	case errors.Is(err, hub.ErrNotPropagated) && errors.Is(err, hub.ErrTooLarge):
		// Sending it again would be in vain.
		return &problem{status: http.StatusRequestEntityTooLarge, code: "too_large", id: id, message: "the message is larger than the broker takes; it reached the clients of this gateway alone"}
	case errors.Is(err, hub.ErrNotPropagated):
		return &problem{status: http.StatusServiceUnavailable, code: "not_propagated", id: id, message: "the message reached the clients of this gateway, but perhaps not those of others; send it again with this id"}
	case errors.Is(err, hub.ErrTooLarge):
		return tooLarge("the message is larger than the hub takes")
	case errors.Is(err, hub.ErrInvalidMessage):
		return &problem{status: http.StatusBadRequest, code: "invalid_message", message: "the id is longer than 64 bytes, or the data can't be sent"}
	case errors.Is(err, hub.ErrNotRunning):
		return &problem{status: http.StatusServiceUnavailable, code: "unavailable", message: "the gateway is stopping; send it again elsewhere"}
	}
	return &problem{status: http.StatusInternalServerError, code: "internal", id: id, message: "the message could not be sent"}
}

func tooLarge(message string) *problem {
	return &problem{status: http.StatusRequestEntityTooLarge, code: "too_large", message: message}
}
