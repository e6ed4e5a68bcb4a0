package natsbp

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
)

// LastError holds one error. Where something else has gone wrong between a
// refusal and its PONG, say a message was thrown away for want of room, the
// refusal does not show there, though the error handler has not been called for it
// yet. The client calls the handler in order, from one goroutine. So a fence is
// built: something that the handler is called for as well, and once it was, it was
// called for all that came before. It is a message to a subscription whose channel
// nobody receives from, or the server's word that this is forbidden too.

var errHandler = errors.New("the client's error handler, which hears of refusals, is not called")

// fence waits until the error handler was called for all that the client has read
// up to now. patience is for its round trip.
func (b *Backplane) fence(ctx context.Context, s *session, patience time.Duration) error {
	subject := b.subjects.probe(rand.Text())
	reached := b.refusals.expect(subject)
	defer b.refusals.forget(subject)
	sub, err := s.nc.ChanSubscribe(subject, make(chan *nats.Msg))
	if err != nil {
		return err
	}
	defer func() { _ = sub.Unsubscribe() }() // fails only where the connection has ended
	if err := s.nc.Publish(subject, nil); err != nil {
		return err
	}
	if err := s.flush(patience); err != nil {
		return err
	}
	timeout := time.NewTimer(handlerPatience)
	defer timeout.Stop()
	select {
	case <-reached:
		return nil
	case <-timeout.C:
		return errHandler
	case <-s.ended:
		return fmt.Errorf("%w before it was known whether the server refuses", s.err)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// expect returns what is closed when the handler is called for a fence.
func (r *refusals) expect(subject string) <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	reached := make(chan struct{})
	r.fences[subject] = reached
	return reached
}

func (r *refusals) forget(subject string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.fences, subject)
}

// reach reports whether a subject is a fence's, which the handler has come to.
func (r *refusals) reach(subject string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.reachLocked(subject)
}

func (r *refusals) reachLocked(subject string) bool {
	reached, ok := r.fences[subject]
	if ok {
		close(reached)
		delete(r.fences, subject)
	}
	return ok
}

// full says of a point in time that the client had no room for a message, or may
// have had none: whoever throws one away finds the channel full, and the reader,
// who alone makes room, sees it so when it comes next.
func (in *inbound) full() (times uint64, now bool) {
	return in.filled.Load(), len(in.messages) >= cap(in.messages)-1
}

// noteFull is called by the reader, when it has taken a message.
func (in *inbound) noteFull() {
	if len(in.messages) >= cap(in.messages)-1 {
		in.filled.Add(1)
	}
}
