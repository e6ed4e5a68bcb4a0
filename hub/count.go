package hub

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"time"
	"unicode/utf8"

	"forge.lthn.ai/core/go-ws/hub/wire"
)

// Count is a number of clients, added up over hubs.
type Count struct {
	Clients int
	// Answered is how many hubs the number comes from, Known how many are known
	// to live. This hub is one of each.
	Answered, Known int
}

// Whole reports whether every hub that is known to live has answered.
func (c Count) Whole() bool { return c.Answered >= c.Known }

// CountClients counts the clients of all hubs.
//
// It returns when all hubs that are known to live have answered, at the latest
// when ctx ends or, where ctx has no deadline, after BackplaneTimeout. That some
// have not answered by then is no error: Count.Whole is false. A hub that died
// without a word counts as known for three of its announcements: 6 s, in a fleet
// of over 200 hubs longer. A hub that has just begun, or just has its broker back,
// first waits for a second until it knows the others.
//
// Concurrent calls share questions, and a hub asks one question for each 10 ms
// and hub of the fleet, but for a burst of ten: two hubs 50 a second, 1,000 hubs
// one each 10 s. Calls wait for their turn. A question has room for 64 channels
// and users.
//
// The error wraps ErrNotPropagated where the question did not, or not surely,
// reach the other hubs, ErrUnavailable where too many calls wait,
// ErrNotRunning, or ctx's error where it has ended otherwise than by its deadline. The count
// beside it is what is known.
func (h *Hub) CountClients(ctx context.Context) (Count, error) {
	return h.countOver(ctx, wire.TopicBroadcast)
}

// CountSubscribers counts the clients that are on a channel, on all hubs. See
// CountClients; the error may also wrap ErrInvalidChannel.
func (h *Hub) CountSubscribers(ctx context.Context, channel string) (Count, error) {
	if err := wire.CheckChannel(channel, h.cfg.MaxChannelLength); err != nil {
		return Count{}, fmt.Errorf("hub: counting: %w", err)
	}
	return h.countOver(ctx, wire.ChannelTopic(channel))
}

// CountUserClients counts the clients of a user, on all hubs: with none, the
// user is offline. See CountClients; the error may also wrap ErrInvalidMessage.
func (h *Hub) CountUserClients(ctx context.Context, userID string) (Count, error) {
	if !nameableUser(userID) {
		return Count{}, fmt.Errorf("hub: counting: %w: no such user id can be", ErrInvalidMessage)
	}
	return h.countOver(ctx, wire.UserTopic(userID))
}

func nameableUser(userID string) bool {
	return userID != "" && len(userID) <= wire.MaxChannel && utf8.ValidString(userID)
}

func (h *Hub) countOver(ctx context.Context, topic string) (Count, error) {
	if err := h.publishing(); err != nil {
		return Count{}, fmt.Errorf("hub: counting: %w", err)
	}
	if err := ctx.Err(); err != nil {
		return Count{}, fmt.Errorf("hub: counting: %w", err)
	}
	if h.interest == nil {
		return Count{Clients: h.countHere(topic), Answered: 1, Known: 1}, nil
	}
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, h.cfg.BackplaneTimeout)
		defer cancel()
	}
	if h.interest.isRestored() {
		// Of a broker that is away the question itself tells, at once.
		if err := h.fleet.settle(ctx); err != nil {
			return Count{Clients: h.countHere(topic), Answered: 1, Known: h.fleet.known()}, fmt.Errorf("hub: counting: %w", err)
		}
	}
	q, i, err := h.fleet.ask(topic)
	if err != nil {
		return Count{Clients: h.countHere(topic), Answered: 1, Known: h.fleet.known()}, fmt.Errorf("hub: counting: %w", err)
	}
	waitErr := h.fleet.await(ctx, q)
	count, err := h.fleet.result(q, i)
	count.Clients += h.countHere(topic)
	if err == nil {
		err = waitErr
	}
	if err != nil {
		return count, fmt.Errorf("hub: counting: %w", err)
	}
	return count, nil
}

// countHere counts how many of this hub's clients get what is published on a
// topic.
func (h *Hub) countHere(topic string) int {
	if topic == wire.TopicBroadcast {
		return h.roster.len()
	}
	if channel, ok := wire.TopicChannel(topic); ok {
		return h.channels.subscribers(channel)
	}
	if user, ok := wire.TopicUser(topic); ok {
		return h.users.subscribers(user)
	}
	return wire.UnknownCount
}

