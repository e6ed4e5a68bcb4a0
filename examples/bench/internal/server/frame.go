//go:build linux

package server

import (
	"encoding/binary"
	"strconv"
	"time"
)

// appendFloorFrame appends the frame of a floor. Unless bare, it is as long as
// the one that the hub sends: the same payload in the same protocol.
func appendFloorFrame(dst []byte, channel int, payload []byte, now time.Time, bare bool) []byte {
	if bare {
		return append(appendHeader(dst, len(payload)), payload...)
	}
	const (
		before = `{"type":"event","channel":"c`
		middle = `","data":"`
		after  = `","timestamp":"`
		end    = `"}`
		layout = "2006-01-02T15:04:05.000000000Z"
	)
	var b [20]byte
	number := strconv.AppendInt(b[:0], int64(channel), 10)
	dst = appendHeader(dst, len(before)+len(number)+len(middle)+len(payload)+len(after)+len(layout)+len(end))
	dst = append(dst, before...)
	dst = append(dst, number...)
	dst = append(dst, middle...)
	dst = append(dst, payload...)
	dst = append(dst, after...)
	dst = now.UTC().AppendFormat(dst, layout)
	return append(dst, end...)
}

// appendHeader appends the header of a text frame from a server.
func appendHeader(dst []byte, size int) []byte {
	if size < 126 {
		return append(dst, 0x81, byte(size))
	}
	return binary.BigEndian.AppendUint16(append(dst, 0x81, 126), uint16(size))
}

// parseJoin reads the one frame that a client of a floor sends. n is zero while
// it is not whole.
func parseJoin(b []byte) (text string, n int) {
	if len(b) < 6 {
		return "", 0
	}
	size, at := int(b[1]&0x7f), 2
	if size == 126 {
		if len(b) < 8 {
			return "", 0
		}
		size, at = int(binary.BigEndian.Uint16(b[2:])), 4
	}
	if len(b) < at+4+size {
		return "", 0
	}
	mask, body := b[at:at+4], make([]byte, size)
	for i := range body {
		body[i] = b[at+4+i] ^ mask[i%4]
	}
	return string(body), at + 4 + size
}
