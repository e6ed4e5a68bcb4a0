package natsbp

import (
	"context"
	"fmt"

	"github.com/nats-io/nats.go"

	"forge.lthn.ai/core/go-ws/hub"
)

// entry is a topic that the backplane is on, or about to be.
type entry struct {
	name hub.Topic
	sub  *nats.Subscription // control writes it, with mu locked

	// Control's alone.
	nc      *nats.Conn // that sub belongs to
	refused error      // what the server said to sub
}

// request is a call of Subscribe or Unsubscribe on its way to control.
type request struct {
	session *session    // of a Subscribe
	join    []hub.Topic // a Subscribe's topics
	leave   []*entry    // an Unsubscribe's
	done    chan struct{}
	err     error // set before done is closed

	// Guarded by Backplane.mu.
	served    bool
	abandoned bool     // the caller has left, and nothing may come of it
	added     []*entry // topics that were not there before
}

// Subscribe joins topics in one round trip, however many, shared with those of
// concurrent calls. It returns when the server has worked through it. Topics
// that an access list refuses come back in a *hub.SubscribeError.
func (b *Backplane) Subscribe(ctx context.Context, topics ...hub.Topic) error {
	if err := b.subscribe(ctx, topics); err != nil {
		return fmt.Errorf("natsbp: subscribe: %w", err)
	}
	return nil
}

func (b *Backplane) subscribe(ctx context.Context, topics []hub.Topic) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s, err := b.live()
	if err != nil || len(topics) == 0 {
		return err
	}
	for _, topic := range topics {
		if _, err := b.subjects.of(topic); err != nil {
			return err
		}
	}
	r := &request{session: s, join: topics, done: make(chan struct{})}
	b.ask(r)
	select {
	case <-r.done:
		return r.err
	case <-ctx.Done():
		err = ctx.Err()
	case <-s.ended:
		err = fmt.Errorf("%w: %w", s.err, hub.ErrUnavailable)
	}
	if b.abandon(r) {
		return err
	}
	<-r.done // at once: it is served
	return r.err
}

// Unsubscribe leaves topics. Nothing that comes in afterwards is delivered,
// whether the server has heard of it or not.
func (b *Backplane) Unsubscribe(ctx context.Context, topics ...hub.Topic) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("natsbp: unsubscribe: %w", err)
	}
	b.mu.Lock()
	s := b.session
	var leave []*entry
	for _, topic := range topics {
		if e := b.topics[topic]; e != nil {
			delete(b.topics, topic)
			leave = append(leave, e)
		}
	}
	b.mu.Unlock()
	if len(leave) == 0 {
		return nil
	}
	r := &request{leave: leave, done: make(chan struct{})}
	b.ask(r)
	if s == nil {
		return nil // what is not there is not brought back
	}
	select {
	case <-r.done:
		return nil
	case <-s.ended:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("natsbp: unsubscribe: %w", ctx.Err())
	}
}

// ask puts a request before control.
func (b *Backplane) ask(r *request) {
	b.mu.Lock()
	b.requests = append(b.requests, r)
	b.mu.Unlock()
	b.lookAgain()
}

// abandon takes a request back, unless it is served.
func (b *Backplane) abandon(r *request) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if r.served {
		return false
	}
	r.abandoned = true
	b.forgetLocked(r)
	return true
}

// forgetLocked takes away what a request has added: from now on nothing of it is
// delivered.
func (b *Backplane) forgetLocked(r *request) {
	for _, e := range r.added {
		if b.topics[e.name] == e {
			delete(b.topics, e.name)
		}
	}
}

func (b *Backplane) takeRequests() []*request {
	b.mu.Lock()
	defer b.mu.Unlock()
	list := b.requests
	b.requests = nil
	return list
}

// forgetRequests answers what can't be done without a connection. Topics that
// are to be left are left: they are not among those that are brought back.
func (b *Backplane) forgetRequests() {
	for _, r := range b.takeRequests() {
		b.finish(r, hub.ErrUnavailable)
	}
}

func (b *Backplane) allTopics() []*entry {
	b.mu.Lock()
	defer b.mu.Unlock()
	all := make([]*entry, 0, len(b.topics))
	for _, e := range b.topics {
		all = append(all, e)
	}
	return all
}

func (b *Backplane) clearTopics() []*entry {
	all := b.allTopics()
	b.mu.Lock()
	defer b.mu.Unlock()
	clear(b.topics)
	return all
}

// serve is control's part: it takes requests in their order, and waits once for
// the server's answer to all of them.
func (c *control) serve(requests []*request) {
	if len(requests) == 0 {
		return
	}
	b := c.b
	m := b.mark(c.nc)
	var joins []*request
	for _, r := range requests {
		for _, e := range r.leave {
			c.drop(e)
		}
		if r.join == nil {
			b.finish(r, nil)
			continue
		}
		if err := c.begin(r); err != nil {
			c.undo(b.finish(r, err))
			continue
		}
		joins = append(joins, r)
	}
	if len(joins) == 0 {
		return
	}
	s := joins[len(joins)-1].session
	err := s.flush(settlePatience)
	var refused refusedSince
	if err == nil {
		refused, err = b.refusedSince(&m, s, true)
	}
	if err == nil {
		c.refusals = m
		err = refused.limit()
	}
	for _, r := range joins {
		result := err
		switch {
		case r.session != s:
			result = fmt.Errorf("the connection was lost: %w", hub.ErrUnavailable)
		case result == nil:
			result = c.refusedOf(r, refused)
		}
		c.undo(b.finish(r, result))
	}
}

// begin adds what is not there yet, and writes it to the server.
func (c *control) begin(r *request) error {
	b := c.b
	b.mu.Lock()
	if r.abandoned || r.session != b.session {
		b.mu.Unlock()
		return fmt.Errorf("the connection was lost: %w", hub.ErrUnavailable)
	}
	for _, topic := range r.join {
		if b.topics[topic] == nil {
			e := &entry{name: topic}
			b.topics[topic] = e
			r.added = append(r.added, e)
		}
	}
	added := r.added
	b.mu.Unlock()
	for _, e := range added {
		if err := c.join(e); err != nil {
			return err
		}
	}
	return nil
}

// refusedOf says which of a request's topics the server refuses.
func (c *control) refusedOf(r *request, refused refusedSince) error {
	if len(refused) == 0 {
		return nil
	}
	failed := make(map[hub.Topic]error)
	for _, e := range r.added {
		if err := refused.of(refusedSubscribe, e.sub.Subject); err != nil {
			failed[e.name] = err
		}
	}
	if len(failed) == 0 {
		return nil
	}
	return &hub.SubscribeError{Failed: failed}
}

// finish answers a request, and returns the topics of it whose subscriptions
// must be ended.
func (b *Backplane) finish(r *request, err error) (undo []*entry) {
	b.mu.Lock()
	defer b.mu.Unlock()
	defer close(r.done)
	r.err, r.served = err, true
	partial, _ := err.(*hub.SubscribeError)
	switch {
	case r.abandoned:
		undo = r.added // the caller has forgotten them
	case partial != nil:
		for _, e := range r.added {
			if partial.Failed[e.name] != nil {
				delete(b.topics, e.name)
				undo = append(undo, e)
			}
		}
	case err != nil:
		b.forgetLocked(r)
		undo = r.added
	}
	return undo
}

func (c *control) undo(entries []*entry) {
	for _, e := range entries {
		c.drop(e)
	}
}
