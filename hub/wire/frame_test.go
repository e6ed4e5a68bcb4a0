package wire_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"forge.lthn.ai/core/go-ws/hub/wire"
)

// The forms of the first version, valid for ever, and what else a client may
// send.
func TestParseFrame(t *testing.T) {
	for name, tc := range map[string]struct {
		data string
		want wire.Frame
	}{
		"subscribe":   {`{"type":"subscribe","data":"news"}`, wire.Frame{Type: wire.TypeSubscribe, Data: json.RawMessage(`"news"`)}},
		"unsubscribe": {`{"type":"unsubscribe","data":"news"}`, wire.Frame{Type: wire.TypeUnsubscribe, Data: json.RawMessage(`"news"`)}},
		"ping":        {`{"type":"ping"}`, wire.Frame{Type: wire.TypePing}},
		"every field": {`{"type":"x","channel":"c","processId":"p","id":"1","data":{"a":[1, null]},"timestamp":"2026-01-02T03:04:05Z"}`,
			wire.Frame{Type: "x", Channel: "c", ProcessID: "p", ID: "1", Data: json.RawMessage(`{"a":[1, null]}`)}},
		"another timestamp":   {`{"type":"ping","timestamp":1767323045}`, wire.Frame{Type: wire.TypePing}},
		"unknown fields":      {`{"type":"ping","x":{"type":"y"},"Y":[]}`, wire.Frame{Type: wire.TypePing}},
		"white space":         {" \t\r\n{ \"type\" : \"ping\" } \n", wire.Frame{Type: wire.TypePing}},
		"escapes":             {`{"type":"\u0070ing","channel":"\ud83d\ude00 \" \/ \u0000"}`, wire.Frame{Type: wire.TypePing, Channel: "\U0001F600 \" / \x00"}},
		"data that is null":   {`{"type":"ping","data":null}`, wire.Frame{Type: wire.TypePing, Data: json.RawMessage(`null`)}},
		"a field that's null": {`{"type":"ping","channel":null,"id":null}`, wire.Frame{Type: wire.TypePing}},
		"id of 64 bytes":      {`{"type":"ping","id":"` + strings.Repeat("i", 64) + `"}`, wire.Frame{Type: wire.TypePing, ID: strings.Repeat("i", 64)}},
		// As encoding/json has it: of fields that come twice the last one counts,
		// and letters of either case name a field.
		"duplicate fields": {`{"type":"ping","type":"pong","data":1,"data":2}`, wire.Frame{Type: wire.TypePong, Data: json.RawMessage(`2`)}},
		"capital letters":  {`{"TYPE":"ping","ProcessID":"p"}`, wire.Frame{Type: wire.TypePing, ProcessID: "p"}},
		// Half of a surrogate pair is no character.
		"half a character": {`{"type":"ping","channel":"\ud800"}`, wire.Frame{Type: wire.TypePing, Channel: "\ufffd"}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := wire.ParseFrame([]byte(tc.data))
			if err != nil || !reflect.DeepEqual(got, tc.want) {
				t.Errorf("got %+v, %v, want %+v, nil", got, err, tc.want)
			}
		})
	}
}

func TestParseFrameRefuses(t *testing.T) {
	for name, data := range map[string]string{
		"nothing":           ``,
		"white space":       " \n\t ",
		"null":              `null`,
		"true":              `true`,
		"a number":          `1`,
		"a string":          `"subscribe"`,
		"an array":          `[{"type":"ping"}]`,
		"no type":           `{}`,
		"an empty type":     `{"type":""}`,
		"a type of null":    `{"type":null}`,
		"type is a number":  `{"type":1}`,
		"channel is a list": `{"type":"ping","channel":["a"]}`,
		"id is a number":    `{"type":"ping","id":1}`,
		"processId object":  `{"type":"ping","processId":{}}`,
		"cut off":           `{"type":"ping"`,
		"trailing comma":    `{"type":"ping",}`,
		"two frames":        "{\"type\":\"ping\"}\n{\"type\":\"ping\"}",
		"trailing garbage":  `{"type":"ping"}x`,
		"trailing NUL":      "{\"type\":\"ping\"}\x00",
		"a byte order mark": "\ufeff{\"type\":\"ping\"}",
		"form feed":         "\f{\"type\":\"ping\"}",
		"single quotes":     `{'type':'ping'}`,
		"a comment":         `{"type":"ping"/**/}`,
		"a control char":    "{\"type\":\"pi\nng\"}",
		"not UTF-8":         "{\"type\":\"ping\",\"data\":\"\xff\"}",
		"half a rune":       "{\"type\":\"ping\",\"data\":\"\xe2\x82\"}",
		"deep nesting":      `{"type":"ping","data":` + strings.Repeat("[", 1<<17) + strings.Repeat("]", 1<<17) + `}`,
		"deep and cut off":  `{"type":"ping","data":` + strings.Repeat(`{"a":`, 1<<17),
		"id of 65 bytes":    `{"type":"ping","id":"` + strings.Repeat("i", 65) + `"}`,
		"binary":            "\xb7\x01\x01\x00\x03\x01\x01h",
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := wire.ParseFrame([]byte(data)); !errors.Is(err, wire.ErrInvalidFrame) {
				t.Errorf("got %.100v, %v, want %v", got, err, wire.ErrInvalidFrame)
			}
		})
	}
}

