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
