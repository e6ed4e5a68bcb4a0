package hub

import (
	"bytes"
	"encoding/json"
	"fmt"
	"sync"
	"time"
	"unicode/utf8"

	"forge.lthn.ai/core/go-ws/hub/wire"
)

// encoder is the memory in which messages are put together on their way to a
// transport and a backplane, neither of which keeps any of it.
type encoder struct {
	data     bytes.Buffer
	json     *json.Encoder // to data
	payload  []byte
	envelope []byte
}

// maxEncoder is the largest memory that an encoder keeps, in bytes.
const maxEncoder = 64 << 10

var encoders = sync.Pool{New: func() any {
	e := &encoder{}
	e.json = json.NewEncoder(&e.data)
	// What is sent over a WebSocket is no HTML, and escaped it is longer.
	e.json.SetEscapeHTML(false)
	return e
}}

func getEncoder() *encoder { return encoders.Get().(*encoder) }

func (e *encoder) put() {
	if e.data.Cap()+cap(e.payload)+cap(e.envelope) > maxEncoder {
		return
	}
	encoders.Put(e)
}

// message encodes a message as clients get it. The result is good until the
// encoder's next use.
func (e *encoder) message(m *Message, channel string, now time.Time) ([]byte, error) {
	f, err := e.frame(m, channel, now)
	if err != nil {
		return nil, err
	}
	return e.wire(&f), nil
}

func (e *encoder) wire(f *wire.Frame) []byte {
	e.payload = wire.AppendFrame(e.payload[:0], f)
	return e.payload
}

// frame turns a message into what goes on the wire. Its Data is good until the
// encoder's next use.
func (e *encoder) frame(m *Message, channel string, now time.Time) (wire.Frame, error) {
	f := wire.Frame{Type: m.Type, Channel: channel, ProcessID: m.ProcessID, Timestamp: m.Timestamp}
	if f.Type == "" {
		f.Type = TypeEvent
	}
	if !sendable(f.Type) || !utf8.ValidString(string(f.Type)) {
		return f, fmt.Errorf("%w: type %q belongs to the protocol", ErrInvalidMessage, f.Type)
	}
	if len(m.ID) > wire.MaxID {
		return f, fmt.Errorf("%w: id is longer than %d bytes", ErrInvalidMessage, wire.MaxID)
	}
	if len(m.Key) > wire.MaxKey {
		return f, fmt.Errorf("%w: key is longer than %d bytes", ErrInvalidMessage, wire.MaxKey)
	}
	if f.Timestamp.IsZero() {
		f.Timestamp = now
	} else if y := f.Timestamp.UTC().Year(); y < 0 || y > 9999 {
		return f, fmt.Errorf("%w: timestamp's year %d is not in RFC 3339", ErrInvalidMessage, y)
	}
	var err error
	f.Data, err = e.marshal(m.Data)
	return f, err
}

// marshal encodes data as JSON. Plain text, which much of what is sent is, takes
// a shorter way to the same result.
func (e *encoder) marshal(data any) ([]byte, error) {
	switch data := data.(type) {
	case nil:
		return nil, nil
	case string:
		if plain(data) {
			e.data.Reset()
			e.data.WriteByte('"')
			e.data.WriteString(data)
			e.data.WriteByte('"')
			return e.data.Bytes(), nil
		}
	case json.RawMessage:
		if data == nil {
			return nil, nil
		}
		if n := len(data); n >= 2 && data[0] == '"' && data[n-1] == '"' && plain(data[1:n-1]) {
			return data, nil
		}
	}
	e.data.Reset()
	if err := e.json.Encode(data); err != nil {
		return nil, fmt.Errorf("%w: marshalling data: %w", ErrInvalidMessage, err)
	}
	b := bytes.TrimSuffix(e.data.Bytes(), []byte("\n"))
	if !utf8.Valid(b) {
		// encoding/json lets it through in what is JSON already. As text it
		// would cost every receiver its connection (RFC 6455, section 8.1).
		return nil, fmt.Errorf("%w: data is not UTF-8", ErrInvalidMessage)
	}
	return b, nil
}

// plain reports whether a text stands in JSON as it is.
func plain[T ~string | ~[]byte](text T) bool {
	for i := range len(text) {
		if c := text[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}

// sendable reports whether an application may send a type: not those with which
// the protocol itself speaks.
func sendable(t wire.Type) bool {
	switch t {
	case wire.TypePing, wire.TypePong, wire.TypeSubscribe, wire.TypeUnsubscribe, wire.TypeSubscribed, wire.TypeUnsubscribed:
		return false
	}
	return !wire.Reserved(t)
}
