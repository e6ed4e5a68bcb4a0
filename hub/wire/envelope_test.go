package wire_test

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"forge.lthn.ai/core/go-ws/hub/wire"
)

// whole is an envelope with every field.
var whole = wire.Envelope{
	Source:     "hub-1",
	Sequence:   0x0102030405060708,
	MessageID:  "m-1",
	Idempotent: true,
	Target:     "hub-1.c",
	Key:        "k",
	Trace:      "00-11-22-01",
	Payload:    []byte(`{"type":"event"}`),
}

// These bytes are what hubs of this version send to each other. A change here
// is a change of the protocol.
func TestEnvelopeGoldenBytes(t *testing.T) {
	for _, tc := range []struct {
		name     string
		envelope wire.Envelope
		want     string
	}{
		{"every field", whole, "b7 01 01 0031" +
			"01 05 6875622d31" + // hub-1
			"02 08 0102030405060708" +
			"03 03 6d2d31" + // m-1
			"04 00" +
			"05 07 6875622d312e63" + // hub-1.c
			"06 01 6b" + // k
			"07 0b 30302d31312d32322d3031" + // 00-11-22-01
			"7b2274797065223a226576656e74227d"},
		{"source alone", wire.Envelope{Source: "h"}, "b7 01 01 0003 01 01 68"},
		{"control", wire.Envelope{Source: "h", Control: true, Payload: []byte{2}}, "b7 01 01 0005 01 01 68 08 00 02"},
		{"length of two bytes", wire.Envelope{Source: "h", Trace: strings.Repeat("t", 200)},
			"b7 01 01 00ce 01 01 68 07 c801" + strings.Repeat("74", 200)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			want, err := hex.DecodeString(strings.ReplaceAll(tc.want, " ", ""))
			if err != nil {
				t.Fatal(err)
			}
			if got := wire.AppendEnvelope([]byte("before"), &tc.envelope); !bytes.Equal(got, append([]byte("before"), want...)) {
				t.Errorf("AppendEnvelope: got %x, want the same bytes and then %x", got, want)
			}
			got, err := wire.ParseEnvelope(want)
			if err != nil {
				t.Fatalf("ParseEnvelope: got %v, want nil", err)
			}
			equalEnvelopes(t, got, tc.envelope)
		})
	}
}

func equalEnvelopes(t *testing.T, got, want wire.Envelope) {
	t.Helper()
	if !bytes.Equal(got.Payload, want.Payload) {
		t.Errorf("payload: got %q, want %q", got.Payload, want.Payload)
	}
	got.Payload, want.Payload = nil, nil
	if !reflect.DeepEqual(got, want) {
		t.Errorf("envelope: got %+v, want %+v", got, want)
	}
}

func TestEnvelopePayloadIsPartOfTheBytes(t *testing.T) {
	data := wire.AppendEnvelope(nil, &whole)
	e, err := wire.ParseEnvelope(data)
	if err != nil {
		t.Fatalf("ParseEnvelope: got %v, want nil", err)
	}
	data[len(data)-1] = '!'
	if got, want := string(e.Payload), `{"type":"event"!`; got != want {
		t.Errorf("payload: got %q, want %q", got, want)
	}
}

func TestEnvelopeFieldsUpToTheirBounds(t *testing.T) {
	largest := wire.Envelope{
		Source:    strings.Repeat("s", wire.MaxID),
		Sequence:  ^uint64(0),
		MessageID: strings.Repeat("m", wire.MaxID),
		Target:    strings.Repeat("t", wire.MaxTarget),
		Key:       strings.Repeat("k", wire.MaxKey),
		Trace:     strings.Repeat("w", wire.MaxTrace),
		Payload:   bytes.Repeat([]byte{0xb7, 0}, 1<<19),
	}
	got, err := wire.ParseEnvelope(wire.AppendEnvelope(nil, &largest))
	if err != nil {
		t.Fatalf("ParseEnvelope: got %v, want nil", err)
	}
	equalEnvelopes(t, got, largest)

	for name, e := range map[string]wire.Envelope{
		"source":     {Source: strings.Repeat("s", wire.MaxID+1)},
		"message id": {Source: "h", MessageID: strings.Repeat("m", wire.MaxID+1)},
		"target":     {Source: "h", Target: strings.Repeat("t", wire.MaxTarget+1)},
		"key":        {Source: "h", Key: strings.Repeat("k", wire.MaxKey+1)},
		"trace":      {Source: "h", Trace: strings.Repeat("w", wire.MaxTrace+1)},
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("AppendEnvelope with a field out of bounds: got no panic, want one")
				}
			}()
			wire.AppendEnvelope(nil, &e)
		})
	}
}

