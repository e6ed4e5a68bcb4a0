package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"
)

// Control is what hubs say to each other about themselves and their clients. It
// travels as the payload of an Envelope that says Control, on TopicControl for
// all hubs or on the HubTopic of one.
//
//	byte 0   the kind
//	…        fields: a tag, a length (uvarint of package encoding/binary), bytes
//
// A reader skips tags that it does not know, and drops messages of a kind that
// it does not know.
type Control struct {
	Kind ControlKind
	// Interval is how often an announcing hub means to announce itself, in whole
	// milliseconds, up to MaxInterval.
	Interval time.Duration
	// User or Client names whose connections are closed, with Code and Reason.
	User, Client string
	Code         CloseCode
	Reason       string
	// Request joins an answer with its question. It is random and not zero.
	Request uint64
	// Topics are what a ControlCount asks about, 1 to MaxQuestions: how many
	// clients get what is published there. TopicBroadcast asks for all clients,
	// a ChannelTopic for those on a channel, a UserTopic for a user's.
	Topics []string
	// Counts answer the topics, in their order. UnknownCount where the hub does
	// not know such topics.
	Counts []int
}

// ControlKind says what a Control is about.
type ControlKind uint8

// Kinds of control messages, and the fields that each has.
const (
	// ControlAnnounce says that its source lives: Interval.
	ControlAnnounce ControlKind = 1
	// ControlGoodbye says that its source ends.
	ControlGoodbye ControlKind = 2
	// ControlDisconnect closes clients: User or Client, Code, Reason.
	ControlDisconnect ControlKind = 3
	// ControlCount asks each hub to count: Request, Topics.
	ControlCount ControlKind = 4
	// ControlCounted answers ControlCount, on the asking hub's topic: Request,
	// Counts.
	ControlCounted ControlKind = 5
)

const (
	// MaxInterval is the longest Control.Interval.
	MaxInterval = 10 * time.Minute
	// MaxQuestions is the most topics that one control message asks about.
	MaxQuestions = 64
	// UnknownCount stands in Control.Counts for no answer.
	UnknownCount = -1

	// maxControl bounds a control message: the largest that is known, 64 topics,
	// takes half of it.
	maxControl = 64 << 10
	maxTopic   = 512

	tagInterval = 1
	tagUser     = 2
	tagClient   = 3
	tagCode     = 4
	tagReason   = 5
	tagRequest  = 6
	tagTopic    = 7
	tagCount    = 8
)

// ErrInvalidControl says that a control message is cut off, of an unknown kind,
// lacks a field, or has one that is out of its bounds.
var ErrInvalidControl = errors.New("wire: invalid control message")

// AppendControl appends the message's bytes to dst. It panics where the message
// is one that ParseControl would refuse: the hub has checked it.
func AppendControl(dst []byte, c *Control) []byte {
	if err := c.check(); err != nil {
		panic(err.Error())
	}
	dst = append(dst, byte(c.Kind))
	if c.Interval > 0 {
		dst = appendNumber(dst, tagInterval, uint64(c.Interval.Milliseconds()))
	}
	dst = appendField(dst, tagUser, c.User)
	dst = appendField(dst, tagClient, c.Client)
	if c.Code > 0 {
		dst = binary.BigEndian.AppendUint16(append(dst, tagCode, 2), uint16(c.Code))
	}
	dst = appendField(dst, tagReason, c.Reason)
	if c.Request > 0 {
		dst = binary.BigEndian.AppendUint64(append(dst, tagRequest, 8), c.Request)
	}
	for _, topic := range c.Topics {
		dst = appendField(dst, tagTopic, topic)
	}
	for _, n := range c.Counts {
		if n == UnknownCount {
			dst = append(dst, tagCount, 0)
			continue
		}
		dst = appendNumber(dst, tagCount, uint64(n))
	}
	return dst
}

func appendNumber(dst []byte, tag byte, n uint64) []byte {
	var digits [binary.MaxVarintLen64]byte
	return appendField(dst, tag, string(binary.AppendUvarint(digits[:0], n)))
}

