package transport

import (
	"encoding/binary"
	"unicode/utf8"

	"forge.lthn.ai/core/go-ws/hub"
	"forge.lthn.ai/core/go-ws/hub/wire"
)

// The first bytes of a frame (RFC 6455, section 5.2).
const (
	finBit  = 0x80
	rsv1Bit = 0x40 // the message is compressed (RFC 7692, section 6)

	opContinuation = 0x0
	opText         = 0x1
	opBinary       = 0x2
	opClose        = 0x8
	opPing         = 0x9
	opPong         = 0xA

	maskBit  = 0x80 // of the second byte
	maskSize = 4
)

// frame is one message as it goes on the wire, header included. It never
// changes, so that all connections write the same bytes.
type frame struct {
	plain    []byte
	deflated []byte // nil where no connection wants it or it is no shorter
}

// Size implements hub.Frame.
func (f *frame) Size() int { return len(f.plain) }

// wire is the form that a connection writes.
func (f *frame) wire(deflate bool) []byte {
	if deflate && f.deflated != nil {
		return f.deflated
	}
	return f.plain
}

// Prepare implements hub.Transport. It copies payload. The payload of a
// TextFrame must be UTF-8. A connection that negotiates compression only while
// Prepare runs gets the message as it is.
func (t *Transport) Prepare(ft hub.FrameType, payload []byte) hub.Frame {
	op := byte(opText)
	if ft == hub.BinaryFrame {
		op = opBinary
	}
	f := &frame{plain: appendFrame(make([]byte, 0, maxHeader+len(payload)), finBit|op, payload)}
	if len(payload) >= t.threshold && t.deflating.Load() > 0 {
		f.deflated = deflateFrame(finBit|rsv1Bit|op, payload)
	}
	return f
}

// maxHeader is the longest header of a frame from a server.
const maxHeader = 10

// appendHeader appends the header of an unmasked frame.
func appendHeader(dst []byte, first byte, length int) []byte {
	switch {
	case length < 126:
		return append(dst, first, byte(length))
	case length <= 0xFFFF:
		return binary.BigEndian.AppendUint16(append(dst, first, 126), uint16(length))
	default:
		return binary.BigEndian.AppendUint64(append(dst, first, 127), uint64(length))
	}
}

func appendFrame(dst []byte, first byte, payload []byte) []byte {
	return append(appendHeader(dst, first, len(payload)), payload...)
}

// closeFrame builds a close frame; CloseNoStatus makes one without a code.
func closeFrame(code wire.CloseCode, reason string) []byte {
	if code == wire.CloseNoStatus {
		return []byte{finBit | opClose, 0}
	}
	b := appendHeader(make([]byte, 0, 4+len(reason)), finBit|opClose, 2+len(reason))
	b = binary.BigEndian.AppendUint16(b, uint16(code))
	return append(b, reason...)
}

// parseClose reads a close frame that the library built: the code that is in
// it, and whether its reason is UTF-8, which the library does not check.
func parseClose(b []byte) (e hub.CloseError, valid bool) {
	if len(b) < 4 {
		return hub.CloseError{Code: wire.CloseNoStatus}, true
	}
	return hub.CloseError{
		Code:   wire.CloseCode(binary.BigEndian.Uint16(b[2:])),
		Reason: string(b[4:]),
	}, utf8.Valid(b[4:])
}
