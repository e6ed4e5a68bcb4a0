package natsbp

import (
	"errors"
	"fmt"
	"strings"

	"forge.lthn.ai/core/go-ws/hub"
)

// maxTopic is the longest topic that a hub makes, in bytes.
const maxTopic = 512

// maxPrefix keeps subjects well below the server's max_control_line of 4096:
// the longest is this, a dot, and a topic of which every byte is escaped.
const maxPrefix = 64

const upperHex = "0123456789ABCDEF"

// plain reports whether a byte of a topic stands for itself in a subject. What
// NATS has a meaning for (dots, wildcards, white space, control characters) does
// not, and neither does what is not ASCII, so that subjects can be written into
// access lists and typed into any tool.
func plain(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' ||
		c == ':' || c == '-' || c == '_' || c == '~'
}

// escape makes one token of a subject of a topic: each byte that is not plain
// becomes a percent sign and two upper case hexadecimal digits. The empty topic
// is a lone percent sign, since a token can't be empty.
func escape(topic string) string {
	if topic == "" {
		return "%"
	}
	special := 0
	for i := range len(topic) {
		if !plain(topic[i]) {
			special++
		}
	}
	if special == 0 {
		return topic
	}
	var b strings.Builder
	b.Grow(len(topic) + 2*special)
	for i := range len(topic) {
		if c := topic[i]; plain(c) {
			b.WriteByte(c)
		} else {
			b.WriteByte('%')
			b.WriteByte(upperHex[c>>4])
			b.WriteByte(upperHex[c&15])
		}
	}
	return b.String()
}

var errNotEscaped = errors.New("natsbp: not an escaped topic")

// unescape takes back escape, and refuses whatever escape does not make: two
// tokens never stand for one topic. A topic without special bytes costs nothing.
func unescape(token string) (string, error) {
	if token == "%" {
		return "", nil
	}
	if token == "" {
		return "", errNotEscaped
	}
	first := 0
	for first < len(token) && plain(token[first]) {
		first++
	}
	if first == len(token) {
		return token, nil
	}
	topic := make([]byte, first, len(token))
	copy(topic, token)
	for i := first; i < len(token); i++ {
		c := token[i]
		if plain(c) {
			topic = append(topic, c)
			continue
		}
		if c != '%' || i+2 >= len(token) {
			return "", errNotEscaped
		}
		high, low := strings.IndexByte(upperHex, token[i+1]), strings.IndexByte(upperHex, token[i+2])
		if high < 0 || low < 0 || plain(byte(high<<4|low)) {
			return "", errNotEscaped
		}
		topic = append(topic, byte(high<<4|low))
		i += 2
	}
	return string(topic), nil
}

// subjects maps topics to subjects below one prefix and back.
type subjects struct{ root string } // the prefix and a dot

func (s subjects) of(topic hub.Topic) (string, error) {
	if len(topic) > maxTopic {
		return "", fmt.Errorf("topic of %d bytes, at most %d", len(topic), maxTopic)
	}
	return s.root + escape(string(topic)), nil
}

func (s subjects) topic(subject string) (hub.Topic, error) {
	token, ok := strings.CutPrefix(subject, s.root)
	if !ok {
		return "", errNotEscaped
	}
	topic, err := unescape(token)
	return hub.Topic(topic), err
}

// probe is the subject on which a backplane speaks to itself. It is no topic's:
// no escaped topic begins like it.
func (s subjects) probe(id string) string { return s.root + "%probe." + id }

// checkPrefix reports what is wrong with a prefix.
func checkPrefix(prefix string) error {
	if len(prefix) > maxPrefix {
		return fmt.Errorf("longer than %d bytes", maxPrefix)
	}
	for token := range strings.SplitSeq(prefix, ".") {
		if token == "" {
			return errors.New("has an empty token")
		}
		for i := range len(token) {
			if c := token[i]; !plain(c) || c == ':' || c == '~' {
				return errors.New(`has other characters than letters, digits, "-" and "_" in tokens separated by dots`)
			}
		}
	}
	if strings.HasPrefix(prefix, "_INBOX") {
		return errors.New("begins with _INBOX, which is NATS's own")
	}
	return nil
}
