package client_test

import (
	"net/http"
	"testing"
	"time"

	"forge.lthn.ai/core/go-ws/client"
)

const year = 365 * 24 * time.Hour

func FuzzParseHint(f *testing.F) {
	for _, seed := range []string{
		`{"reason":"restart","reconnectAfterMs":2317}`, `{"reconnectAfterMs":-0.1}`, `{"reconnectAfterMs":1e308}`, `{}`, ``, `7`, `null`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, reason string) {
		if d, ok := client.ParseHint(reason); d < 0 || d > year || !ok && d != 0 {
			t.Errorf("got %v, %v", d, ok)
		}
	})
}

func FuzzParseRetryAfter(f *testing.F) {
	f.Add("7", "")
	f.Add("Thu, 26 Nov 2026 12:00:00 GMT", "Thu, 26 Nov 2026 11:59:00 GMT")
	f.Add("Fri, 31 Dec 9999 23:59:59 GMT", "Mon, 01 Jan 0001 00:00:00 GMT")
	f.Fuzz(func(t *testing.T, after, date string) {
		h := http.Header{"Retry-After": {after}, "Date": {date}}
		if d := client.ParseRetryAfter(h, time.Unix(1_800_000_000, 0)); d < 0 || d > year {
			t.Errorf("got %v", d)
		}
	})
}

// FuzzParseFrame reads any bytes, and what it has read once more.
func FuzzParseFrame(f *testing.F) {
	for _, seed := range []string{
		`{"type":"event","channel":"news","data":{"a":[1]},"timestamp":"2026-11-24T08:30:02.25Z"}`,
		`{"type":"error","id":"1","data":{"code":"forbidden","message":"no"}}`,
		`{"type":"event","timestamp":"yesterday"}`, `{"type":""}`, `[]`, `null`, "\xff",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		frame, err := client.ParseFrame(data)
		if (err == nil) != (frame.Type != "") {
			t.Errorf("got %+v, %v", frame, err)
		}
	})
}
