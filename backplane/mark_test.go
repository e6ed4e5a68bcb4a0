package backplane_test

import (
	"bytes"
	"reflect"
	"strings"
	"testing"

	"forge.lthn.ai/core/go-ws/backplane"
	"forge.lthn.ai/core/go-ws/hub/wire"
)

// fullHeader is an envelope whose header has n bytes.
func fullHeader(n int) []byte {
	out := []byte{0xb7, 1, 1, byte(n >> 8), byte(n), 1, 1, 'h'}
	for left := n - 3; left > 0; {
		size := min(left-3, 4000)
		out = append(out, 200, byte(size)|0x80, byte(size>>7))
		out = append(out, strings.Repeat("x", size)...)
		left -= size + 3
	}
	return append(out, "payload"...)
}

func FuzzMark(f *testing.F) {
	f.Add(envelope("hub", 1))
	f.Add([]byte(nil))
	f.Add([]byte(`{"type":"event"}`))
	f.Add([]byte{0xb7, 1, 1, 0, 0})
	f.Add([]byte{0xb7, 1, 1, 0xff, 0xff, 1, 2, 3})
	f.Add([]byte{0xb7, 2, 2, 0, 1, 9})
	f.Add(backplane.MarkCopy(envelope("hub", 1)))
	f.Add(backplane.MarkCopy([]byte("x")))
	f.Add(fullHeader(4094))
	f.Add(fullHeader(4096))
	f.Fuzz(func(t *testing.T, data []byte) {
		before := bytes.Clone(data)
		marked := backplane.MarkCopy(data)
		if !bytes.Equal(data, before) {
			t.Fatalf("marking changed the envelope: got %x, want %x", data, before)
		}
		if !backplane.IsCopy(marked) {
			t.Fatalf("marked %x: got no copy: %x", data, marked)
		}
		if len(marked) > len(data)+10 {
			t.Fatalf("a mark: got %d bytes, want 10 at most", len(marked)-len(data))
		}
		want, err := wire.ParseEnvelope(data)
		if err != nil || len(marked) != len(data)+2 {
			return
		}
		if backplane.IsCopy(data) {
			return // by the fuzzer's doing
		}
		got, err := wire.ParseEnvelope(marked)
		if err != nil {
			t.Fatalf("ParseEnvelope of marked %x: got %v, want nil", data, err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("marked %x: got %+v, want %+v", data, got, want)
		}
	})
}

func TestAMarkOfAHubsEnvelopeIsAFieldWhereThereIsRoom(t *testing.T) {
	for _, tc := range []struct {
		name     string
		envelope []byte
		grows    int
	}{
		{"hub's", envelope("hub", 1), 2},
		{"hub's without fields", []byte{0xb7, 1, 1, 0, 0}, 2},
		{"header with just enough room", fullHeader(4094), 2},
		{"header with too little room", fullHeader(4095), 10},
		{"plain", []byte("{}"), 10},
		{"empty", nil, 10},
		{"of a newer version", []byte{0xb7, 2, 2, 0, 0}, 10},
		{"cut off", []byte{0xb7, 1, 1, 0, 9}, 10},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if backplane.IsCopy(tc.envelope) {
				t.Error("unmarked: got a copy, want none")
			}
			if got := len(backplane.MarkCopy(tc.envelope)) - len(tc.envelope); got != tc.grows {
				t.Errorf("mark: got %d bytes, want %d", got, tc.grows)
			}
		})
	}
}
