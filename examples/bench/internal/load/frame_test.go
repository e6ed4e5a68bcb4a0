package load_test

import (
	"bytes"
	"testing"

	"forge.lthn.ai/core/go-ws/examples/bench/internal/load"
)

func TestParseFrameTakesWholeFramesOnly(t *testing.T) {
	for _, tc := range []struct {
		name   string
		header []byte
		size   int
		want   load.Frame
	}{
		{"short text", []byte{0x81, 5}, 5, load.Frame{Final: true, Opcode: 1}},
		{"length of two bytes", []byte{0x82, 126, 0x01, 0x00}, 256, load.Frame{Final: true, Opcode: 2}},
		{"length of eight bytes", []byte{0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0}, 65536, load.Frame{Final: true, Opcode: 1}},
		{"first of several", []byte{0x01, 3}, 3, load.Frame{Opcode: 1}},
		{"compressed", []byte{0xc1, 3}, 3, load.Frame{Final: true, Compressed: true, Opcode: 1}},
		{"empty ping", []byte{0x89, 0}, 0, load.Frame{Final: true, Opcode: 9}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			body := bytes.Repeat([]byte("x"), tc.size)
			whole := append(bytes.Clone(tc.header), body...)
			for n := range len(whole) {
				if _, used, err := load.ParseFrame(whole[:n]); used != 0 || err != nil {
					t.Fatalf("%d of %d bytes: got %d used, %v, want none yet", n, len(whole), used, err)
				}
			}
			got, used, err := load.ParseFrame(append(whole, "and more"...))
			if err != nil || used != len(whole) {
				t.Fatalf("ParseFrame: got %d used, %v, want %d, nil", used, err, len(whole))
			}
			if !bytes.Equal(got.Payload, body) {
				t.Errorf("payload: got %d bytes, want %d", len(got.Payload), len(body))
			}
			if got.Final != tc.want.Final || got.Compressed != tc.want.Compressed || got.Opcode != tc.want.Opcode {
				t.Errorf("frame: got %+v, want %+v", got, tc.want)
			}
		})
	}
}

func TestParseFrameRefusesWhatNoServerMaySend(t *testing.T) {
	for name, b := range map[string][]byte{
		"masked":        {0x81, 0x85, 0, 0, 0, 0, 'h', 'e', 'l', 'l', 'o'},
		"reserved bits": {0xa1, 0},
		"huge":          {0x81, 127, 0x7f, 0, 0, 0, 0, 0, 0, 0},
	} {
		if _, _, err := load.ParseFrame(b); err == nil {
			t.Errorf("%s: got no error, want one", name)
		}
	}
}
