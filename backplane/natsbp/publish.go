package natsbp

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"forge.lthn.ai/core/go-ws/hub"
)

const (
	// publishers take turns at writing, and each waits for the server's answer
	// to what it has written: so many round trips are under way at most, and
	// what comes meanwhile shares the next one.
	publishers = 4
	// queueMessages and queueBytes bound what waits for a turn.
	queueMessages = 4096
	queueBytes    = 16 << 20
	// confirmPatience is generous: a connection that is silent is found by
	// probes, and ends the wait.
	confirmPatience = 30 * time.Second
)

// job is one publication on its way. Whoever published it waits for done, or
// leaves: then it withdraws the job, unless a publisher has taken it.
type job struct {
	session *session
	subject string
	data    []byte
	state   atomic.Int32
	done    chan error // takes the result without anybody waiting
}

const (
	jobWaiting int32 = iota
	jobTaken
	jobWithdrawn
)

func (j *job) take() bool     { return j.state.CompareAndSwap(jobWaiting, jobTaken) }
func (j *job) withdraw() bool { return j.state.CompareAndSwap(jobWaiting, jobWithdrawn) }

// Publish sends the envelope and returns when the server has it: what follows in
// the same connection was answered. Concurrent publications share such round
// trips. An envelope above the server's max_payload is refused with
// hub.ErrTooLarge and the limit; while no server is there the error is
// hub.ErrUnavailable, at once. Where the connection ends before the answer the
// outcome is unknown. A publication that the server's access list refuses
// returns what the server said.
func (b *Backplane) Publish(ctx context.Context, p hub.Publication) (hub.Published, error) {
	if err := b.send(ctx, p); err != nil {
		return hub.Published{}, fmt.Errorf("natsbp: publish: %w", err)
	}
	return hub.Published{}, nil
}

func (b *Backplane) send(ctx context.Context, p hub.Publication) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if p.Log != "" {
		return fmt.Errorf("log %q: this backplane keeps nothing", p.Log)
	}
	s, err := b.live()
	if err != nil {
		return err
	}
	if int64(len(p.Envelope)) > s.maxPayload {
		return tooLarge(len(p.Envelope), s.maxPayload)
	}
	subject, err := b.subjects.of(p.Topic)
	if err != nil {
		return err
	}
	j := jobs.Get().(*job)
	j.session, j.subject, j.data = s, subject, append(j.data[:0], p.Envelope...)
	j.state.Store(jobWaiting)
	if err := b.out.put(ctx, j); err != nil {
		return err
	}
	return j.wait(ctx)
}

func tooLarge(size int, limit int64) error {
	return fmt.Errorf("envelope of %d bytes, the server's max_payload is %d: %w", size, limit, hub.ErrTooLarge)
}

// wait returns the job's result, or why there will be none.
func (j *job) wait(ctx context.Context) error {
	s := j.session
	var reason error
	select {
	case err := <-j.done:
		j.recycle()
		return err
	case <-ctx.Done():
		reason = ctx.Err()
	case <-s.ended:
		reason = s.err
	}
	if j.withdraw() {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return fmt.Errorf("%w: %w", reason, hub.ErrUnavailable)
	}
	select {
	case err := <-j.done:
		return err
	default:
		return fmt.Errorf("outcome unknown: %w", reason)
	}
}

// jobs that are done with are used again. Those whose publisher left go to the
// garbage collector: somebody may still look at them.
var jobs = sync.Pool{New: func() any { return &job{done: make(chan error, 1)} }}

func (j *job) recycle() {
	j.session = nil
	if cap(j.data) <= 64<<10 {
		jobs.Put(j)
	}
}

// outbound is the queue before the publishers.
type outbound struct {
	turn chan struct{} // who holds its token takes what waits, and writes it
	wake chan struct{} // something waits

	mu    sync.Mutex
	list  []*job
	bytes int
	room  chan struct{} // closed when the list is taken; nil where nobody waits
}

func (o *outbound) init() {
	o.turn = make(chan struct{}, 1)
	o.wake = make(chan struct{}, 1)
}

