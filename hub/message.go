package hub

import (
	"time"

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
	// json.RawMessage. Nil, or a nil json.RawMessage, leaves it out. "<", ">" and
	// "&" are left as they are: who writes a frame into HTML must escape it.
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
