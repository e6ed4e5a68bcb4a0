package wire_test

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"

	"forge.lthn.ai/core/go-ws/hub/wire"
)

// What a client sends to join a channel.
func ExampleParseFrame() {
	f, err := wire.ParseFrame([]byte(`{"type":"subscribe","data":"news","id":"1","unknown":true}`))
	fmt.Println(f.Type, string(f.Data), f.ID, err)

	_, err = wire.ParseFrame([]byte(`["subscribe","news"]`))
	fmt.Println(err)
	// Output:
	// subscribe "news" 1 <nil>
	// wire: invalid frame: not a JSON object
}

// What a client gets.
func ExampleAppendFrame() {
	b := wire.AppendFrame(nil, &wire.Frame{
		Type:      wire.TypeEvent,
		Channel:   "news",
		Data:      json.RawMessage(`{"title":"hello"}`),
		Timestamp: time.Date(2026, 11, 24, 8, 30, 0, 500_000_000, time.UTC),
	})
	fmt.Println(string(b))
	// Output: {"type":"event","channel":"news","data":{"title":"hello"},"timestamp":"2026-11-24T08:30:00.5Z"}
}

// What one hub says to all others to close a user's clients, payload of an
// envelope on the topic of all hubs.
func ExampleAppendControl() {
	b := wire.AppendControl(nil, &wire.Control{
		Kind: wire.ControlDisconnect, User: "ann", Code: 4500, Reason: "banned",
	})
	fmt.Println(wire.TopicControl, hex.EncodeToString(b))

	c, err := wire.ParseControl(b)
	fmt.Println(c.User, c.Code, c.Reason, err)
	// Output:
	// a: 030203616e6e04021194050662616e6e6564
	// ann 4500 banned <nil>
}

// The very bytes that docs/protocol.md takes apart.
func ExampleAppendEnvelope() {
	b := wire.AppendEnvelope(nil, &wire.Envelope{
		Source:     "H1",
		Sequence:   1<<32 + 7,
		MessageID:  "m1",
		Idempotent: true,
		Payload:    []byte(`{"type":"event","channel":"news","data":1}`),
	})
	fmt.Print(hex.Dump(b))
	// Output:
	// 00000000  b7 01 01 00 14 01 02 48  31 02 08 00 00 00 01 00  |.......H1.......|
	// 00000010  00 00 07 03 02 6d 31 04  00 7b 22 74 79 70 65 22  |.....m1..{"type"|
	// 00000020  3a 22 65 76 65 6e 74 22  2c 22 63 68 61 6e 6e 65  |:"event","channe|
	// 00000030  6c 22 3a 22 6e 65 77 73  22 2c 22 64 61 74 61 22  |l":"news","data"|
	// 00000040  3a 31 7d                                          |:1}|
}

func ExampleParseEnvelope() {
	b := wire.AppendEnvelope(nil, &wire.Envelope{Source: "H1", MessageID: "m1", Payload: []byte(`{"type":"event"}`)})
	e, err := wire.ParseEnvelope(b)
	fmt.Println(e.Source, e.MessageID, string(e.Payload), err)

	_, err = wire.ParseEnvelope([]byte(`{"type":"event"}`))
	fmt.Println(err)
	// Output:
	// H1 m1 {"type":"event"} <nil>
	// wire: no envelope
}

// Topics for programs that publish straight to the broker.
func ExampleChannelTopic() {
	fmt.Println(wire.ChannelTopic("news"), wire.UserTopic("ann"), wire.TopicBroadcast)
	// Output: c:news u:ann b:
}

func ExampleCloseCode_Reconnect() {
	for _, code := range []wire.CloseCode{wire.CloseServiceRestart, wire.CloseCredentialsExpired, wire.ClosePolicy, 4400, 4500} {
		fmt.Println(code, code.Reconnect())
	}
	// Output:
	// 1012 true
	// 4001 true
	// 1008 false
	// 4400 true
	// 4500 false
}