// counting is the questions that this hub asks and answers, guarded by
// fleet.mu.
type counting struct {
	// gathering are the questions that wait for their turn, the last of them open
	// for more topics. asked are those that were published, by their ids.
	gathering []*question
	asked     map[uint64]*question
	asks      budget
	// answers wait to be published.
	answers []answer
	answerB budget
}

// question is one message to all hubs, for any number of callers. Guarded by
// fleet.mu, but for done.
type question struct {
	topics []string
	// sums and answered are of each topic.
	sums     []int64
	answered []int
	// waiting are the known hubs that have not answered, heard those that have.
	waiting, heard map[string]struct{}
	err            error
	// callers that wait.
	callers int
	// done is closed when there is nothing more to wait for.
	done     chan struct{}
	finished bool
	id       uint64
}

type answer struct {
	to string
	c  wire.Control
}

const (
	// askBurst is how many questions a hub may ask at once, maxGathering how many
	// wait, of wire.MaxQuestions topics each.
	askBurst     = 10
	maxGathering = 16
	// answerPace and answerBurst are what a hub answers: twice what a fleet that
	// keeps to its pace asks.
	answerPace  = fleetPace / 2
	answerBurst = 1000
	maxAnswers  = 256
)

// errTooManyCounts is why a call does not wait.
var errTooManyCounts = fmt.Errorf("%w: too many counts under way", ErrUnavailable)

// ask puts a topic into the next question, and returns it with the topic's place.
func (f *fleet) ask(topic string) (*question, int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var q *question
	if n := len(f.gathering); n > 0 {
		q = f.gathering[n-1]
	}
	i := -1
	if q != nil {
		i = slices.Index(q.topics, topic)
	}
	if i < 0 {
		if q == nil || len(q.topics) == wire.MaxQuestions {
			if len(f.gathering) == maxGathering {
				// Nobody waits for some any more.
				f.gathering = slices.DeleteFunc(f.gathering, func(q *question) bool { return q.callers == 0 })
			}
			if len(f.gathering) == maxGathering {
				return nil, 0, errTooManyCounts
			}
			q = &question{done: make(chan struct{})}
			f.gathering = append(f.gathering, q)
		}
		i = len(q.topics)
		q.topics, q.sums, q.answered = append(q.topics, topic), append(q.sums, 0), append(q.answered, 0)
	}
	q.callers++
	f.poke()
	return q, i, nil
}

// sendQuestion asks the next question, if there is one and it is its turn.
func (f *fleet) sendQuestion(now time.Time) bool {
	q := f.takeQuestion(now)
	if q == nil {
		return false
	}
	ctx, cancel := context.WithTimeout(f.ctx, f.hub.cfg.BackplaneTimeout)
	defer cancel()
	err := f.publish(ctx, wire.TopicControl, 0, &wire.Control{Kind: wire.ControlCount, Request: q.id, Topics: q.topics})
	if err != nil {
		f.hub.count.publishErrors.Add(1)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if err != nil {
		q.err = fmt.Errorf("%w: %w", ErrNotPropagated, err)
	}
	if err != nil || len(q.waiting) == 0 {
		q.finish()
	}
	return true
}

func (f *fleet) takeQuestion(now time.Time) *question {
	f.prune(now)
	f.mu.Lock()
	defer f.mu.Unlock()
	// Nobody waits for some any more.
	f.gathering = slices.DeleteFunc(f.gathering, func(q *question) bool { return q.callers == 0 })
	if len(f.gathering) == 0 || !f.asks.take(now, f.peers.pace(), askBurst) {
		return nil
	}
	q := f.gathering[0]
	f.gathering = slices.Delete(f.gathering, 0, 1)
	q.waiting, q.heard = make(map[string]struct{}), make(map[string]struct{})
	for id := range f.peers.until {
		q.waiting[id] = struct{}{}
	}
	for q.id == 0 {
		q.id = rand.Uint64()
	}
	if f.asked == nil {
		f.asked = make(map[uint64]*question)
	}
	f.asked[q.id] = q
	return q
}

func (q *question) finish() {
	if !q.finished {
		q.finished = true
		close(q.done)
	}
}

// await waits for a question's answers.
func (f *fleet) await(ctx context.Context, q *question) error {
	select {
	case <-q.done:
	case <-ctx.Done():
		return ended(ctx)
	case <-f.ctx.Done():
		return ErrNotRunning
	}
	if f.failed(q) {
		return nil
	}
	// The question may have been taken while the adapter calls the broker away.
	return f.settle(ctx)
}

// settle waits until the hubs that were there before this one, or before it had
// its broker back, should be known.
func (f *fleet) settle(ctx context.Context) error {
	// The first wait may be for the announcement that they answer.
	for range 2 {
		wait := f.unsettled()
		if wait <= 0 {
			return nil
		}
		settled := time.NewTimer(wait)
		select {
		case <-settled.C:
		case <-ctx.Done():
			settled.Stop()
			return ended(ctx)
		case <-f.ctx.Done():
			settled.Stop()
			return ErrNotRunning
		}
	}
	return nil
}

// ended is a context's error, but for its deadline.
func ended(ctx context.Context) error {
	if err := ctx.Err(); !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return nil
}

func (f *fleet) failed(q *question) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return q.err != nil
}

