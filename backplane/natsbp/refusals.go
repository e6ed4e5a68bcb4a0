package natsbp

import (
	"context"
	"errors"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// The server answers what an access list forbids, or a limit on subscriptions,
// by a line that names the subject at most and stands before its next PONG. The
// client sets LastError when it reads the line, and calls the error handler a
// moment later. So after a flush LastError says whether there is a handler to
// wait for; where it holds something else, a fence is (see there).

type refusedKind int

const (
	refusedPublish refusedKind = iota + 1
	refusedSubscribe
	// refusedLimit names no subject.
	refusedLimit
)

// keptRefusals are remembered, so that a round trip finds its own among them.
const keptRefusals = 4096

// handlerPatience bounds the wait for the error handler, which is called for
// sure, on a goroutine of the client's; limitPatience is for where there may be
// nothing to wait for.
const (
	handlerPatience = 10 * time.Second
	limitPatience   = time.Second
)

type refusal struct {
	kind    refusedKind // zero: the server's words are not understood
	subject string
	err     error
}

// refusals is what the server has refused lately.
type refusals struct {
	mu      sync.Mutex
	number  uint64       // of all there ever were
	list    refusedSince // the newest last
	changed chan struct{}
	fences  map[string]chan struct{} // by their subjects
}

// mark is a point in time before something is written.
type mark struct {
	number uint64
	last   error
	filled uint64 // how often the client's channel was full
}

func (r *refusals) init() {
	r.changed = make(chan struct{})
	r.fences = make(map[string]chan struct{})
}

// refusedSubject finds the subject in the server's words: Permissions Violation
// for Publish to "ws.c:news". Subjects of ours have no spaces and no quotes.
var refusedSubject = regexp.MustCompile(`(?i)\b(publish|subscription) to "([^" ]+)"`)

// note takes down what the error handler was called with. It reports whether that
// was a fence.
func (r *refusals) note(err error) (fence bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var kind refusedKind
	var subject string
	switch {
	case errors.Is(err, nats.ErrPermissionViolation):
		if m := refusedSubject.FindStringSubmatch(err.Error()); m != nil {
			kind, subject = refusedPublish, m[2]
			if strings.EqualFold(m[1], "subscription") {
				kind = refusedSubscribe
			}
		}
		if r.reachLocked(subject) {
			return true
		}
	case errors.Is(err, nats.ErrMaxSubscriptionsExceeded):
		kind = refusedLimit
		for subject := range r.fences {
			r.reachLocked(subject) // it may be one that was refused
		}
	default:
		return false
	}
	r.number++
	if len(r.list) >= keptRefusals {
		r.list = append(r.list[:0:0], r.list[len(r.list)/2:]...)
	}
	r.list = append(r.list, refusal{kind: kind, subject: subject, err: err})
	close(r.changed)
	r.changed = make(chan struct{})
	return false
}

func (b *Backplane) mark(nc *nats.Conn) mark {
	r := &b.refusals
	r.mu.Lock()
	m := mark{number: r.number}
	r.mu.Unlock()
	m.filled, _ = b.in.full()
	m.last = nc.LastError()
	return m
}

// refusedSince returns what was refused since the mark, after a flush, and moves the
// mark. joining says that there were subscriptions in between. After an error
// nobody knows.
func (b *Backplane) refusedSince(m *mark, s *session, joining bool) (refusedSince, error) {
	r := &b.refusals
	last := s.nc.LastError()
	filled, full := b.in.full()
	full = full || filled != m.filled
	var err error
	switch {
	case last == nil:
	case errors.Is(last, nats.ErrPermissionViolation):
		if !same(last, m.last) {
			err = r.wait(b.ctx, s, handlerPatience, func() bool {
				return slices.ContainsFunc(r.list, func(of refusal) bool { return same(of.err, last) })
			})
		}
	case errors.Is(last, nats.ErrMaxSubscriptionsExceeded):
		limited := func() bool { return r.sinceLocked(m).limit() != nil }
		if !same(last, m.last) {
			err = r.wait(b.ctx, s, handlerPatience, limited)
		} else if joining {
			// Always the same value, which may be of long ago. A connection that
			// was once refused subscriptions for their number is slow at others.
			_ = r.wait(b.ctx, s, limitPatience, limited) // there may be none
		}
	case b.cfg.Conn == nil && errors.Is(last, nats.ErrSlowConsumer) && !full:
		// It is of long ago: the connection has no other subscriptions.
	default:
		patience := confirmPatience
		if joining {
			patience = settlePatience
		}
		err = b.fence(b.ctx, s, patience)
	}
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	refused := slices.Clone(r.sinceLocked(m))
	m.number, m.last, m.filled = r.number, last, filled
	return refused, nil
}

// sinceLocked are the refusals since the mark, or as many as are remembered.
func (r *refusals) sinceLocked(m *mark) refusedSince {
	fresh := int(min(r.number-m.number, uint64(len(r.list))))
	return r.list[len(r.list)-fresh:]
}

// wait waits for the handler, until a condition holds, which is asked with r
// locked.
func (r *refusals) wait(ctx context.Context, s *session, patience time.Duration, told func() bool) error {
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	for {
		r.mu.Lock()
		ok, changed := told(), r.changed
		r.mu.Unlock()
		if ok {
			return nil
		}
		select {
		case <-changed:
		case <-timeout.C:
			return errHandler
		case <-s.ended:
			return s.err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// refusedSince is what the server has refused in some stretch of time.
type refusedSince []refusal

// of returns why a subject was refused, or nil.
func (l refusedSince) of(kind refusedKind, subject string) error {
	for _, r := range l {
		if r.kind == kind && r.subject == subject {
			return r.err
		}
	}
	return nil
}

// limit returns the server's word that there are too many subscriptions.
func (l refusedSince) limit() error {
	for _, r := range l {
		if r.kind == refusedLimit {
			return r.err
		}
	}
	return nil
}

// same reports whether two errors are one value.
func same(a, b error) bool {
	if a == nil || b == nil {
		return a == nil && b == nil
	}
	return reflect.TypeOf(a).Comparable() && reflect.TypeOf(b).Comparable() && a == b
}
