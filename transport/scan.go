package transport

import "encoding/binary"

// scanner follows the headers of the client's frames as their bytes pass, only
// so that a message that is too large is refused when it is announced: the
// library would first read as much of it as is allowed. What breaks the
// protocol is the library's to find.
type scanner struct {
	header   [10]byte // first byte, length, extended length
	have     int      // bytes of the header
	skip     uint64   // bytes up to the next header
	message  uint64   // length of the message's fragments so far
	deflated bool     // the message is compressed
}

// scan returns how much of p comes before the last byte of a header that
// announces a message of more than limit bytes: all of it where there is none.
// A compressed message is not judged: it may grow by being compressed.
func (s *scanner) scan(p []byte, limit int64) (ok int) {
	for i := 0; i < len(p); {
		if s.skip > 0 {
			n := min(s.skip, uint64(len(p)-i))
			s.skip -= n
			i += int(n)
			continue
		}
		s.header[s.have] = p[i]
		s.have++
		i++
		length, whole := s.length()
		if !whole {
			continue
		}
		s.have = 0
		s.skip = length
		if s.header[1]&maskBit != 0 {
			s.skip += maskSize
		}
		first := s.header[0]
		if first&0xF >= opClose {
			continue
		}
		if first&0xF != opContinuation {
			s.message = 0
			s.deflated = first&rsv1Bit != 0
		}
		if !s.deflated && (length > uint64(limit) || s.message > uint64(limit)-length) {
			return i - 1
		}
		s.message += length
	}
	return len(p)
}

// length gives the payload's length once the header is there, without its mask.
func (s *scanner) length() (uint64, bool) {
	if s.have < 2 {
		return 0, false
	}
	switch n := s.header[1] &^ maskBit; {
	case n == 126 && s.have == 4:
		return uint64(binary.BigEndian.Uint16(s.header[2:])), true
	case n == 127 && s.have == 10:
		return binary.BigEndian.Uint64(s.header[2:]), true
	case n < 126:
		return uint64(n), true
	}
	return 0, false
}