// put waits for room. After an error the job is not in the queue.
func (o *outbound) put(ctx context.Context, j *job) error {
	for {
		room := o.tryPut(j)
		if room == nil {
			return nil
		}
		select {
		case <-room:
		case <-ctx.Done():
			return ctx.Err()
		case <-j.session.ended:
			return fmt.Errorf("%w: %w", j.session.err, hub.ErrUnavailable)
		}
	}
}

// tryPut returns a channel to wait for where the queue is full.
func (o *outbound) tryPut(j *job) (room <-chan struct{}) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.list) >= queueMessages || len(o.list) > 0 && o.bytes+len(j.data) > queueBytes {
		if o.room == nil {
			o.room = make(chan struct{})
		}
		return o.room
	}
	o.list = append(o.list, j)
	o.bytes += len(j.data)
	select {
	case o.wake <- struct{}{}:
	default:
	}
	return nil
}

// take returns all that waits. spare is a list to go on with.
func (o *outbound) take(spare []*job) []*job {
	o.mu.Lock()
	defer o.mu.Unlock()
	list := o.list
	o.list, o.bytes = spare, 0
	if o.room != nil {
		close(o.room)
		o.room = nil
	}
	return list
}

// publish is a publisher's goroutine. Having the turn it waits for jobs and
// writes them, so that jobs are written in the order of the queue; then it hands
// the turn on and waits for the answer.
func (b *Backplane) publish() {
	o := &b.out
	var spare []*job
	for {
		select {
		case o.turn <- struct{}{}:
		case <-b.ctx.Done():
			return
		}
		select {
		case <-o.wake:
		case <-b.ctx.Done():
			<-o.turn
			return
		}
		batch := o.take(spare)
		var m mark
		sent := b.write(batch, &m)
		<-o.turn
		b.confirm(sent, m)
		clear(batch)
		spare = batch[:0]
		if cap(spare) > queueMessages {
			spare = nil
		}
	}
}

// write hands jobs to the client, and returns those that it took: all of one
// session.
func (b *Backplane) write(batch []*job, m *mark) (sent []*job) {
	sent = batch[:0]
	for _, j := range batch {
		if !j.take() {
			continue
		}
		s := j.session
		if s.over() || len(sent) > 0 && sent[0].session != s {
			// What one session could not take any more is not for the next one.
			j.done <- fmt.Errorf("the connection was lost: %w", hub.ErrUnavailable)
			continue
		}
		if len(sent) == 0 {
			*m = b.mark(s.nc)
		}
		if err := s.nc.Publish(j.subject, j.data); err != nil {
			j.done <- refusedByClient(err, j)
			continue
		}
		sent = append(sent, j)
	}
	return sent
}

func refusedByClient(err error, j *job) error {
	switch {
	case errors.Is(err, nats.ErrMaxPayload):
		return tooLarge(len(j.data), j.session.maxPayload)
	case errors.Is(err, nats.ErrReconnectBufExceeded), errors.Is(err, nats.ErrConnectionClosed), errors.Is(err, nats.ErrConnectionDraining):
		return fmt.Errorf("%w: %w", err, hub.ErrUnavailable)
	default:
		return fmt.Errorf("outcome unknown: %w", err)
	}
}

// confirm waits until the server has worked through what was sent.
func (b *Backplane) confirm(sent []*job, m mark) {
	if len(sent) == 0 {
		return
	}
	s := sent[0].session
	err := s.flush(confirmPatience)
	var refused refusedSince
	if err == nil {
		refused, err = b.refusedSince(&m, s, false)
	}
	if err != nil {
		err = fmt.Errorf("outcome unknown: %w", err)
		for _, j := range sent {
			j.done <- err
		}
		return
	}
	for _, j := range sent {
		j.done <- refused.of(refusedPublish, j.subject)
	}
}

// sendProbe publishes a probe and does not wait. Where there is no room much
// else is on its way.
func (b *Backplane) sendProbe(s *session) {
	j := &job{session: s, subject: b.probe, done: make(chan error, 1)}
	b.out.tryPut(j)
}
