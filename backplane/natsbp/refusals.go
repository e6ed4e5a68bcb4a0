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
// wait for.

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
	number  uint64    // of all there ever were
	list    []refusal // the newest last
	changed chan struct{}
}

// mark is a point in time before something is written.
type mark struct {
	number uint64
	last   error
}

func (r *refusals) init() { r.changed = make(chan struct{}) }

// refusedSubject finds the subject in the server's words: Permissions Violation
// for Publish to "ws.c:news". Subjects of ours have no spaces and no quotes.
var refusedSubject = regexp.MustCompile(`(?i)\b(publish|subscription) to "([^" ]+)"`)

// note takes down what the error handler was called with.
func (r *refusals) note(err error) {
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
	case errors.Is(err, nats.ErrMaxSubscriptionsExceeded):
		kind = refusedLimit
	default:
		return
	}
	r.number++
	if len(r.list) >= keptRefusals {
		r.list = append(r.list[:0:0], r.list[len(r.list)/2:]...)
	}
	r.list = append(r.list, refusal{kind: kind, subject: subject, err: err})
	close(r.changed)
	r.changed = make(chan struct{})
}

func (r *refusals) mark(nc *nats.Conn) mark {
	r.mu.Lock()
	m := mark{number: r.number}
	r.mu.Unlock()
	m.last = nc.LastError()
	return m
}

// since returns what was refused since the mark, after a flush, and moves the
// mark. joining says that there were subscriptions in between.
func (r *refusals) since(ctx context.Context, m *mark, s *session, joining bool) refusedSince {
	last := s.nc.LastError()
	switch {
	case errors.Is(last, nats.ErrPermissionViolation) && !same(last, m.last):
		r.wait(ctx, s, handlerPatience, func() bool {
			return slices.ContainsFunc(r.list, func(of refusal) bool { return same(of.err, last) })
		})
	case joining && errors.Is(last, nats.ErrMaxSubscriptionsExceeded):
		// Always the same value, which may be of long ago. A connection that
		// was once refused subscriptions for their number is slow at others.
		patience := limitPatience
		if !same(last, m.last) {
			patience = handlerPatience
		}
		r.wait(ctx, s, patience, func() bool { return r.number > m.number })
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	fresh := int(min(r.number-m.number, uint64(len(r.list))))
	m.number, m.last = r.number, last
	return slices.Clone(r.list[len(r.list)-fresh:])
}

// wait waits for the handler, until a condition holds, which is asked with r
// locked.
func (r *refusals) wait(ctx context.Context, s *session, patience time.Duration, told func() bool) {
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	for {
		r.mu.Lock()
		ok, changed := told(), r.changed
		r.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-changed:
		case <-timeout.C:
			return
		case <-s.ended:
			return
		case <-ctx.Done():
			return
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
