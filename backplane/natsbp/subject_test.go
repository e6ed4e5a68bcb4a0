package natsbp_test

import (
	"math/rand/v2"
	"strings"
	"testing"

	"forge.lthn.ai/core/go-ws/backplane/natsbp"
)

func TestTopicsComeOutAsTheyWentIn(t *testing.T) {
	for topic, want := range map[string]string{
		"c:news":           "c:news",
		"b:":               "b:",
		"":                 "%",
		"c:a.b":            "c:a%2Eb",
		"c:a b":            "c:a%20b",
		"c:*":              "c:%2A",
		"c:>":              "c:%3E",
		"c:%":              "c:%25",
		"c:%2E":            "c:%252E",
		"c:\r\n\x00":       "c:%0D%0A%00",
		"c:é":              "c:%C3%A9",
		"c:\xff":           "c:%FF",
		"h:0Az-_~:":        "h:0Az-_~:",
		"c:$SYS._INBOX/\"": "c:%24SYS%2E_INBOX%2F%22",
	} {
		if got := natsbp.Escape(topic); got != want {
			t.Errorf("escape(%q): got %q, want %q", topic, got, want)
		}
		if got, err := natsbp.Unescape(want); err != nil || got != topic {
			t.Errorf("unescape(%q): got %q, %v, want %q", want, got, err, topic)
		}
	}
}

// Whatever the bytes: back the same, one token, and not too long for a server's
// control line.
func TestAnyBytesMakeOneTokenAndComeBack(t *testing.T) {
	for range 20_000 {
		topic := make([]byte, rand.IntN(513))
		for i := range topic {
			topic[i] = byte(rand.IntN(256))
		}
		checkRoundTrip(t, string(topic))
	}
	checkRoundTrip(t, strings.Repeat("\x00", 512))
	// PUB, the subject, the size and the line's end, against a default of 4096.
	if got, want := natsbp.LongestSubject+len("PUB  1048576\r\n"), 4096; got > want {
		t.Errorf("longest control line: got %d bytes, want at most %d", got, want)
	}
}

func checkRoundTrip(t *testing.T, topic string) {
	t.Helper()
	token := natsbp.Escape(topic)
	for i := range len(token) {
		if c := token[i]; c <= ' ' || c >= 0x7f || c == '.' || c == '*' || c == '>' {
			t.Fatalf("escape(%q): got %q, which holds the byte %q", topic, token, c)
		}
	}
	if len(token) == 0 || len(token) > 3*max(len(topic), 1) {
		t.Fatalf("escape(%q): got %d bytes, want 1 to %d", topic, len(token), 3*len(topic))
	}
	if got, err := natsbp.Unescape(token); err != nil || got != topic {
		t.Fatalf("unescape(%q): got %q, %v, want %q", token, got, err, topic)
	}
}

// No two tokens stand for one topic: what is not written as escape writes it is
// refused.
func TestTokensThatEscapeDoesNotMakeAreRefused(t *testing.T) {
	for _, token := range []string{"", "%4", "%4x", "%41", "%2e", "%%", "a%", "a b", "a.b", "*", ">", "é", "%probe", "%\x00\x00"} {
		if got, err := natsbp.Unescape(token); err == nil {
			t.Errorf("unescape(%q): got %q, want an error", token, got)
		}
	}
}

func FuzzUnescape(f *testing.F) {
	for _, token := range []string{"c:news", "%", "%2E", "%2e", "%4", "c:%C3%A9", "%00%FF"} {
		f.Add(token)
	}
	f.Fuzz(func(t *testing.T, token string) {
		topic, err := natsbp.Unescape(token)
		if err != nil {
			checkRoundTrip(t, token)
			return
		}
		if got := natsbp.Escape(topic); got != token {
			t.Errorf("unescape(%q) is %q, whose escape: got %q, want the same", token, topic, got)
		}
		checkRoundTrip(t, topic)
	})
}
