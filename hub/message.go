package hub

import (
	"encoding/json"
	"fmt"
	"time"
	"unicode/utf8"

	"forge.lthn.ai/core/go-ws/hub/wire"
)

// MessageType says what a message is.
type MessageType = wire.Type

// Types of frames. A server publishes the first four, or types of its own
// choosing; the others belong to the protocol and can't be published. See
// package wire for the rest.
const (
	TypeProcessOutput = wire.TypeProcessOutput
	TypeProcessStatus = wire.TypeProcessStatus
	TypeEvent         = wire.TypeEvent
	TypeError         = wire.TypeError
	TypePing          = wire.TypePing
	TypePong          = wire.TypePong
	TypeSubscribe     = wire.TypeSubscribe
	TypeUnsubscribe   = wire.TypeUnsubscribe
	TypeReply         = wire.TypeReply
)

// Message is what a server publishes. It becomes a wire.Frame, encoded once
// however many receive it.
type Message struct {
	// Type defaults to TypeEvent.
	Type MessageType
	// ProcessID is for TypeProcessOutput and TypeProcessStatus.
	ProcessID string
	// Data is marshalled with encoding/json, which also checks and compacts a
	// json.RawMessage. Nil, or a nil json.RawMessage, leaves it out.
	Data any
	// Timestamp defaults to now.
	Timestamp time.Time
	// ID is an idempotency key of up to 64 bytes; when empty the message gets
	// a random one. A message that is published again with the same ID, to the
	// same channel, within two minutes and before 65,536 others with an ID of
	// the caller's, is not delivered twice to any client.
	ID string
	// Key is for OverflowKeepLatest: of the messages with one channel and one
	// Key only the latest waits. Empty: the message takes nobody's place. It
	// has up to 255 bytes and does not reach clients.
	Key string
}

// frame turns the message into what goes on the wire.
func (m *Message) frame(channel string) (wire.Frame, error) {
	f := wire.Frame{Type: m.Type, Channel: channel, ProcessID: m.ProcessID, Timestamp: m.Timestamp}
	if f.Type == "" {
		f.Type = TypeEvent
	}
	if !sendable(f.Type) || !utf8.ValidString(string(f.Type)) {
		return f, fmt.Errorf("%w: type %q belongs to the protocol", ErrInvalidMessage, f.Type)
	}
	if len(m.ID) > wire.MaxID {
		return f, fmt.Errorf("%w: id is longer than %d bytes", ErrInvalidMessage, wire.MaxID)
	}
	if len(m.Key) > wire.MaxKey {
		return f, fmt.Errorf("%w: key is longer than %d bytes", ErrInvalidMessage, wire.MaxKey)
	}
	if f.Timestamp.IsZero() {
		f.Timestamp = time.Now()
	}
	if y := f.Timestamp.UTC().Year(); y < 0 || y > 9999 {
		return f, fmt.Errorf("%w: timestamp's year %d is not in RFC 3339", ErrInvalidMessage, y)
	}
	if raw, ok := m.Data.(json.RawMessage); m.Data != nil && !(ok && raw == nil) {
		data, err := json.Marshal(m.Data)
		if err != nil {
			return f, fmt.Errorf("%w: marshalling data: %w", ErrInvalidMessage, err)
		}
		if !utf8.Valid(data) {
			// encoding/json lets it through in what is JSON already. As text it
			// would cost every receiver its connection (RFC 6455, section 8.1).
			return f, fmt.Errorf("%w: data is not UTF-8", ErrInvalidMessage)
		}
		f.Data = data
	}
	return f, nil
}

// sendable reports whether an application may send a type: not those with which
// the protocol itself speaks.
func sendable(t wire.Type) bool {
	switch t {
	case wire.TypePing, wire.TypePong, wire.TypeSubscribe, wire.TypeUnsubscribe, wire.TypeSubscribed, wire.TypeUnsubscribed:
		return false
	}
	return !wire.Reserved(t)
}

// encode appends the message as a client gets it.
func (m *Message) encode(channel string) ([]byte, error) {
	f, err := m.frame(channel)
	if err != nil {
		return nil, err
	}
	return wire.AppendFrame(make([]byte, 0, 96+len(channel)+len(f.Data)), &f), nil
}
