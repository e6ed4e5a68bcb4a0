package natsbp_test

import (
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"forge.lthn.ai/core/go-ws/backplane/natsbp"
)

func TestWhatWaitsIsBoundedWithItsHeaders(t *testing.T) {
	for what, m := range map[string]*nats.Msg{
		"data":    {Subject: "ws.c:news", Data: make([]byte, 1000)},
		"headers": {Subject: "ws.c:news", Header: nats.Header{"X": {strings.Repeat("x", 1000)}}},
	} {
		b, err := natsbp.New(natsbp.Config{URL: "nats://127.0.0.1:1", PendingBytes: 10_000})
		if err != nil {
			t.Fatal(err)
		}
		for range 100 {
			natsbp.Queue(b, m)
		}
		if waiting, dropped := natsbp.Queue(b); waiting < 5 || waiting > 10 || dropped != 100-uint64(waiting) {
			t.Errorf("100 messages with 1000 bytes of %s: got %d waiting and %d dropped, want 10,000 bytes and all others", what, waiting, dropped)
		}
		if err := b.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	}
}

// That the client has thrown a message away is seen at once or when the reader
// comes next, so that nobody has to ask the client.
func TestThatTheClientHadNoRoomIsSeen(t *testing.T) {
	b, err := natsbp.New(natsbp.Config{URL: "nats://127.0.0.1:1", PendingMessages: 8})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	m := &nats.Msg{Subject: "ws.c:news"}
	for natsbp.Offer(b, m) {
	}
	if times, now := natsbp.Full(b); times != 0 || !now {
		t.Errorf("a channel without room: got %d times full before and %t now, want 0 and true", times, now)
	}
	natsbp.Take(b) // all of it
	times, now := natsbp.Full(b)
	if times == 0 || now {
		t.Errorf("after the reader came: got %d times full and %t now, want some and false", times, now)
	}
	natsbp.Offer(b, m)
	natsbp.Take(b)
	if again, now := natsbp.Full(b); again != times || now {
		t.Errorf("after a message with much room: got %d times full and %t now, want %d and false", again, now, times)
	}
}
