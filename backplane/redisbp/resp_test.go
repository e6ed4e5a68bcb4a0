package redisbp_test

import (
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"forge.lthn.ai/core/go-ws/backplane/redisbp"
)

func TestEventsAreRead(t *testing.T) {
	in := "*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n" +
		"*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$5\r\nx\r\n\x00y\r\n" +
		"*3\r\n$8\r\nsmessage\r\n$0\r\n\r\n$0\r\n\r\n" +
		"-NOPERM no\r\n" +
		"*2\r\n$4\r\npong\r\n$0\r\n\r\n" +
		"*3\r\n$12\r\nsunsubscribe\r\n$1\r\na\r\n:0\r\n"
	got, err := redisbp.ReadEvents([]byte(in))
	want := []string{"subscribe a", `message a "x\r\n\x00y"`, `smessage  ""`, "NOPERM no", "pong ", "sunsubscribe a"}
	if !slices.Equal(got, want) || !errors.Is(err, io.EOF) {
		t.Errorf("got %q, %v, want %q and the end", got, err, want)
	}
}

func TestWhatIsNotTheProtocolIsAnError(t *testing.T) {
	for name, in := range map[string]string{
		"empty line":            "\r\n",
		"no carriage return":    "*3\n",
		"long line":             "*" + strings.Repeat("3", 1<<17) + "\r\n",
		"plain status":          "+OK\r\n",
		"number":                ":1\r\n",
		"string":                "$1\r\na\r\n",
		"null list":             "*-1\r\n",
		"list of one":           "*1\r\n$4\r\npong\r\n",
		"list of four":          "*4\r\n$8\r\npmessage\r\n",
		"no number":             "*x\r\n",
		"unknown kind":          "*3\r\n$5\r\nhello\r\n$1\r\na\r\n:1\r\n",
		"pong of three":         "*3\r\n$4\r\npong\r\n$1\r\na\r\n:1\r\n",
		"message of two":        "*2\r\n$7\r\nmessage\r\n$1\r\na\r\n",
		"null payload":          "*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$-1\r\n",
		"no count":              "*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n$1\r\n1\r\n",
		"too long a string":     "*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$536870913\r\n",
		"string past its end":   "*3\r\n$7\r\nmessage\r\n$1\r\nab\r\n",
		"number out of range":   "*3\r\n$99999999999999999999\r\n",
		"negative other than 1": "*3\r\n$-2\r\n",
	} {
		if got, err := redisbp.ReadEvents([]byte(in)); len(got) > 0 || !errors.Is(err, redisbp.ErrProtocol) {
			t.Errorf("%s: got %q, %v, want %v", name, got, err, redisbp.ErrProtocol)
		}
	}
}

// A length that is announced takes no memory before the bytes come.
func TestAnnouncedBytesTakeNoMemory(t *testing.T) {
	in := []byte("*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$536870912\r\nxy")
	got := testing.Benchmark(func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := redisbp.ReadEvents(in); !errors.Is(err, io.ErrUnexpectedEOF) {
				b.Fatalf("got %v, want %v", err, io.ErrUnexpectedEOF)
			}
		}
	}).AllocedBytesPerOp()
	if got > 4<<20 {
		t.Errorf("half a gigabyte announced, two bytes sent: got %d bytes allocated, want 4 MiB at most", got)
	}
}

func TestRepliesAreRead(t *testing.T) {
	for in, want := range map[string]string{
		"+OK\r\n": "OK",
		":7\r\n":  "7",
		"*3\r\n$6\r\nmaster\r\n:0\r\n*1\r\n*3\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\n": "master",
		"*-1\r\n": "", "$-1\r\n": "", "*0\r\n": "",
	} {
		if got, err := redisbp.ReadValue([]byte(in)); got != want || err != nil {
			t.Errorf("%q: got %q, %v, want %q", in, got, err, want)
		}
	}
	if _, err := redisbp.ReadValue([]byte(strings.Repeat("*1\r\n", 100))); !errors.Is(err, redisbp.ErrProtocol) {
		t.Errorf("deep lists: got %v, want %v", err, redisbp.ErrProtocol)
	}
}

func TestCommandsAreWritten(t *testing.T) {
	got := string(redisbp.AppendCommand(nil, "subscribe", "a", "é\r\n"))
	if want := "*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n$4\r\né\r\n\r\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// Whatever a server sends, the reader neither panics nor goes on for ever, and
// what it takes comes out as it went in.
func FuzzReadEvents(f *testing.F) {
	f.Add([]byte("*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\nx\r\n"))
	f.Add([]byte("*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n-ERR\r\n*2\r\n$4\r\npong\r\n$0\r\n\r\n"))
	f.Add([]byte("*1\r\n*1\r\n$-1\r\n"))
	f.Fuzz(func(t *testing.T, p []byte) {
		if events, err := redisbp.ReadEvents(p); err == nil || len(events) > len(p) {
			t.Errorf("got %d events of %d bytes, %v", len(events), len(p), err)
		}
		_, _ = redisbp.ReadValue(p)
		in := redisbp.AppendCommand(nil, "message", "channel", string(p))
		events, err := redisbp.ReadEvents(in)
		if len(events) != 1 || !errors.Is(err, io.EOF) {
			t.Errorf("a message of %d bytes: got %q, %v, want it and the end", len(p), events, err)
		}
	})
}
