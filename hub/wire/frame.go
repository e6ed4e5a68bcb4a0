package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"
)

// Type says what a frame is.
type Type string

// Types of frames. A type that is not listed here is the application's.
const (
	// TypeProcessOutput carries a piece of a process's output; its channel is
	// "process:" and the process's id.
	TypeProcessOutput Type = "process_output"
	// TypeProcessStatus carries the state of a process and its exit code.
	TypeProcessStatus Type = "process_status"
	// TypeEvent carries whatever the application published.
	TypeEvent Type = "event"
	// TypeError tells a client what was wrong; its data is an ErrorData.
	TypeError Type = "error"
	// TypePing asks for a TypePong.
	TypePing Type = "ping"
	// TypePong answers a TypePing.
	TypePong Type = "pong"
	// TypeSubscribe joins the channel that its data, a string, names.
	TypeSubscribe Type = "subscribe"
	// TypeUnsubscribe leaves the channel that its data, a string, names.
	TypeUnsubscribe Type = "unsubscribe"
	// TypeSubscribed says that a subscription is live.
	TypeSubscribed Type = "subscribed"
	// TypeUnsubscribed says that a subscription has ended.
	TypeUnsubscribed Type = "unsubscribed"
	// TypeReply answers a frame of the application's that carried an id.
	TypeReply Type = "reply"
)

// Reserved reports whether a type is kept for later versions of the protocol.
// No application may use one.
func Reserved(t Type) bool {
	switch t {
	case "publish", "presence", "refresh", "welcome", "cancel":
		return true
	}
	return false
}

// MaxID is the longest id of a frame or a message, in bytes.
const MaxID = 64

// Frame is one message between client and hub, in either direction.
type Frame struct {
	Type Type `json:"type"`
	// Channel that the frame is about.
	Channel string `json:"channel,omitempty"`
	// ProcessID of a process_output or a process_status.
	ProcessID string `json:"processId,omitempty"`
	// ID of a client's frame, of up to MaxID bytes, is given back in the answer.
	ID string `json:"id,omitempty"`
	// Data is any JSON; what it holds depends on the type.
	Data json.RawMessage `json:"data,omitempty"`
	// Timestamp is set by the hub: RFC 3339, UTC.
	Timestamp time.Time `json:"timestamp,omitzero"`
}

// ErrorData is the data of a TypeError frame.
type ErrorData struct {
	Code    ErrorCode `json:"code"`
	Message string    `json:"message"`
}

// SubscribedData is the data of a TypeSubscribed frame. The frame has no data
// where the subscription reaches all hubs.
type SubscribedData struct {
	// Local says that the hub can't reach the others at the moment: until it
	// can, only what is published at this hub arrives.
	Local bool `json:"local,omitempty"`
}

// ErrorCode tells a program what was wrong; the text beside it is for people.
type ErrorCode string

// Error codes.
const (
	// ErrorInvalidFrame: not a JSON object, or a field of the wrong kind.
	ErrorInvalidFrame ErrorCode = "invalid_frame"
	// ErrorUnsupported: a binary message, which version 1 has no use for.
	ErrorUnsupported ErrorCode = "unsupported"
	// ErrorUnknownType: the hub does not know the type, and the application
	// does not take frames.
	ErrorUnknownType ErrorCode = "unknown_type"
	// ErrorInvalidChannel: empty, too long, not UTF-8, or beginning with "$".
	ErrorInvalidChannel ErrorCode = "invalid_channel"
	// ErrorForbidden: the application refused.
	ErrorForbidden ErrorCode = "forbidden"
	// ErrorTooManySubscriptions: the client is on as many channels as it may.
	ErrorTooManySubscriptions ErrorCode = "too_many_subscriptions"
	// ErrorRateLimited: too many frames a second. The frame was not looked at.
	ErrorRateLimited ErrorCode = "rate_limited"
	// ErrorUnavailable: not possible at the moment; try again.
	ErrorUnavailable ErrorCode = "unavailable"
	// ErrorInternal: the application failed.
	ErrorInternal ErrorCode = "internal"
	// ErrorServer is the code of what the server's owner sends with SendError.
	ErrorServer ErrorCode = "server_error"
)

