package redisbp

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"forge.lthn.ai/core/go-ws/hub"
)

// ReadEvents reads what a server sends to a subscriber, up to the first error,
// and writes it down.
func ReadEvents(p []byte) (events []string, err error) {
	r := newReader(bytes.NewReader(p))
	for {
		e, err := r.next()
		if err != nil {
			return events, err
		}
		text := fmt.Sprintf("%s %s", e.kind, e.channel)
		if e.payload != nil {
			text += fmt.Sprintf(" %q", e.payload)
		}
		if e.err != "" {
			text = string(e.err)
		}
		events = append(events, text)
	}
}

// ReadValue reads one reply of any kind.
func ReadValue(p []byte) (string, error) { return newReader(bytes.NewReader(p)).value(0) }

// AppendCommand is the form in which commands go out.
var AppendCommand = appendCommand

// ErrProtocol is wrapped by the reader's errors.
var ErrProtocol = errProtocol

// ChannelOf is the Redis channel of a topic.
func ChannelOf(prefix string, partitions int, t hub.Topic) string {
	name, _ := names{prefix: prefix, partitions: partitions}.channel(t)
	return name
}

// PoorLimit says what is wrong with client-output-buffer-limit.
var PoorLimit = poorLimit

// Behind is how many probes are missing on a connection that has sent some, once
// these have been read.
func Behind(sent uint64, read ...uint64) uint64 {
	c := &conn{back: make(chan struct{}, 1)}
	c.sent.Store(sent)
	for _, number := range read {
		c.echo(binary.BigEndian.AppendUint64(nil, number))
	}
	return c.sent.Load() - c.echoed.Load()
}

// Waiting is what a receiver that takes nothing has waiting after these words. Nil
// stands for Restored.
func Waiting(words ...error) []error {
	s := newSignals(nil)
	for _, err := range words {
		if err != nil {
			s.disrupted(err)
		} else {
			s.restored()
		}
	}
	return s.take()
}
