package wire_test

import (
	"errors"
	"strings"
	"testing"

	"forge.lthn.ai/core/go-ws/hub/wire"
)

func TestCheckChannel(t *testing.T) {
	for _, name := range []string{"a", "news", "a.b*>", " ", "\n", "\x00", "日本語", "a$", "c:a", "{}", "\ufffd", strings.Repeat("x", 20)} {
		if err := wire.CheckChannel(name, 20); err != nil {
			t.Errorf("CheckChannel(%q): got %v, want nil", name, err)
		}
	}
	for _, name := range []string{"", "$", "$SYS", strings.Repeat("x", 21), strings.Repeat("é", 11), "\xff", "half \xe2\x82", "\xed\xa0\x80"} {
		if err := wire.CheckChannel(name, 20); !errors.Is(err, wire.ErrInvalidChannel) {
			t.Errorf("CheckChannel(%q): got %v, want %v", name, err, wire.ErrInvalidChannel)
		}
	}
	if err := wire.CheckChannel(strings.Repeat("x", wire.MaxChannel), wire.MaxChannel); err != nil {
		t.Errorf("CheckChannel of the longest name: got %v, want nil", err)
	}
	if got, want := len(wire.ChannelTopic(strings.Repeat("x", wire.MaxChannel))), 512; got != want {
		t.Errorf("topic of the longest name: got %d bytes, want %d", got, want)
	}
}

// Programs in other languages publish to these topics.
func TestTopics(t *testing.T) {
	for _, tc := range []struct{ got, want string }{
		{wire.TopicBroadcast, "b:"},
		{wire.TopicControl, "a:"},
		{wire.ChannelTopic("news"), "c:news"},
		{wire.UserTopic("ann"), "u:ann"},
		{wire.HubTopic("hub-1"), "h:hub-1"},
	} {
		if tc.got != tc.want {
			t.Errorf("topic: got %q, want %q", tc.got, tc.want)
		}
	}
	for _, name := range []string{"", "news", "c:news", "u:", ":", "b:"} {
		if got, ok := wire.TopicChannel(wire.ChannelTopic(name)); !ok || got != name {
			t.Errorf("channel of its topic: got %q, %t, want %q, true", got, ok, name)
		}
		if got, ok := wire.TopicUser(wire.UserTopic(name)); !ok || got != name {
			t.Errorf("user of its topic: got %q, %t, want %q, true", got, ok, name)
		}
		if _, ok := wire.TopicChannel(wire.UserTopic(name)); ok {
			t.Errorf("channel of the topic of user %q: got one, want none", name)
		}
		if _, ok := wire.TopicUser(wire.ChannelTopic(name)); ok {
			t.Errorf("user of the topic of channel %q: got one, want none", name)
		}
	}
	for _, topic := range []string{wire.TopicBroadcast, wire.TopicControl, wire.HubTopic("c:x"), "", "c", "C:x"} {
		if name, ok := wire.TopicChannel(topic); ok {
			t.Errorf("channel of %q: got %q, want none", topic, name)
		}
	}
}

func TestCloseCodeReconnect(t *testing.T) {
	for code, want := range map[wire.CloseCode]bool{
		wire.CloseNormal: false, wire.CloseGoingAway: true, wire.CloseProtocolError: false, wire.CloseUnsupportedData: false,
		wire.CloseNoStatus: true, wire.CloseAbnormal: true, wire.CloseInvalidData: false, wire.ClosePolicy: false,
		wire.CloseTooBig: false, wire.CloseInternal: true, wire.CloseServiceRestart: true, wire.CloseTryAgainLater: true,
		wire.CloseCredentialsExpired: true, wire.CloseSlowClient: true, wire.ClosePongTimeout: true, wire.CloseRateLimited: true,
		1010: true, 3000: true, 4000: true, 4499: true, 4500: false, 4999: false,
	} {
		if got := code.Reconnect(); got != want {
			t.Errorf("code %d: got %t, want %t", code, got, want)
		}
	}
}

func TestCloseCodeSendable(t *testing.T) {
	for code := range wire.CloseCode(6000) {
		want := code >= 1000 && code <= 1003 || code >= 1007 && code <= 1014 || code >= 3000 && code <= 4999
		if got := code.Sendable(); got != want {
			t.Errorf("code %d: got %t, want %t", code, got, want)
		}
	}
}