// field is one field's bytes.
func field(tag byte, value string) []byte {
	return append(binary.AppendUvarint([]byte{tag}, uint64(len(value))), value...)
}

// rawEnvelope puts bytes together that AppendEnvelope would not.
func rawEnvelope(writer, reader byte, payload string, fields ...[]byte) []byte {
	all := bytes.Join(fields, nil)
	out := binary.BigEndian.AppendUint16([]byte{0xb7, writer, reader}, uint16(len(all)))
	return append(append(out, all...), payload...)
}

// A hub reads what the next version writes, as long as that one says so.
func TestEnvelopeOfTheNextVersionIsRead(t *testing.T) {
	data := rawEnvelope(2, 1, "payload",
		field(9, "new"), field(1, "hub-1"), field(200, strings.Repeat("x", 3000)), field(255, ""),
		field(4, "a value that this version gives no meaning"), field(3, "m-1"))
	got, err := wire.ParseEnvelope(data)
	if err != nil {
		t.Fatalf("ParseEnvelope: got %v, want nil", err)
	}
	equalEnvelopes(t, got, wire.Envelope{Source: "hub-1", MessageID: "m-1", Idempotent: true, Payload: []byte("payload")})

	// One that this version can't read without harm, whatever else it holds.
	for _, data := range [][]byte{
		rawEnvelope(2, 2, "payload", field(1, "hub-1")),
		rawEnvelope(255, 255, "", []byte{1, 200}),
		{0xb7, 2, 2, 0xff, 0xff},
	} {
		if _, err := wire.ParseEnvelope(data); !errors.Is(err, wire.ErrEnvelopeVersion) {
			t.Errorf("ParseEnvelope of %x: got %v, want %v", data, err, wire.ErrEnvelopeVersion)
		}
	}
}

func TestEnvelopeCutOffAtEveryLength(t *testing.T) {
	data := wire.AppendEnvelope(nil, &whole)
	header := len(data) - len(whole.Payload)
	for n := range header {
		want := wire.ErrInvalidEnvelope
		if n == 0 {
			want = wire.ErrNoEnvelope
		}
		if _, err := wire.ParseEnvelope(data[:n:n]); !errors.Is(err, want) {
			t.Errorf("first %d bytes: got %v, want %v", n, err, want)
		}
	}
	// A header that was shortened without cutting off its end.
	for n := range header - 5 {
		short := bytes.Clone(data[:5+n])
		binary.BigEndian.PutUint16(short[3:], uint16(n))
		_, err := wire.ParseEnvelope(short)
		if err != nil && !errors.Is(err, wire.ErrInvalidEnvelope) {
			t.Errorf("header of %d bytes: got %v, want nil or %v", n, err, wire.ErrInvalidEnvelope)
		}
	}
}

