package redisbp

import (
	"context"
	"sync"

	"forge.lthn.ai/core/go-ws/hub"
)

// signals tells the receiver how things are, one word after the other, from a
// goroutine of its own.
type signals struct {
	receiver hub.BackplaneReceiver
	wake     chan struct{}

	mu      sync.Mutex
	waiting []error // nil stands for Restored
	whole   bool    // the last word, said or waiting, is Restored
}

// maxSignals bounds what waits for a receiver that is slow. Of a longer row the
// newest are replaced: the receiver knows of losses by then.
const maxSignals = 64

func newSignals(r hub.BackplaneReceiver) *signals {
	return &signals{receiver: r, wake: make(chan struct{}, 1)}
}

func (s *signals) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.wake:
		}
		for _, err := range s.take() {
			switch {
			case ctx.Err() != nil:
				return
			case err != nil:
				s.receiver.Disrupted(err)
			default:
				s.receiver.Restored()
			}
		}
	}
}

func (s *signals) take() []error {
	s.mu.Lock()
	defer s.mu.Unlock()
	waiting := s.waiting
	s.waiting = nil
	return waiting
}

// disrupted queues a word of loss.
func (s *signals) disrupted(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.whole = false
	s.putLocked(err)
}

// restored queues the word that all is well, unless that was the last one.
func (s *signals) restored() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.whole {
		s.whole = true
		s.putLocked(nil)
	}
}

func (s *signals) putLocked(err error) {
	if len(s.waiting) >= maxSignals {
		s.waiting = s.waiting[:maxSignals-1]
	}
	s.waiting = append(s.waiting, err)
	select {
	case s.wake <- struct{}{}:
	default:
	}
}