// ParseControl reads a control message. It keeps nothing of data.
func ParseControl(data []byte) (Control, error) {
	if len(data) == 0 || len(data) > maxControl {
		return Control{}, fmt.Errorf("%w: %d bytes", ErrInvalidControl, len(data))
	}
	c := Control{Kind: ControlKind(data[0])}
	for fields := data[1:]; len(fields) > 0; {
		tag := fields[0]
		size, used := binary.Uvarint(fields[1:])
		if used <= 0 || size > uint64(len(fields)-1-used) {
			return Control{}, fmt.Errorf("%w: field %d is cut off", ErrInvalidControl, tag)
		}
		value := fields[1+used : 1+used+int(size)]
		fields = fields[1+used+int(size):]
		if !c.setField(tag, value) {
			return Control{}, fmt.Errorf("%w: field %d", ErrInvalidControl, tag)
		}
	}
	if err := c.check(); err != nil {
		return Control{}, err
	}
	return c, nil
}

// setField reports whether the value can be the field's.
func (c *Control) setField(tag byte, value []byte) bool {
	ok := true
	switch tag {
	case tagInterval:
		var ms uint64
		ms, ok = number(value, uint64(MaxInterval.Milliseconds()))
		c.Interval = time.Duration(ms) * time.Millisecond
	case tagUser:
		c.User = string(value)
	case tagClient:
		c.Client = string(value)
	case tagCode:
		if ok = len(value) == 2; ok {
			c.Code = CloseCode(binary.BigEndian.Uint16(value))
		}
	case tagReason:
		c.Reason = string(value)
	case tagRequest:
		if ok = len(value) == 8; ok {
			c.Request = binary.BigEndian.Uint64(value)
		}
	case tagTopic:
		if ok = len(value) > 0 && len(c.Topics) < MaxQuestions; ok {
			c.Topics = append(c.Topics, string(value))
		}
	case tagCount:
		n, count := uint64(0), UnknownCount
		if len(value) > 0 {
			n, ok = number(value, math.MaxInt32)
			count = int(n)
		}
		if ok = ok && len(c.Counts) < MaxQuestions; ok {
			c.Counts = append(c.Counts, count)
		}
	}
	return ok
}

// number reads a value that is one uvarint, up to a limit.
func number(value []byte, limit uint64) (n uint64, ok bool) {
	n, used := binary.Uvarint(value)
	return n, used == len(value) && used > 0 && n <= limit
}

// check reports what a message lacks or has too much of.
func (c *Control) check() error {
	what := ""
	switch c.Kind {
	case ControlAnnounce:
		if c.Interval < time.Millisecond || c.Interval > MaxInterval {
			what = "an announcement without an interval"
		}
	case ControlGoodbye:
	case ControlDisconnect:
		switch {
		case (c.User == "") == (c.Client == "") || len(c.User) > MaxChannel || len(c.Client) > MaxTarget:
			what = "nobody to disconnect"
		case !c.Code.Sendable() || len(c.Reason) > MaxCloseReason:
			what = "a close frame that can't be sent"
		}
	case ControlCount:
		if c.Request == 0 || len(c.Topics) == 0 || len(c.Topics) > MaxQuestions {
			what = "no question"
		}
		for _, topic := range c.Topics {
			if topic == "" || len(topic) > maxTopic {
				what = "a topic's length"
			}
		}
	case ControlCounted:
		if c.Request == 0 || len(c.Counts) == 0 || len(c.Counts) > MaxQuestions {
			what = "no answer"
		}
		for _, n := range c.Counts {
			if n < UnknownCount || n > math.MaxInt32 {
				what = "a count's size"
			}
		}
	default:
		what = fmt.Sprintf("unknown kind %d", c.Kind)
	}
	if what != "" {
		return fmt.Errorf("%w: %s", ErrInvalidControl, what)
	}
	return nil
}
