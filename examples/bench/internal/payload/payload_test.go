package payload_test

import (
	"bytes"
	"testing"

	"forge.lthn.ai/core/go-ws/examples/bench/internal/payload"
)

func TestWhatIsAppendedIsFoundAgain(t *testing.T) {
	first := payload.Message{Channel: 999, Sequence: 0xfffffffe, Sent: 1_700_000_000_123_456_789}
	second := payload.Message{Channel: 0, Sequence: 0, Sent: payload.Now()}
	b := []byte(`{"data":"`)
	b = payload.Append(b, first, payload.Size)
	b = append(b, "\"}\n{\"data\":\""...)
	b = payload.Append(b, second, 1024)
	b = append(b, `"}`...)
	if got, want := len(b), 9+128+12+1024+2; got != want {
		t.Errorf("length: got %d, want %d", got, want)
	}
	for _, want := range []payload.Message{first, second} {
		got, rest, ok := payload.Next(b)
		if !ok || got != want {
			t.Errorf("Next: got %+v, %v, want %+v", got, ok, want)
		}
		b = rest
	}
	if m, _, ok := payload.Next(b); ok {
		t.Errorf("Next at the end: got %+v, want none", m)
	}
}

func TestGarbledPayloadsAreNone(t *testing.T) {
	whole := payload.Append(nil, payload.Message{Channel: 1, Sequence: 2, Sent: 3}, payload.Size)
	change := func(at int, c byte) []byte {
		b := bytes.Clone(whole)
		b[at] = c
		return b
	}
	for name, b := range map[string][]byte{
		"cut off":            whole[:len(whole)-1],
		"another end":        change(len(whole)-1, 'x'),
		"no digit":           change(5, 'g'),
		"a longer one":       change(33, 'f'),
		"nothing but spaces": bytes.Repeat([]byte(" "), 200),
	} {
		if m, _, ok := payload.Next(b); ok {
			t.Errorf("%s: got %+v, want none", name, m)
		}
	}
}
