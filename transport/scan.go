package transport

import (
	"encoding/binary"
	"fmt"
	"sync/atomic"
	"time"

	"forge.lthn.ai/core/go-ws/hub"
	"forge.lthn.ai/core/go-ws/hub/wire"
)

// Control frames and continuation frames cost work and are no messages, so
// that nobody above counts them. A connection may send framesPerSecond of both
// together, and framesBurst at once. A pong for each of our pings is free.
const (
	framesPerSecond = 1000
	framesBurst     = 2000
)

// maxWire is how many compressed bytes a message of at most limit bytes may
// have. No compressor comes near it, but empty blocks can go on for ever.
func maxWire(limit int64) uint64 { return 2*uint64(min(limit, maxReadLimit)) + 64<<10 }

// scanner follows the headers of the client's frames as their bytes pass, to
// refuse what the library would read without end, and a message that is too
// large when it is announced: the library would first read as much of it as is
// allowed. What breaks the protocol is the library's to find.
type scanner struct {
	header   [10]byte // first byte, length, extended length
	have     int      // bytes of the header
	skip     uint64   // bytes up to the next header
	message  uint64   // length of the message's fragments so far
	deflated bool     // the message is compressed
	open     bool     // fragments of the message are to come
	// The token bucket in one word: when framesBurst frames may come at once
	// again. It is at most framesBurst/framesPerSecond seconds ahead.
	full  time.Duration
	pings *atomic.Int64 // our pings without a pong; only judge takes from it
}

// between reports whether the next byte begins a message, or a control frame
// between two.
func (s *scanner) between() bool { return s.have == 0 && s.skip == 0 && !s.open }

// scan goes through p up to the end of a frame and returns how far it came. A
// header that is refused has its last byte left out, and refused says why. limit
// is of a message, in bytes; now is the time since the connection began.
func (s *scanner) scan(p []byte, limit int64, now time.Duration) (n int, refused *hub.CloseError) {
	for i := 0; i < len(p); {
		if s.skip > 0 {
			some := min(s.skip, uint64(len(p)-i))
			s.skip -= some
			i += int(some)
			if s.skip == 0 {
				return i, nil
			}
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
		if refused = s.judge(length, limit, now); refused != nil {
			return i - 1, refused
		}
		if s.skip == 0 {
			return i, nil
		}
	}
	return len(p), nil
}

// judge takes or refuses the frame whose header is there.
func (s *scanner) judge(length uint64, limit int64, now time.Duration) *hub.CloseError {
	op := s.header[0] & 0xF
	switch {
	case op == opPong && s.pings.Load() > 0:
		s.pings.Add(-1)
	case op == opContinuation, op >= opClose:
		const each = time.Second / framesPerSecond
		if s.full = max(s.full, now) + each; s.full-now > framesBurst*each {
			return &hub.CloseError{Code: wire.ClosePolicy, Reason: "too many control frames or fragments"}
		}
	}
	if op >= opClose {
		return nil
	}
	s.open = s.header[0]&finBit == 0
	if op != opContinuation {
		s.message = 0
		s.deflated = s.header[0]&rsv1Bit != 0
	}
	most := uint64(limit)
	if s.deflated {
		most = maxWire(limit)
	}
	if length > most || s.message > most-length {
		return tooBig(most, s.deflated)
	}
	s.message += length
	return nil
}

func tooBig(most uint64, deflated bool) *hub.CloseError {
	what := "message"
	if deflated {
		what = "compressed message"
	}
	return &hub.CloseError{Code: wire.CloseTooBig, Reason: fmt.Sprintf("%s of more than %d bytes", what, most)}
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