// unsettled is how long settle has to wait.
func (f *fleet) unsettled() time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.settledAt.IsZero() {
		return settleTime + f.peers.pace()
	}
	return time.Until(f.settledAt)
}

// result is what the other hubs have said about the question's topic i. The
// caller waits no longer.
func (f *fleet) result(q *question, i int) (Count, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if q.callers--; q.callers == 0 {
		delete(f.asked, q.id)
	}
	c := Count{Clients: int(min(q.sums[i], math.MaxInt)), Answered: 1 + q.answered[i], Known: 1 + len(q.waiting) + len(q.heard)}
	for id := range f.peers.until {
		_, waits := q.waiting[id]
		if _, heard := q.heard[id]; !waits && !heard {
			// It came too late to be asked, or the question was not sent.
			c.Known++
		}
	}
	return c, q.err
}

// answer counts what another hub has asked.
func (f *fleet) answer(to string, c *wire.Control) {
	now := time.Now()
	f.mu.Lock()
	allowed := len(f.answers) < maxAnswers && f.answerB.take(now, answerPace, answerBurst)
	f.mu.Unlock()
	if !allowed {
		f.hub.count.controlDropped.Add(1)
		return
	}
	a := answer{to: to, c: wire.Control{Kind: wire.ControlCounted, Request: c.Request}}
	for _, topic := range c.Topics {
		a.c.Counts = append(a.c.Counts, min(f.hub.countHere(topic), math.MaxInt32))
	}
	f.mu.Lock()
	f.answers = append(f.answers, a)
	f.mu.Unlock()
	f.poke()
}

// sendAnswer publishes one answer, if there is one.
func (f *fleet) sendAnswer() bool {
	f.mu.Lock()
	if len(f.answers) == 0 {
		f.answers = nil
		f.mu.Unlock()
		return false
	}
	a := f.answers[0]
	f.answers = f.answers[1:]
	f.mu.Unlock()
	ctx, cancel := context.WithTimeout(f.ctx, f.hub.cfg.BackplaneTimeout)
	defer cancel()
	if err := f.publish(ctx, Topic(wire.HubTopic(a.to)), 0, &a.c); err != nil {
		// The other hub sees that an answer is missing.
		f.hub.count.controlDropped.Add(1)
	}
	return true
}

// counted takes another hub's answer. One that is late, or comes again, or was
// never asked for, is ignored.
func (f *fleet) counted(from string, c *wire.Control) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	q := f.asked[c.Request]
	if q == nil || len(q.heard) >= maxPeers {
		return nil
	}
	if len(c.Counts) != len(q.topics) {
		return fmt.Errorf("%w: %d answers to %d questions", errControl, len(c.Counts), len(q.topics))
	}
	if _, again := q.heard[from]; again {
		return nil
	}
	q.heard[from] = struct{}{}
	for i, n := range c.Counts {
		if n != wire.UnknownCount {
			q.sums[i] += int64(n)
			q.answered[i]++
		}
	}
	if delete(q.waiting, from); len(q.waiting) == 0 {
		q.finish()
	}
	return nil
}

// forgetLocked waits for a hub's answers no longer.
func (f *fleet) forgetLocked(id string) {
	for _, q := range f.asked {
		if _, waits := q.waiting[id]; !waits {
			continue
		}
		if delete(q.waiting, id); len(q.waiting) == 0 {
			q.finish()
		}
	}
}