// An answer to a frame without a type can still carry its id.
func TestParseFrameWithoutTypeKeepsTheID(t *testing.T) {
	got, err := wire.ParseFrame([]byte(`{"id":"7","channel":"c"}`))
	if !errors.Is(err, wire.ErrInvalidFrame) || got.ID != "7" {
		t.Errorf("got id %q, %v, want %q, %v", got.ID, err, "7", wire.ErrInvalidFrame)
	}
	got, err = wire.ParseFrame([]byte(`{"type":"ping","id":"` + strings.Repeat("i", 65) + `"}`))
	if err == nil || got.ID != "" {
		t.Errorf("id that is too long: got %q, %v, want none and an error", got.ID, err)
	}
}

func TestParseFrameKeepsNothingOfItsInput(t *testing.T) {
	data := []byte(`{"type":"event","channel":"news","data":{"a":1}}`)
	f, err := wire.ParseFrame(data)
	if err != nil {
		t.Fatalf("ParseFrame: got %v, want nil", err)
	}
	for i := range data {
		data[i] = 'X'
	}
	if got, want := string(f.Data), `{"a":1}`; got != want || f.Channel != "news" {
		t.Errorf("after the input was overwritten: got %q on %q, want %q on %q", got, f.Channel, want, "news")
	}
}

// These bytes are what clients get. A change here is a change of the protocol.
func TestAppendFrameGoldenBytes(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 678900000, time.FixedZone("", 3600))
	for _, tc := range []struct {
		frame wire.Frame
		want  string
	}{
		{wire.Frame{Type: wire.TypePong, Timestamp: at}, `{"type":"pong","timestamp":"2026-01-02T02:04:05.6789Z"}`},
		{wire.Frame{Type: wire.TypeSubscribed, Channel: "news", ID: "7"}, `{"type":"subscribed","channel":"news","id":"7"}`},
		{wire.Frame{Type: wire.TypeProcessOutput, Channel: "process:1", ProcessID: "1", Data: json.RawMessage(`"line"`)},
			`{"type":"process_output","channel":"process:1","processId":"1","data":"line"}`},
		{wire.Frame{}, `{"type":""}`},
	} {
		if got := string(wire.AppendFrame([]byte("before"), &tc.frame)); got != "before"+tc.want {
			t.Errorf("got %s, want before%s", got, tc.want)
		}
	}
}

// Whatever is in a name, AppendFrame writes what encoding/json does, in the
// same order and with the same escapes.
func TestAppendFrameEqualsEncodingJSON(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	names := []string{
		"", "plain", `quote " and \ backslash`, "tab\tline\nreturn\r", "<script>&amp;</script>", "\x00\x01\x1f\x7f",
		"é 日本語 \U0001F600", "\u2028\u2029", "not UTF-8: \xff\xfe", "half \xe2\x82", "\ufffd", "'", "/", "~", " ",
	}
	for _, name := range names {
		f := wire.Frame{Type: wire.Type(name), Channel: name, ProcessID: name, ID: name, Data: json.RawMessage(`{"a":1}`), Timestamp: at}
		want, err := json.Marshal(&f)
		if err != nil {
			t.Fatal(err)
		}
		if got := wire.AppendFrame(nil, &f); !bytes.Equal(got, want) {
			t.Errorf("name %q: got %s, want %s", name, got, want)
		}
	}
}

func TestReservedTypes(t *testing.T) {
	for _, typ := range []wire.Type{"publish", "presence", "refresh", "welcome", "cancel"} {
		if !wire.Reserved(typ) {
			t.Errorf("Reserved(%q): got false, want true", typ)
		}
	}
	for _, typ := range []wire.Type{wire.TypeEvent, wire.TypeReply, "", "Publish", "mine"} {
		if wire.Reserved(typ) {
			t.Errorf("Reserved(%q): got true, want false", typ)
		}
	}
}

