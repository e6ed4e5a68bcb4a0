package main

import (
	"time"

	"forge.lthn.ai/core/go-ws/examples/bench/internal/control"
	"forge.lthn.ai/core/go-ws/examples/bench/internal/payload"
	"forge.lthn.ai/core/go-ws/examples/bench/internal/server"
)

// publisher is the one goroutine that publishes, and counts each channel's
// messages.
type publisher struct{ next []uint32 }

func (p *publisher) publish(s server.Server, q control.Publish) error {
	for len(p.next) < q.Channels {
		p.next = append(p.next, 0)
	}
	flusher, flushes := s.(server.Flusher)
	due := time.Now()
	for range q.Messages {
		if q.Every > 0 {
			time.Sleep(time.Until(due))
			due = due.Add(q.Every)
		}
		for ch := range q.Channels {
			m := payload.Message{Channel: ch, Sequence: p.next[ch], Sent: payload.Now()}
			p.next[ch]++
			if err := s.Publish(ch, payload.Append(make([]byte, 0, q.Size), m, q.Size)); err != nil {
				return err
			}
		}
		if flushes && q.Every > 0 {
			if err := flusher.Flush(); err != nil {
				return err
			}
		}
	}
	if flushes {
		return flusher.Flush()
	}
	return nil
}
