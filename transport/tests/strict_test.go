package tests

import (
	"bufio"
	"bytes"
	"compress/flate"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"forge.lthn.ai/core/go-ws/hub"
	"forge.lthn.ai/core/go-ws/hub/wire"
)

const (
	fin  = 0x80
	rsv1 = 0x40

	opContinuation = 0
	opText         = 1
	opBinary       = 2
	opClose        = 8
	opPing         = 9
	opPong         = 10
)

// event is one whole message, or one control frame.
type event struct {
	op      byte
	payload []byte // of a message inflated
	close   hub.CloseError
}

// strictReader parses what a server sends, after the handshake. It refuses
// whatever RFC 6455 and RFC 7692 forbid a server, and some that they allow and
// this server never does: reserved bits, masked frames, lengths in a longer
// form than needed, control frames that are long or in fragments, fragments out
// of place, text or close reasons that are not UTF-8, close codes that are never
// sent, and anything behind a close frame.
type strictReader struct {
	r       *bufio.Reader
	deflate bool // negotiated
	ended   bool

	first byte // of the message under way, 0 for none
	parts []byte
}

// errBreach is wrapped by what is wrong with the stream.
var errBreach = errors.New("the server broke the protocol")

func breach(format string, args ...any) error {
	return fmt.Errorf("%w: %s", errBreach, fmt.Sprintf(format, args...))
}

// next returns the next event. After a close frame it waits for the end, and
// returns io.EOF. The payload is the caller's.
func (s *strictReader) next() (event, error) {
	for {
		head, err := s.r.ReadByte()
		if err != nil {
			if err == io.EOF && s.first != 0 {
				return event{}, breach("the stream ends within a message")
			}
			return event{}, err
		}
		if s.ended {
			return event{}, breach("bytes after the close frame")
		}
		payload, err := s.payload()
		if err != nil {
			return event{}, err
		}
		op := head & 0x0F
		switch {
		case head&0x30 != 0:
			return event{}, breach("reserved bits in %#x", head)
		case op >= opClose:
			return s.control(head, payload)
		case op > opBinary:
			return event{}, breach("opcode %d", op)
		case op == opContinuation && (s.first == 0 || head&rsv1 != 0):
			return event{}, breach("continuation %#x after %#x", head, s.first)
		case op != opContinuation && s.first != 0:
			return event{}, breach("a message within another")
		case head&rsv1 != 0 && !s.deflate:
			return event{}, breach("a compressed message that was not negotiated")
		}
		if op != opContinuation {
			s.first, s.parts = head|fin, nil
		}
		s.parts = append(s.parts, payload...)
		if head&fin != 0 {
			return s.message()
		}
	}
}

func (s *strictReader) message() (event, error) {
	e := event{op: s.first & 0x0F, payload: s.parts}
	compressed := s.first&rsv1 != 0
	s.first, s.parts = 0, nil
	if compressed {
		var err error
		if e.payload, err = inflate(e.payload); err != nil {
			return event{}, breach("inflating: %v", err)
		}
	}
	if e.op == opText && !utf8.Valid(e.payload) {
		return event{}, breach("text is not UTF-8")
	}
	return e, nil
}

func (s *strictReader) payload() ([]byte, error) {
	b, err := s.r.ReadByte()
	if err != nil {
		return nil, cutOff(err)
	}
	if b&0x80 != 0 {
		return nil, breach("a masked frame")
	}
	n, least := uint64(b), uint64(0)
	var long [8]byte
	switch b {
	case 126:
		_, err = io.ReadFull(s.r, long[6:])
		least = 126
	case 127:
		_, err = io.ReadFull(s.r, long[:])
		least = 1 << 16
	}
	if err != nil {
		return nil, cutOff(err)
	}
	if least > 0 {
		n = binary.BigEndian.Uint64(long[:])
	}
	if n < least || n > 1<<30 {
		return nil, breach("length %d in the form of byte %d", n, b)
	}
	p := make([]byte, n)
	if _, err := io.ReadFull(s.r, p); err != nil {
		return nil, cutOff(err)
	}
	return p, nil
}

// cutOff tells an end within a frame from one between frames.
func cutOff(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return breach("the stream ends within a frame")
	}
	return err
}

func (s *strictReader) control(head byte, payload []byte) (event, error) {
	e := event{op: head & 0x0F, payload: payload}
	if head&fin == 0 || head&rsv1 != 0 || len(payload) > 125 || e.op > opPong {
		return event{}, breach("control frame %#x of %d bytes", head, len(payload))
	}
	if e.op != opClose {
		return e, nil
	}
	s.ended = true
	e.close.Code = wire.CloseNoStatus
	switch {
	case len(payload) == 1:
		return event{}, breach("close frame of one byte")
	case len(payload) > 1:
		e.close.Code = wire.CloseCode(binary.BigEndian.Uint16(payload))
		e.close.Reason = string(payload[2:])
		c := e.close.Code
		if c < 1000 || c > 4999 || c >= 1004 && c <= 1006 || c == 1015 || !utf8.ValidString(e.close.Reason) {
			return event{}, breach("close frame with %d %q", c, e.close.Reason)
		}
	}
	return e, nil
}

// tail ends a flushed block of DEFLATE and does not travel (RFC 7692, section
// 7.2.1); an empty last block after it shows where the data ends.
const (
	tail      = "\x00\x00\xff\xff"
	lastBlock = "\x01\x00\x00\xff\xff"
)

func inflate(p []byte) ([]byte, error) {
	return io.ReadAll(flate.NewReader(io.MultiReader(bytes.NewReader(p), strings.NewReader(tail+lastBlock))))
}

func deflate(p []byte) []byte {
	var b bytes.Buffer
	w, _ := flate.NewWriter(&b, flate.BestCompression)
	// A bytes.Buffer takes everything.
	_, _ = w.Write(p)
	_ = w.Flush()
	return bytes.TrimSuffix(b.Bytes(), []byte(tail))
}

// maskedFrame builds a client's frame.
func maskedFrame(head byte, payload []byte) []byte {
	f := []byte{head}
	switch n := len(payload); {
	case n < 126:
		f = append(f, 0x80|byte(n))
	case n < 1<<16:
		f = binary.BigEndian.AppendUint16(append(f, 0x80|126), uint16(n))
	default:
		f = binary.BigEndian.AppendUint64(append(f, 0x80|127), uint64(n))
	}
	mask := [4]byte{0xA5, 0x17, byte(len(payload)), 0x3C}
	f = append(f, mask[:]...)
	for i, b := range payload {
		f = append(f, b^mask[i%4])
	}
	return f
}

func closePayload(code wire.CloseCode, reason string) []byte {
	if code == wire.CloseNoStatus {
		return nil
	}
	return append(binary.BigEndian.AppendUint16(nil, uint16(code)), reason...)
}
