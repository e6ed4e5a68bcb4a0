package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Envelope is what travels between hubs around a message's payload.
//
//	byte 0    0xB7, which no JSON text begins with
//	byte 1    the version that wrote it
//	byte 2    the oldest version that can read it without harm
//	byte 3–4  length of the header's fields, big endian
//	…         fields: a tag, a length (uvarint of package encoding/binary), bytes
//	…         the payload: the bytes that every receiver gets
//
// A reader skips tags that it does not know, so that a hub reads what a newer
// one writes as long as byte 2 allows.
type Envelope struct {
	// Source is the id of the hub that published, of up to MaxID bytes.
	Source string
	// Sequence counts what Source published on this topic: see package hub.
	// Zero means that it is not counted.
	Sequence uint64
	// MessageID is the message's id, of up to MaxID bytes.
	MessageID string
	// Idempotent says that the publisher chose the id and may publish it
	// again: receivers remember it for a while.
	Idempotent bool
	// Target is the one client that the message is for, on a hub's own topic.
	Target string
	// Key is the coalescing key, of up to 255 bytes.
	Key string
	// Trace is the W3C trace context ("traceparent"), of up to 512 bytes.
	Trace string
	// Control says that the payload is a Control, for the hub and not for its
	// clients.
	Control bool
	// Payload is a frame's encoded form, or a Control's.
	Payload []byte
}

const (
	envelopeMagic   = 0xB7
	envelopeVersion = 1
	envelopeFixed   = 5

	tagSource     = 1
	tagSequence   = 2
	tagMessageID  = 3
	tagIdempotent = 4
	tagTarget     = 5
	tagKey        = 6
	tagTrace      = 7
	tagControl    = 8
	// 251 is taken: package backplane marks copies by it. Readers here skip it.

	// MaxTarget is the longest id of a client, in bytes.
	MaxTarget = 128
	// MaxKey is the longest coalescing key, in bytes.
	MaxKey = 255
	// MaxTrace is the longest trace context, in bytes.
	MaxTrace = 512
	// maxEnvelopeFields bounds the header: the known fields take less than
	// half of it, the rest is for later versions.
	maxEnvelopeFields = 4096
)

// Errors of ParseEnvelope, wrapped with what was wrong.
var (
	// ErrNoEnvelope says that the bytes don't begin like an envelope; they may
	// be plain JSON.
	ErrNoEnvelope = errors.New("wire: no envelope")
	// ErrInvalidEnvelope says that an envelope is cut off, or a field of it is
	// out of bounds.
	ErrInvalidEnvelope = errors.New("wire: invalid envelope")
	// ErrEnvelopeVersion says that the envelope's writer is too new for this
	// reader.
	ErrEnvelopeVersion = errors.New("wire: envelope of a newer version")
)

// AppendEnvelope appends the envelope's bytes to dst. It panics where a field
// is longer than its bound: the hub has checked them.
func AppendEnvelope(dst []byte, e *Envelope) []byte {
	if len(e.Source) > MaxID || len(e.MessageID) > MaxID || len(e.Target) > MaxTarget || len(e.Key) > MaxKey || len(e.Trace) > MaxTrace {
		panic("wire: envelope field out of bounds")
	}
	start := len(dst)
	dst = append(dst, envelopeMagic, envelopeVersion, envelopeVersion, 0, 0)
	dst = appendField(dst, tagSource, e.Source)
	if e.Sequence != 0 {
		dst = append(dst, tagSequence, 8)
		dst = binary.BigEndian.AppendUint64(dst, e.Sequence)
	}
	dst = appendField(dst, tagMessageID, e.MessageID)
	if e.Idempotent {
		dst = append(dst, tagIdempotent, 0)
	}
	dst = appendField(dst, tagTarget, e.Target)
	dst = appendField(dst, tagKey, e.Key)
	dst = appendField(dst, tagTrace, e.Trace)
	if e.Control {
		dst = append(dst, tagControl, 0)
	}
	binary.BigEndian.PutUint16(dst[start+3:], uint16(len(dst)-start-envelopeFixed))
	return append(dst, e.Payload...)
}

func appendField(dst []byte, tag byte, value string) []byte {
	if value == "" {
		return dst
	}
	dst = append(dst, tag)
	dst = binary.AppendUvarint(dst, uint64(len(value)))
	return append(dst, value...)
}

// ParseEnvelope reads an envelope. Its payload is a part of data, not a copy.
func ParseEnvelope(data []byte) (Envelope, error) {
	if len(data) == 0 || data[0] != envelopeMagic {
		return Envelope{}, ErrNoEnvelope
	}
	if len(data) < envelopeFixed {
		return Envelope{}, fmt.Errorf("%w: cut off", ErrInvalidEnvelope)
	}
	if data[2] > envelopeVersion {
		return Envelope{}, fmt.Errorf("%w: it needs a reader of version %d", ErrEnvelopeVersion, data[2])
	}
	n := int(binary.BigEndian.Uint16(data[3:]))
	if n > maxEnvelopeFields || n > len(data)-envelopeFixed {
		return Envelope{}, fmt.Errorf("%w: header of %d bytes", ErrInvalidEnvelope, n)
	}
	fields := data[envelopeFixed : envelopeFixed+n]
	e := Envelope{Payload: data[envelopeFixed+n:]}
	for len(fields) > 0 {
		tag := fields[0]
		size, used := binary.Uvarint(fields[1:])
		if used <= 0 || size > uint64(len(fields)-1-used) {
			return Envelope{}, fmt.Errorf("%w: field %d is cut off", ErrInvalidEnvelope, tag)
		}
		value := fields[1+used : 1+used+int(size)]
		fields = fields[1+used+int(size):]
		if err := e.setField(tag, value); err != nil {
			return Envelope{}, err
		}
	}
	if e.Source == "" {
		return Envelope{}, fmt.Errorf("%w: no source", ErrInvalidEnvelope)
	}
	return e, nil
}

func (e *Envelope) setField(tag byte, value []byte) error {
	limit := MaxID
	var field *string
	switch tag {
	case tagSource:
		field = &e.Source
	case tagMessageID:
		field = &e.MessageID
	case tagTarget:
		field, limit = &e.Target, MaxTarget
	case tagKey:
		field, limit = &e.Key, MaxKey
	case tagTrace:
		field, limit = &e.Trace, MaxTrace
	case tagIdempotent:
		e.Idempotent = true
		return nil
	case tagControl:
		e.Control = true
		return nil
	case tagSequence:
		if len(value) != 8 {
			return fmt.Errorf("%w: sequence of %d bytes", ErrInvalidEnvelope, len(value))
		}
		e.Sequence = binary.BigEndian.Uint64(value)
		return nil
	default:
		return nil
	}
	if len(value) > limit {
		return fmt.Errorf("%w: field %d of %d bytes", ErrInvalidEnvelope, tag, len(value))
	}
	*field = string(value)
	return nil
}