func TestEnvelopeIsRefused(t *testing.T) {
	for name, tc := range map[string]struct {
		data []byte
		want error
	}{
		"nothing":               {nil, wire.ErrNoEnvelope},
		"plain JSON":            {[]byte(`{"type":"event"}`), wire.ErrNoEnvelope},
		"no source":             {rawEnvelope(1, 1, "p", field(3, "m")), wire.ErrInvalidEnvelope},
		"no fields":             {rawEnvelope(1, 1, "p"), wire.ErrInvalidEnvelope},
		"empty source":          {rawEnvelope(1, 1, "p", field(1, "")), wire.ErrInvalidEnvelope},
		"long source":           {rawEnvelope(1, 1, "p", field(1, strings.Repeat("s", 65))), wire.ErrInvalidEnvelope},
		"long message id":       {rawEnvelope(1, 1, "p", field(1, "h"), field(3, strings.Repeat("s", 65))), wire.ErrInvalidEnvelope},
		"long target":           {rawEnvelope(1, 1, "p", field(1, "h"), field(5, strings.Repeat("s", 129))), wire.ErrInvalidEnvelope},
		"long key":              {rawEnvelope(1, 1, "p", field(1, "h"), field(6, strings.Repeat("s", 256))), wire.ErrInvalidEnvelope},
		"long trace":            {rawEnvelope(1, 1, "p", field(1, "h"), field(7, strings.Repeat("s", 513))), wire.ErrInvalidEnvelope},
		"short sequence":        {rawEnvelope(1, 1, "p", field(1, "h"), field(2, "1234567")), wire.ErrInvalidEnvelope},
		"long sequence":         {rawEnvelope(1, 1, "p", field(1, "h"), field(2, "123456789")), wire.ErrInvalidEnvelope},
		"tag without a length":  {rawEnvelope(1, 1, "p", field(1, "h"), []byte{3}), wire.ErrInvalidEnvelope},
		"value cut off":         {rawEnvelope(1, 1, "payload", field(1, "h"), []byte{3, 4, 'm'}), wire.ErrInvalidEnvelope},
		"endless length":        {rawEnvelope(1, 1, "p", []byte("\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff")), wire.ErrInvalidEnvelope},
		"length of 2^64-1":      {rawEnvelope(1, 1, "p", []byte("\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01")), wire.ErrInvalidEnvelope},
		"length of 2^63":        {rawEnvelope(1, 1, "p", []byte("\x01\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01")), wire.ErrInvalidEnvelope},
		"header above 4096":     {rawEnvelope(1, 1, "p", field(1, "h"), field(99, strings.Repeat("x", 4091))), wire.ErrInvalidEnvelope},
		"header past the bytes": {[]byte{0xb7, 1, 1, 0, 3, 1, 1}, wire.ErrInvalidEnvelope},
	} {
		t.Run(name, func(t *testing.T) {
			if e, err := wire.ParseEnvelope(tc.data); !errors.Is(err, tc.want) {
				t.Errorf("got %+v, %v, want %v", e, err, tc.want)
			}
		})
	}
	if _, err := wire.ParseEnvelope(rawEnvelope(1, 1, "p", field(1, "h"), field(99, strings.Repeat("x", 4090)))); err != nil {
		t.Errorf("header of 4096 bytes: got %v, want nil", err)
	}
}

func FuzzParseEnvelope(f *testing.F) {
	f.Add(wire.AppendEnvelope(nil, &whole))
	f.Add(rawEnvelope(2, 1, "payload", field(1, "h"), field(99, "new")))
	f.Add(rawEnvelope(2, 2, "payload", field(1, "h")))
	f.Add([]byte(`{"type":"event"}`))
	f.Add([]byte{0xb7, 1, 1, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, data []byte) {
		before := bytes.Clone(data)
		e, err := wire.ParseEnvelope(data)
		if !bytes.Equal(data, before) {
			t.Fatal("ParseEnvelope changed its input")
		}
		if err != nil {
			if !errors.Is(err, wire.ErrNoEnvelope) && !errors.Is(err, wire.ErrInvalidEnvelope) && !errors.Is(err, wire.ErrEnvelopeVersion) {
				t.Fatalf("got %v, want one of the package's errors", err)
			}
			if !reflect.DeepEqual(e, wire.Envelope{}) {
				t.Fatalf("beside an error: got %+v, want nothing", e)
			}
			return
		}
		if e.Source == "" || len(e.Source) > wire.MaxID || len(e.MessageID) > wire.MaxID || len(e.Target) > wire.MaxTarget ||
			len(e.Key) > wire.MaxKey || len(e.Trace) > wire.MaxTrace || !bytes.HasSuffix(data, e.Payload) {
			t.Fatalf("got %+v, want every field in its bounds", e)
		}
		again, err := wire.ParseEnvelope(wire.AppendEnvelope(nil, &e))
		if err != nil {
			t.Fatalf("written and read again: got %v, want nil", err)
		}
		equalEnvelopes(t, again, e)
	})
}

func BenchmarkEnvelope(b *testing.B) {
	for _, size := range []int{64, 4096} {
		e := whole
		e.Payload = make([]byte, size)
		b.Run(fmt.Sprintf("append/%d", size), func(b *testing.B) {
			b.ReportAllocs()
			var buf []byte
			for b.Loop() {
				buf = wire.AppendEnvelope(buf[:0], &e)
			}
		})
		data := wire.AppendEnvelope(nil, &e)
		b.Run(fmt.Sprintf("parse/%d", size), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := wire.ParseEnvelope(data); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