// ErrInvalidFrame is what ParseFrame returns, wrapped with what was wrong.
var ErrInvalidFrame = errors.New("wire: invalid frame")

// ParseFrame reads a frame that came from a client, or that a program published
// as plain JSON. It takes one JSON object with a type; fields that it does not
// know are ignored. Every error wraps ErrInvalidFrame; the frame beside it then
// has the id where that could be read, and perhaps more. The result keeps
// nothing of data.
func ParseFrame(data []byte) (Frame, error) {
	if !utf8.Valid(data) {
		return Frame{}, fmt.Errorf("%w: not UTF-8", ErrInvalidFrame)
	}
	if trimmed := bytes.TrimLeft(data, " \t\r\n"); len(trimmed) == 0 || trimmed[0] != '{' {
		return Frame{}, fmt.Errorf("%w: not a JSON object", ErrInvalidFrame)
	}
	// The client's own timestamp is not looked at, so that one in another
	// format than ours refuses no frame.
	var f struct {
		Type      Type            `json:"type"`
		Channel   string          `json:"channel"`
		ProcessID string          `json:"processId"`
		ID        string          `json:"id"`
		Data      json.RawMessage `json:"data"`
	}
	if err := json.Unmarshal(data, &f); err != nil {
		if typeErr, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
			// The rest has been read: the answer can give the id back.
			return Frame{Type: f.Type, ID: shortID(f.ID)}, fmt.Errorf("%w: field %q has the wrong kind", ErrInvalidFrame, typeErr.Field)
		}
		return Frame{}, fmt.Errorf("%w: not valid JSON", ErrInvalidFrame)
	}
	out := Frame{Type: f.Type, Channel: f.Channel, ProcessID: f.ProcessID, ID: f.ID, Data: f.Data}
	if out.Type == "" {
		return out, fmt.Errorf("%w: no type", ErrInvalidFrame)
	}
	if len(out.ID) > MaxID {
		out.ID = shortID(out.ID)
		return out, fmt.Errorf("%w: id is longer than %d bytes", ErrInvalidFrame, MaxID)
	}
	return out, nil
}

// shortID is the id, or none where it is too long to be one.
func shortID(id string) string {
	if len(id) > MaxID {
		return ""
	}
	return id
}

// AppendFrame appends the frame's JSON to dst. Data must be valid JSON; it is
// not looked at.
func AppendFrame(dst []byte, f *Frame) []byte {
	dst = append(dst, `{"type":`...)
	dst = appendString(dst, string(f.Type))
	if f.Channel != "" {
		dst = append(dst, `,"channel":`...)
		dst = appendString(dst, f.Channel)
	}
	if f.ProcessID != "" {
		dst = append(dst, `,"processId":`...)
		dst = appendString(dst, f.ProcessID)
	}
	if f.ID != "" {
		dst = append(dst, `,"id":`...)
		dst = appendString(dst, f.ID)
	}
	if len(f.Data) > 0 {
		dst = append(dst, `,"data":`...)
		dst = append(dst, f.Data...)
	}
	if !f.Timestamp.IsZero() {
		dst = append(dst, `,"timestamp":"`...)
		dst = f.Timestamp.UTC().AppendFormat(dst, time.RFC3339Nano)
		dst = append(dst, '"')
	}
	return append(dst, '}')
}

// appendString appends s as a JSON string. Names that need no escaping, nearly
// all of them, are copied.
func appendString(dst []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < 0x20 || c > 0x7e || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			quoted, err := json.Marshal(s)
			if err != nil {
				// A string always marshals; bytes that are no UTF-8 are replaced.
				panic("wire: " + err.Error())
			}
			return append(dst, quoted...)
		}
	}
	dst = append(dst, '"')
	dst = append(dst, s...)
	return append(dst, '"')
}
