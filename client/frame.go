package client

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"forge.lthn.ai/core/go-ws/hub/wire"
)

// Message is what a client sends.
type Message struct {
	// Type is the application's. It is required, and none of the protocol's own
	// but ping.
	Type wire.Type
	// Channel and ProcessID mean what the server's application makes of them.
	Channel   string
	ProcessID string
	// Data is marshalled with encoding/json. Nil leaves it out.
	Data any
}

// errFrame is wrapped by what is wrong with a frame that came.
var errFrame = errors.New("client: the server sent a frame that can't be read")

// parseFrame reads a frame that came from a hub. Of what it does not know it
// takes no notice. The result keeps nothing of data.
func parseFrame(data []byte) (wire.Frame, error) {
	var f struct {
		Type      wire.Type       `json:"type"`
		Channel   string          `json:"channel"`
		ProcessID string          `json:"processId"`
		ID        string          `json:"id"`
		Data      json.RawMessage `json:"data"`
		Timestamp string          `json:"timestamp"`
	}
	if err := json.Unmarshal(data, &f); err != nil {
		return wire.Frame{}, fmt.Errorf("%w: %w", errFrame, err)
	}
	if f.Type == "" {
		return wire.Frame{}, fmt.Errorf("%w: it has no type", errFrame)
	}
	out := wire.Frame{Type: f.Type, Channel: f.Channel, ProcessID: f.ProcessID, ID: f.ID, Data: f.Data}
	// A time in another form is no reason to lose the message.
	out.Timestamp, _ = time.Parse(time.RFC3339Nano, f.Timestamp)
	return out, nil
}

// frame makes a message ready to be sent.
func (m Message) frame(id string) ([]byte, error) {
	switch t := m.Type; {
	case t == "":
		return nil, errors.New("client: Message.Type is empty")
	case ofProtocol(t) || wire.Reserved(t):
		return nil, fmt.Errorf("client: Message.Type is %q, which is not the application's", t)
	}
	f := wire.Frame{Type: m.Type, Channel: m.Channel, ProcessID: m.ProcessID, ID: id}
	if m.Data != nil {
		data, err := json.Marshal(m.Data)
		if err != nil {
			return nil, fmt.Errorf("client: Message.Data: %w", err)
		}
		f.Data = data
	}
	return wire.AppendFrame(nil, &f), nil
}

// ofProtocol reports whether the client or the hub alone sends a type.
func ofProtocol(t wire.Type) bool {
	switch t {
	case wire.TypeSubscribe, wire.TypeUnsubscribe, wire.TypeSubscribed, wire.TypeUnsubscribed,
		wire.TypeError, wire.TypeReply, wire.TypePong, wire.TypeProcessOutput, wire.TypeProcessStatus:
		return true
	}
	return false
}

// channelFrame is a subscribe or an unsubscribe.
func channelFrame(t wire.Type, channel string, id uint64) []byte {
	// A string always marshals.
	name, _ := json.Marshal(channel)
	return wire.AppendFrame(nil, &wire.Frame{Type: t, ID: formatID(id), Data: name})
}

func formatID(id uint64) string { return strconv.FormatUint(id, 10) }

// parseID reads an id of this client's, and returns zero for any other.
func parseID(s string) uint64 {
	id, err := strconv.ParseUint(s, 10, 64)
	if err != nil || formatID(id) != s {
		return 0
	}
	return id
}

// requestError reads the data of an error frame.
func requestError(f wire.Frame) *RequestError {
	var data wire.ErrorData
	if err := json.Unmarshal(f.Data, &data); err != nil || data.Code == "" {
		// An error all the same, from a server that puts it otherwise.
		return &RequestError{Code: wire.ErrorServer, Message: string(f.Data)}
	}
	return &RequestError{Code: data.Code, Message: data.Message}
}
