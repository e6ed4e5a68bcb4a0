// Package load is the other side of a measurement: many WebSocket clients in
// one loop over epoll, which check every message.
package load

import (
	"encoding/binary"
	"errors"
)

// Opcodes of RFC 6455, section 5.2.
const (
	opContinuation = 0x0
	opText         = 0x1
	opBinary       = 0x2
	opClose        = 0x8
	opPing         = 0x9
	opPong         = 0xA
)

// Frame is one frame from a server. Its payload is a part of what was parsed.
type Frame struct {
	Final, Compressed bool
	Opcode            byte
	Payload           []byte
}

var errFrame = errors.New("load: the server sent what is no frame")

// ParseFrame reads the first frame of b and says how many bytes it took: none
// while it is not whole.
func ParseFrame(b []byte) (f Frame, n int, err error) {
	if len(b) < 2 {
		return Frame{}, 0, nil
	}
	f = Frame{Final: b[0]&0x80 != 0, Compressed: b[0]&0x40 != 0, Opcode: b[0] & 0x0f}
	if b[0]&0x30 != 0 || b[1]&0x80 != 0 {
		return Frame{}, 0, errFrame
	}
	size, n := uint64(b[1]), 2
	switch size {
	case 126:
		if len(b) < 4 {
			return Frame{}, 0, nil
		}
		size, n = uint64(binary.BigEndian.Uint16(b[2:])), 4
	case 127:
		if len(b) < 10 {
			return Frame{}, 0, nil
		}
		size, n = binary.BigEndian.Uint64(b[2:]), 10
		if size >= 1<<31 {
			return Frame{}, 0, errFrame
		}
	}
	if uint64(len(b)-n) < size {
		return Frame{}, 0, nil
	}
	f.Payload = b[n : n+int(size)]
	return f, n + int(size), nil
}

// appendFrame appends a client's frame. The mask is all zeros: what it is for
// concerns browsers, and the server unmasks in any case.
func appendFrame(dst []byte, opcode byte, payload []byte) []byte {
	dst = append(dst, 0x80|opcode)
	switch {
	case len(payload) < 126:
		dst = append(dst, 0x80|byte(len(payload)))
	default:
		dst = append(dst, 0x80|126)
		dst = binary.BigEndian.AppendUint16(dst, uint16(len(payload)))
	}
	dst = append(dst, 0, 0, 0, 0)
	return append(dst, payload...)
}
