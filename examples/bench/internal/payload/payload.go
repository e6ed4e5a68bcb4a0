// Package payload is what the measured messages carry: where it came from in
// which order, and when it was published.
package payload

import (
	"bytes"
	"time"
)

// Size is the usual length of a payload, in bytes.
const Size = 128

// A payload is text that JSON takes as it is:
//
//	marker · channel, 4 hex digits · sequence, 8 · time, 16 · length, 4 · filler · end
const (
	marker = "~b~"
	header = len(marker) + 4 + 8 + 16 + 4
	end    = '.'
	filler = "the quick brown fox jumps over the lazy dog and on "
	digits = "0123456789abcdef"
)

// MinSize is the shortest payload.
const MinSize = header + 1

// Message is what a payload says.
type Message struct {
	Channel  int
	Sequence uint32
	// Sent is when it was published, as Now gives it.
	Sent int64
}

// Now is the time in nanoseconds, the same in all processes of a machine.
func Now() int64 { return time.Now().UnixNano() }

// Append appends a payload of a size to dst.
func Append(dst []byte, m Message, size int) []byte {
	if size < MinSize || size > 0xffff {
		panic("payload: size out of bounds")
	}
	start := len(dst)
	dst = append(dst, marker...)
	dst = appendHex(dst, uint64(m.Channel), 4)
	dst = appendHex(dst, uint64(m.Sequence), 8)
	dst = appendHex(dst, uint64(m.Sent), 16)
	dst = appendHex(dst, uint64(size), 4)
	for last := start + size - 1; len(dst) < last; {
		dst = append(dst, filler[:min(len(filler), last-len(dst))]...)
	}
	return append(dst, end)
}

func appendHex(dst []byte, v uint64, n int) []byte {
	for shift := 4 * (n - 1); shift >= 0; shift -= 4 {
		dst = append(dst, digits[v>>shift&15])
	}
	return dst
}

// Next finds the first payload in b, whatever stands around it, and returns
// what comes after it. ok is false when there is none. A payload that is cut
// off, or garbled, counts as none: the receiver then misses it.
func Next(b []byte) (m Message, rest []byte, ok bool) {
	i := bytes.Index(b, []byte(marker))
	if i < 0 || len(b)-i < MinSize {
		return Message{}, nil, false
	}
	p := b[i+len(marker):]
	channel, ok1 := hex(p[:4])
	sequence, ok2 := hex(p[4:12])
	sent, ok3 := hex(p[12:28])
	size, ok4 := hex(p[28:32])
	if !ok1 || !ok2 || !ok3 || !ok4 || int(size) < MinSize || int(size) > len(b)-i || b[i+int(size)-1] != end {
		return Message{}, nil, false
	}
	return Message{int(channel), uint32(sequence), int64(sent)}, b[i+int(size):], true
}

// values are the digits' values, 0xff for what is no digit.
var values = func() (v [256]byte) {
	for i := range v {
		v[i] = 0xff
	}
	for i := range len(digits) {
		v[digits[i]] = byte(i)
	}
	return v
}()

func hex(b []byte) (v uint64, ok bool) {
	var bad byte
	for _, c := range b {
		d := values[c]
		bad |= d & 0xf0
		v = v<<4 | uint64(d&15)
	}
	return v, bad == 0
}
