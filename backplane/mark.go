package backplane

import (
	"bytes"
	"encoding/binary"
)

// A Dual marks what it publishes on its second broker as a copy. The mark must
// not keep a hub that is on that broker alone from reading it. In an envelope of
// a hub it is a field that such a hub skips, the first one:
//
//	B7 01 01 nnnn  FB 00  other fields  payload
//
// Before anything else (no hub publishes that) stand the bytes of otherMark.
const (
	hubEnvelope      = 0xB7 // see wire.Envelope
	hubEnvelopeFixed = 5
	// hubEnvelopeVersion is the newest whose header is known here.
	hubEnvelopeVersion = 1
	// hubEnvelopeFields is the longest header that hubs read.
	hubEnvelopeFields = 4096

	// markTag is the tag of the mark's field, which no version of the envelope
	// gives another meaning.
	markTag  = 0xFB
	markSize = 2
)

// otherMark was drawn at random, so that nothing begins with it by accident.
var otherMark = []byte("\xfb\x8e\x31\xd5\x07\xca\x9f\x42\xb0\x6d")

// markCopy returns the envelope with a mark. It does not change it.
func markCopy(envelope []byte) []byte {
	fields, ok := hubFields(envelope)
	if !ok || fields+markSize > hubEnvelopeFields {
		return append(otherMark[:len(otherMark):len(otherMark)], envelope...)
	}
	out := make([]byte, 0, len(envelope)+markSize)
	out = append(out, envelope[:3]...)
	out = binary.BigEndian.AppendUint16(out, uint16(fields+markSize))
	out = append(out, markTag, 0)
	return append(out, envelope[hubEnvelopeFixed:]...)
}

// isCopy reports whether an envelope bears a mark.
func isCopy(envelope []byte) bool {
	fields, ok := hubFields(envelope)
	if ok && fields >= markSize {
		return envelope[hubEnvelopeFixed] == markTag && envelope[hubEnvelopeFixed+1] == 0
	}
	return bytes.HasPrefix(envelope, otherMark)
}

// hubFields is how many bytes the header's fields of a hub's envelope take. It
// is not ok where the bytes are none, or of a version that may look otherwise.
func hubFields(envelope []byte) (n int, ok bool) {
	if len(envelope) < hubEnvelopeFixed || envelope[0] != hubEnvelope || envelope[2] > hubEnvelopeVersion {
		return 0, false
	}
	n = int(binary.BigEndian.Uint16(envelope[3:]))
	return n, n <= hubEnvelopeFields && n <= len(envelope)-hubEnvelopeFixed
}