func FuzzParseFrame(f *testing.F) {
	for _, seed := range []string{
		`{"type":"subscribe","data":"news"}`, `{"type":"unsubscribe","data":"news"}`, `{"type":"ping","id":"1"}`,
		`{"type":"x","channel":"c","processId":"p","data":{"a":[1,null,"\ud800"]},"timestamp":"2026-01-02T03:04:05Z"}`,
		`{"type":"ping","type":"pong"}`, `[]`, `null`, ` {"type":1}`, `{"type":"a"}{"type":"b"}`, "{\"type\":\"\xff\"}", `{"type":"a","data":[[[[]]]]}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		before := bytes.Clone(data)
		frame, err := wire.ParseFrame(data)
		if !bytes.Equal(data, before) {
			t.Fatal("ParseFrame changed its input")
		}
		if err != nil {
			if !errors.Is(err, wire.ErrInvalidFrame) {
				t.Fatalf("got %v, want %v", err, wire.ErrInvalidFrame)
			}
			return
		}
		if !json.Valid(data) || frame.Type == "" || len(frame.ID) > wire.MaxID {
			t.Fatalf("took %q as %+v", data, frame)
		}
		if len(frame.Data) > 0 && !json.Valid(frame.Data) {
			t.Fatalf("data: got %q, want JSON", frame.Data)
		}
		again, err := wire.ParseFrame(wire.AppendFrame(nil, &frame))
		if err != nil || !reflect.DeepEqual(again, frame) {
			t.Fatalf("written and read again: got %+v, %v, want %+v", again, err, frame)
		}
	})
}

func FuzzFrameRoundTrip(f *testing.F) {
	f.Add("event", "news", "", "1", `{"a":1}`, int64(1767323045))
	f.Add("process_output", "process:<1>", "<1>", "", `"line\n"`, int64(0))
	f.Add("x", "\xff\u2028\x00\"\\&", "\x7f", "é", `null`, int64(-1))
	f.Fuzz(func(t *testing.T, typ, channel, processID, id, data string, seconds int64) {
		frame := wire.Frame{Type: wire.Type(typ), Channel: channel, ProcessID: processID, ID: id}
		if json.Valid([]byte(data)) && utf8.ValidString(data) {
			frame.Data = json.RawMessage(strings.TrimSpace(data))
		}
		if at := time.Unix(seconds, 0).UTC(); seconds != 0 && at.Year() >= 0 && at.Year() <= 9999 {
			frame.Timestamp = at
		}
		encoded := wire.AppendFrame(nil, &frame)
		var decoded wire.Frame
		if err := json.Unmarshal(encoded, &decoded); err != nil {
			t.Fatalf("encoding/json reads %q: got %v, want nil", encoded, err)
		}
		// What is no UTF-8 is replaced, one character a byte.
		fix := func(s string) string { return string([]rune(s)) }
		want := wire.Frame{Type: wire.Type(fix(typ)), Channel: fix(channel), ProcessID: fix(processID), ID: fix(id), Data: frame.Data, Timestamp: frame.Timestamp}
		if !reflect.DeepEqual(decoded, want) {
			t.Fatalf("encoding/json reads %q: got %+v, want %+v", encoded, decoded, want)
		}
		parsed, err := wire.ParseFrame(encoded)
		if typ == "" || len(want.ID) > wire.MaxID {
			if !errors.Is(err, wire.ErrInvalidFrame) {
				t.Fatalf("ParseFrame of %q: got %v, want %v", encoded, err, wire.ErrInvalidFrame)
			}
			return
		}
		want.Timestamp = time.Time{} // not looked at
		if err != nil || !reflect.DeepEqual(parsed, want) {
			t.Fatalf("ParseFrame of %q: got %+v, %v, want %+v", encoded, parsed, err, want)
		}
	})
}

func BenchmarkAppendFrame(b *testing.B) {
	f := wire.Frame{Type: wire.TypeEvent, Channel: "news", Data: json.RawMessage(`{"text":"hello"}`), Timestamp: time.Unix(1767323045, 0)}
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		buf = wire.AppendFrame(buf[:0], &f)
	}
}

func BenchmarkParseFrame(b *testing.B) {
	data := []byte(`{"type":"subscribe","data":"news","id":"17"}`)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := wire.ParseFrame(data); err != nil {
			b.Fatal(err)
		}
	}
}
