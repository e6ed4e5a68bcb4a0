package wire_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"forge.lthn.ai/core/go-ws/hub/wire"
)

var controls = map[string]struct {
	control wire.Control
	bytes   string
}{
	"announce":   {wire.Control{Kind: wire.ControlAnnounce, Interval: 2 * time.Second}, "01 01 02 d00f"},
	"goodbye":    {wire.Control{Kind: wire.ControlGoodbye}, "02"},
	"disconnect": {wire.Control{Kind: wire.ControlDisconnect, User: "ann", Code: 4500, Reason: "banned"}, "03 02 03 616e6e 04 02 1194 05 06 62616e6e6564"},
	"one client": {wire.Control{Kind: wire.ControlDisconnect, Client: "H1.c", Code: 1000}, "03 03 04 48312e63 04 02 03e8"},
	"count": {wire.Control{Kind: wire.ControlCount, Request: 0x0102030405060708, Topics: []string{"b:", "c:news", "u:ann"}},
		"04 06 08 0102030405060708 07 02 623a 07 06 633a6e657773 07 05 753a616e6e"},
	"counted": {wire.Control{Kind: wire.ControlCounted, Request: 1, Counts: []int{0, 300, wire.UnknownCount}},
		"05 06 08 0000000000000001 08 01 00 08 02 ac02 08 00"},
}

// These bytes are what hubs of this version say to each other. A change here is
// a change of the protocol.
func TestControlGoldenBytes(t *testing.T) {
	for name, tc := range controls {
		t.Run(name, func(t *testing.T) {
			want, err := hex.DecodeString(strings.ReplaceAll(tc.bytes, " ", ""))
			if err != nil {
				t.Fatal(err)
			}
			if got := wire.AppendControl([]byte("before"), &tc.control); !bytes.Equal(got, append([]byte("before"), want...)) {
				t.Errorf("AppendControl: got %x, want the same bytes and then %x", got, want)
			}
			if got, err := wire.ParseControl(want); err != nil || !reflect.DeepEqual(got, tc.control) {
				t.Errorf("ParseControl: got %+v, %v, want %+v", got, err, tc.control)
			}
		})
	}
}

// A hub reads what the next version writes, as far as it knows it.
func TestControlOfTheNextVersionIsRead(t *testing.T) {
	data := append([]byte{1}, field(99, strings.Repeat("new", 100))...)
	data = append(append(data, field(1, "\xd0\x0f")...), field(200, "")...)
	if got, err := wire.ParseControl(data); err != nil || got.Interval != 2*time.Second {
		t.Errorf("announcement with new fields: got %+v, %v, want an interval of 2 s", got, err)
	}
	if _, err := wire.ParseControl([]byte{77, 1, 1, 1}); !errors.Is(err, wire.ErrInvalidControl) {
		t.Errorf("unknown kind: got %v, want %v", err, wire.ErrInvalidControl)
	}
}

