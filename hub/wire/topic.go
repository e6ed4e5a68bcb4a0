package wire

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// Topics keep their spaces apart by their first letter. Adapters put their own
// prefix before it: with Redis's default the channel "news" is published on
// "ws:c:news".
const (
	// TopicBroadcast is heard by every client of every hub.
	TopicBroadcast = "b:"
	// TopicControl is heard by every hub: see Control.
	TopicControl = "a:"

	channelPrefix = "c:"
	userPrefix    = "u:"
	hubPrefix     = "h:"
)

// MaxChannel is the longest name of a channel that any hub takes, in bytes.
const MaxChannel = 510

// ErrInvalidChannel is wrapped by the errors of CheckChannel.
var ErrInvalidChannel = errors.New("wire: invalid channel name")

// CheckChannel reports what is wrong with a channel's name: any UTF-8 of up to
// limit bytes is a name, but for the empty one and those that begin with "$",
// which are the hub's own.
func CheckChannel(name string, limit int) error {
	switch {
	case name == "":
		return fmt.Errorf("%w: empty", ErrInvalidChannel)
	case len(name) > limit:
		return fmt.Errorf("%w: longer than %d bytes", ErrInvalidChannel, limit)
	case name[0] == '$':
		return fmt.Errorf("%w: begins with $", ErrInvalidChannel)
	case !utf8.ValidString(name):
		return fmt.Errorf("%w: not UTF-8", ErrInvalidChannel)
	}
	return nil
}

// ChannelTopic is the topic that messages of a channel are published on.
func ChannelTopic(channel string) string { return channelPrefix + channel }

// UserTopic is the topic of messages for all clients of a user.
func UserTopic(userID string) string { return userPrefix + userID }

// HubTopic is the topic that only the named hub listens to.
func HubTopic(hubID string) string { return hubPrefix + hubID }

// TopicChannel is the channel that a topic stands for, if it is a channel's.
func TopicChannel(topic string) (channel string, ok bool) {
	return strings.CutPrefix(topic, channelPrefix)
}

// TopicUser is the user that a topic stands for, if it is a user's.
func TopicUser(topic string) (userID string, ok bool) {
	return strings.CutPrefix(topic, userPrefix)
}