func TestControlIsRefused(t *testing.T) {
	topics := func(n int) string { return strings.Repeat("\x07\x02b:", n) }
	const request = "\x06\x08\x00\x00\x00\x00\x00\x00\x00\x01"
	for name, data := range map[string]string{
		"nothing":                 "",
		"kind zero":               "\x00",
		"too long":                "\x02" + string(field(99, strings.Repeat("x", 64<<10))),
		"tag without a length":    "\x02\x63",
		"value cut off":           "\x02\x63\x02x",
		"length of 2^63":          "\x02\x63\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01",
		"no interval":             "\x01",
		"interval of zero":        "\x01\x01\x01\x00",
		"interval without digits": "\x01\x01\x00",
		"interval with more":      "\x01\x01\x02\x01\x01",
		"interval of years":       "\x01\x01\x05\xff\xff\xff\xff\x0f",
		"nobody":                  "\x03\x04\x02\x11\x94",
		"user and client":         "\x03\x02\x01u\x03\x01c\x04\x02\x11\x94",
		"long user":               "\x03" + string(field(2, strings.Repeat("u", 511))) + "\x04\x02\x11\x94",
		"long client":             "\x03" + string(field(3, strings.Repeat("c", 129))) + "\x04\x02\x11\x94",
		"no code":                 "\x03\x02\x01u",
		"code of one byte":        "\x03\x02\x01u\x04\x01\x11",
		"reserved code":           "\x03\x02\x01u\x04\x02\x03\xed",
		"long reason":             "\x03\x02\x01u\x04\x02\x11\x94" + string(field(5, strings.Repeat("r", 124))),
		"count without request":   "\x04" + topics(1),
		"request of zero":         "\x04\x06\x08\x00\x00\x00\x00\x00\x00\x00\x00" + topics(1),
		"short request":           "\x04\x06\x01\x01" + topics(1),
		"no topic":                "\x04" + request,
		"65 topics":               "\x04" + request + topics(65),
		"empty topic":             "\x04" + request + "\x07\x00",
		"long topic":              "\x04" + request + string(field(7, strings.Repeat("t", 513))),
		"answer without request":  "\x05\x08\x01\x01",
		"no count":                "\x05" + request,
		"65 counts":               "\x05" + request + strings.Repeat("\x08\x01\x01", 65),
		"count past 2^31":         "\x05" + request + "\x08\x05\x80\x80\x80\x80\x08",
		"endless count":           "\x05" + request + "\x08\x02\x80\x80",
	} {
		t.Run(name, func(t *testing.T) {
			if c, err := wire.ParseControl([]byte(data)); !errors.Is(err, wire.ErrInvalidControl) || !reflect.DeepEqual(c, wire.Control{}) {
				t.Errorf("got %+v, %v, want nothing and %v", c, err, wire.ErrInvalidControl)
			}
		})
	}
	largest := wire.Control{Kind: wire.ControlCount, Request: math.MaxUint64}
	for range wire.MaxQuestions {
		largest.Topics = append(largest.Topics, strings.Repeat("t", 512))
	}
	if got, err := wire.ParseControl(wire.AppendControl(nil, &largest)); err != nil || !reflect.DeepEqual(got, largest) {
		t.Errorf("the largest: got %v, want it unchanged", err)
	}
}

func TestAppendControlPanicsOnWhatCannotBeRead(t *testing.T) {
	for name, c := range map[string]wire.Control{
		"no kind":     {},
		"no interval": {Kind: wire.ControlAnnounce},
		"a code":      {Kind: wire.ControlDisconnect, User: "u", Code: wire.CloseAbnormal},
		"a count":     {Kind: wire.ControlCounted, Request: 1, Counts: []int{-2}},
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("got no panic, want one")
				}
			}()
			wire.AppendControl(nil, &c)
		})
	}
}

func FuzzParseControl(f *testing.F) {
	for _, tc := range controls {
		f.Add(wire.AppendControl(nil, &tc.control))
	}
	f.Add([]byte("\x02\x07\x00")) // an empty topic, where none is looked at
	f.Add([]byte("\x02\x63\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01"))
	f.Fuzz(func(t *testing.T, data []byte) {
		before := bytes.Clone(data)
		c, err := wire.ParseControl(data)
		if !bytes.Equal(data, before) {
			t.Fatal("ParseControl changed its input")
		}
		if err != nil {
			if !errors.Is(err, wire.ErrInvalidControl) || !reflect.DeepEqual(c, wire.Control{}) {
				t.Fatalf("got %+v, %v, want nothing and %v", c, err, wire.ErrInvalidControl)
			}
			return
		}
		if again, err := wire.ParseControl(wire.AppendControl(nil, &c)); err != nil || !reflect.DeepEqual(again, c) {
			t.Fatalf("written and read again: got %+v, %v, want %+v", again, err, c)
		}
	})
}
