package hub_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"forge.lthn.ai/core/go-ws/hub"
	"forge.lthn.ai/core/go-ws/hub/hubtest"
	"forge.lthn.ai/core/go-ws/hub/wire"
)

// settled joins hubs that know each other.
func settled(t *testing.T, broker *hubtest.Broker, n int) []*member {
	t.Helper()
	hubs := make([]*member, n)
	for i := range hubs {
		hubs[i] = join(t, broker, hub.Config{Authenticator: userFromQuery})
	}
	time.Sleep(2 * time.Second)
	wantHubs(t, n, hubs...)
	return hubs
}

// counted fails unless a count is as wanted, and there is no error.
func counted(t *testing.T, what string, want hub.Count) func(hub.Count, error) {
	return func(got hub.Count, err error) {
		t.Helper()
		if got != want || err != nil {
			t.Errorf("%s: got %+v, %v, want %+v", what, got, err, want)
		}
	}
}

// asker is another hub of which only what it hears and says is there.
type asker struct {
	id     string
	broker *hubtest.Broker
	mu     sync.Mutex
	heard  []wire.Control
	// reply, if set, gets each question and returns what to publish where.
	reply func(source string, c wire.Control) (hub.Topic, []byte)
}

func newAsker(t *testing.T, broker *hubtest.Broker, id string) *asker {
	t.Helper()
	a := &asker{id: id, broker: broker}
	link := broker.Join()
	if err := link.Start(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { link.Close() })
	if err := link.Subscribe(t.Context(), wire.TopicControl, hub.Topic(wire.HubTopic(id))); err != nil {
		t.Fatal(err)
	}
	return a
}

func (a *asker) Deliver(d hub.Delivery) {
	e, err := wire.ParseEnvelope(d.Envelope)
	if err != nil || e.Source == a.id {
		return
	}
	c, err := wire.ParseControl(e.Payload)
	if err != nil {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.heard = append(a.heard, c)
	if a.reply != nil && c.Kind == wire.ControlCount {
		if topic, envelope := a.reply(e.Source, c); topic != "" {
			go a.broker.Publish(topic, envelope)
		}
	}
}

func (*asker) Disrupted(error) {}
func (*asker) Restored()       {}

func (a *asker) of(kind wire.ControlKind) (all []wire.Control) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, c := range a.heard {
		if c.Kind == kind {
			all = append(all, c)
		}
	}
	return all
}

func TestCountsAddUpOverAllHubs(t *testing.T) {
	bubble(t, func(t *testing.T) {
		hubs := settled(t, hubtest.NewBroker(hubtest.BrokerConfig{}), 3)
		for i, m := range hubs {
			for range i {
				m.connectAs(as("ann")).subscribe("news")
			}
			m.connectAs(as("guest"))
		}
		began := time.Now()
		for _, m := range hubs {
			counted(t, "clients", hub.Count{Clients: 6, Answered: 3, Known: 3})(m.CountClients(t.Context()))
			counted(t, "subscribers", hub.Count{Clients: 3, Answered: 3, Known: 3})(m.CountSubscribers(t.Context(), "news"))
			counted(t, "nobody", hub.Count{Answered: 3, Known: 3})(m.CountSubscribers(t.Context(), "quiet"))
			counted(t, "ann", hub.Count{Clients: 3, Answered: 3, Known: 3})(m.CountUserClients(t.Context(), "ann"))
			counted(t, "bob", hub.Count{Answered: 3, Known: 3})(m.CountUserClients(t.Context(), "bob"))
		}
		if took := time.Since(began); took != 0 {
			t.Errorf("took %v, want no waiting for anything but answers", took)
		}
		hubs[2].end()
		got, err := hubs[0].CountClients(t.Context())
		counted(t, "after one has left", hub.Count{Clients: 3, Answered: 2, Known: 2})(got, err)
		if !got.Whole() {
			t.Error("not whole, want it whole")
		}
		if n := hubs[0].Stats().Backplane.ControlDropped; n != 0 {
			t.Errorf("ControlDropped %d, want none", n)
		}
	})
}

func TestCountingWithoutABackplane(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := start(t, hub.Config{Authenticator: userFromQuery})
		w.connectAs(as("ann")).subscribe("news")
		counted(t, "clients", hub.Count{Clients: 1, Answered: 1, Known: 1})(w.CountClients(t.Context()))
		counted(t, "subscribers", hub.Count{Clients: 1, Answered: 1, Known: 1})(w.CountSubscribers(t.Context(), "news"))
		counted(t, "ann", hub.Count{Clients: 1, Answered: 1, Known: 1})(w.CountUserClients(t.Context(), "ann"))
		if _, err := w.CountSubscribers(t.Context(), "$"); !errors.Is(err, hub.ErrInvalidChannel) {
			t.Errorf("got %v, want ErrInvalidChannel", err)
		}
		if _, err := w.CountUserClients(t.Context(), ""); !errors.Is(err, hub.ErrInvalidMessage) {
			t.Errorf("got %v, want ErrInvalidMessage", err)
		}
		w.end()
		if _, err := w.CountClients(t.Context()); !errors.Is(err, hub.ErrNotRunning) {
			t.Errorf("after the end: got %v, want ErrNotRunning", err)
		}
	})
}

func TestACountSaysHowManyHubsHaveAnswered(t *testing.T) {
	bubble(t, func(t *testing.T) {
		hubs := settled(t, hubtest.NewBroker(hubtest.BrokerConfig{}), 3)
		for _, m := range hubs {
			m.connectAs(as("guest"))
		}
		hubs[2].link.Break()
		began := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		got, err := hubs[0].CountClients(ctx)
		counted(t, "one is silent", hub.Count{Clients: 2, Answered: 2, Known: 3})(got, err)
		if got.Whole() || time.Since(began) != time.Second {
			t.Errorf("whole %t after %v, want it not whole when ctx ends", got.Whole(), time.Since(began))
		}
		counted(t, "without a deadline", hub.Count{Clients: 2, Answered: 2, Known: 3})(hubs[0].CountClients(t.Context()))
		if took := time.Since(began); took != 6*time.Second {
			t.Errorf("without a deadline: took %v, want BackplaneTimeout", took-time.Second)
		}
		time.Sleep(time.Second)
		counted(t, "it is taken for gone", hub.Count{Clients: 2, Answered: 2, Known: 2})(hubs[0].CountClients(t.Context()))

		ctx, stop := context.WithCancel(t.Context())
		hubs[1].link.SetFaults(hubtest.BackplaneFaults{Deliver: func(d hub.Delivery) []hub.Delivery { stop(); return nil }})
		if got, err := hubs[0].CountClients(ctx); !errors.Is(err, context.Canceled) || got != (hub.Count{Clients: 1, Answered: 1, Known: 2}) {
			t.Errorf("cancelled: got %+v, %v, want what is known and Canceled", got, err)
		}
	})
}

// A hub that waits for an answer hears that the other one ends.
func TestACountDoesNotWaitForAHubThatLeaves(t *testing.T) {
	bubble(t, func(t *testing.T) {
		broker := hubtest.NewBroker(hubtest.BrokerConfig{})
		a := settled(t, broker, 1)[0]
		broker.Publish(wire.TopicControl, controlOf("other", announcement))
		time.AfterFunc(time.Second, func() {
			broker.Publish(wire.TopicControl, controlOf("other", wire.Control{Kind: wire.ControlGoodbye}))
		})
		began := time.Now()
		counted(t, "the other has left", hub.Count{Answered: 1, Known: 1})(a.CountClients(t.Context()))
		if took := time.Since(began); took != time.Second {
			t.Errorf("took %v, want the second until it left", took)
		}
	})
}

// A hub that has just come does not know all others yet: it waits a little for
// those that it does not know.
func TestACountOfAHubThatHasJustComeIsWhole(t *testing.T) {
	bubble(t, func(t *testing.T) {
		broker := hubtest.NewBroker(hubtest.BrokerConfig{})
		settled(t, broker, 3)[1].connectAs(as("guest"))
		late := join(t, broker, hub.Config{})
		got, err := late.CountClients(t.Context())
		counted(t, "at once", hub.Count{Clients: 1, Answered: 4, Known: 4})(got, err)
	})
}

// Two hubs that begin together, one of them slow to hear anything.
func TestACountOfHubsThatBeginTogetherIsWhole(t *testing.T) {
	bubble(t, func(t *testing.T) {
		broker := hubtest.NewBroker(hubtest.BrokerConfig{})
		a := join(t, broker, hub.Config{})
		link := broker.Join()
		link.SetFaults(hubtest.BackplaneFaults{Subscribe: func(context.Context, []hub.Topic) error {
			time.Sleep(500 * time.Millisecond)
			return nil
		}})
		b := start(t, hub.Config{Backplane: link})
		b.connect()
		counted(t, "at once", hub.Count{Clients: 1, Answered: 2, Known: 2})(a.CountClients(t.Context()))
	})
}

// neverRestored is a member whose adapter never says that it has its broker.
type neverRestored struct{ *hubtest.Backplane }

type withoutRestored struct{ hub.BackplaneReceiver }

func (withoutRestored) Restored() {}

func (b neverRestored) Start(ctx context.Context, r hub.BackplaneReceiver) error {
	return b.Backplane.Start(ctx, withoutRestored{r})
}

// A question that is asked while the adapter calls the broker away may arrive:
// who is not known yet is waited for.
func TestACountIsNotWholeBeforeTheOthersAreKnown(t *testing.T) {
	bubble(t, func(t *testing.T) {
		broker := hubtest.NewBroker(hubtest.BrokerConfig{})
		a := start(t, hub.Config{Backplane: neverRestored{broker.Join()}})
		link := broker.Join()
		link.SetFaults(hubtest.BackplaneFaults{Subscribe: func(context.Context, []hub.Topic) error {
			time.Sleep(500 * time.Millisecond)
			return nil
		}})
		var starting sync.WaitGroup
		defer starting.Wait()
		starting.Go(func() { start(t, hub.Config{Backplane: link}) })
		counted(t, "at once", hub.Count{Answered: 1, Known: 2})(a.CountClients(t.Context()))
		broker.Break()
		began := time.Now()
		if _, err := a.CountClients(t.Context()); !errors.Is(err, hub.ErrNotPropagated) || time.Since(began) != 0 {
			t.Errorf("the broker is away: got %v after %v, want ErrNotPropagated at once", err, time.Since(began))
		}
	})
}

// A hub that comes while others count was not asked, and is known all the same.
func TestACountIsNotWholeWithoutAHubThatCameMeanwhile(t *testing.T) {
	bubble(t, func(t *testing.T) {
		broker := hubtest.NewBroker(hubtest.BrokerConfig{})
		a := settled(t, broker, 1)[0]
		broker.Publish(wire.TopicControl, controlOf("silent", announcement))
		time.AfterFunc(time.Second, func() { broker.Publish(wire.TopicControl, controlOf("late", announcement)) })
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		counted(t, "one silent, one too late", hub.Count{Answered: 1, Known: 3})(a.CountClients(ctx))
	})
}

func TestCountingWithoutTheBrokerSaysSo(t *testing.T) {
	bubble(t, func(t *testing.T) {
		broker := hubtest.NewBroker(hubtest.BrokerConfig{})
		a := settled(t, broker, 2)[0]
		a.connectAs(as("guest"))
		broker.Break()
		began := time.Now()
		got, err := a.CountClients(t.Context())
		if took := time.Since(began); took != 0 {
			t.Errorf("took %v, want the broker's answer at once", took)
		}
		if !errors.Is(err, hub.ErrNotPropagated) || !errors.Is(err, hub.ErrUnavailable) || got != (hub.Count{Clients: 1, Answered: 1, Known: 2}) {
			t.Errorf("got %+v, %v, want this hub's client, ErrNotPropagated and ErrUnavailable", got, err)
		}
		broker.Heal()
		counted(t, "it is back", hub.Count{Clients: 1, Answered: 2, Known: 2})(a.CountClients(t.Context()))

		// The question stands behind one that hangs, and is never asked.
		var gate hubtest.Gate
		a.link.SetFaults(hubtest.BackplaneFaults{Publish: func(ctx context.Context, _ hub.Publication) error { return gate.Wait(ctx) }})
		first, cancelFirst := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancelFirst()
		go func() { _, _ = a.CountSubscribers(first, "first") }()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		counted(t, "never asked", hub.Count{Clients: 1, Answered: 1, Known: 2})(a.CountClients(ctx))
		gate.Open()
		a.end()
	})
}

func TestAnswersThatAreLateForeignOrRepeatedCountForNothing(t *testing.T) {
	bubble(t, func(t *testing.T) {
		broker := hubtest.NewBroker(hubtest.BrokerConfig{})
		a := settled(t, broker, 1)[0]
		other := newAsker(t, broker, "other")
		broker.Publish(wire.TopicControl, controlOf("other", announcement))
		own := hub.Topic(wire.HubTopic(a.ID()))
		answer := func(from string, request uint64, counts ...int) {
			broker.Publish(own, controlOf(from, wire.Control{Kind: wire.ControlCounted, Request: request, Counts: counts}))
		}
		var asked uint64
		other.reply = func(_ string, c wire.Control) (hub.Topic, []byte) {
			asked = c.Request
			return "", nil
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			counted(t, "known", hub.Count{Clients: 8, Answered: 3, Known: 4})(a.CountClients(t.Context()))
		}()
		synctest.Wait()
		answer("other", asked+1, 1000)   // to another question
		answer("other", asked, 500, 500) // to more questions than there were
		answer("new", asked, 5)          // a hub that was not known yet
		answer("new", asked, 5)          // again
		answer("newer", asked, wire.UnknownCount)
		answer("other", asked, 3)
		<-done
		answer("other", asked, 7) // late
		synctest.Wait()
		if n := a.Stats().Backplane.Malformed; n != 1 {
			t.Errorf("Malformed %d, want the answer of two counts", n)
		}
		done = make(chan struct{})
		go func() {
			defer close(done)
			got, err := a.CountUserClients(t.Context(), "ann")
			counted(t, "huge", hub.Count{Clients: math.MaxInt32, Answered: 2, Known: 2})(got, err)
		}()
		synctest.Wait()
		answer("other", asked, math.MaxInt32)
		<-done
	})
}

// Concurrent calls share questions, and questions wait for their turn: what a hub
// asks is bounded however often it is called.
func TestQuestionsAreSharedAndBounded(t *testing.T) {
	bubble(t, func(t *testing.T) {
		broker := hubtest.NewBroker(hubtest.BrokerConfig{})
		a := settled(t, broker, 2)[0]
		heard := overhear(t, broker)
		var calls sync.WaitGroup
		for i := range 5 * 50 {
			calls.Go(func() {
				counted(t, "at once", hub.Count{Answered: 2, Known: 2})(a.CountUserClients(t.Context(), fmt.Sprint("user-", i%50)))
			})
		}
		calls.Wait()
		if n := heard.since(wire.ControlCount); n > hub.AskBurst+1 {
			t.Errorf("250 calls at once about 50 users: got %d questions, want a burst and one", n)
		}
		time.Sleep(time.Minute)
		began := time.Now()
		for range 210 {
			counted(t, "in turn", hub.Count{Answered: 2, Known: 2})(a.CountClients(t.Context()))
		}
		// Two hubs: a question each 20 ms, but for a burst of ten.
		if took := time.Since(began); took < 3900*time.Millisecond || took > 4100*time.Millisecond {
			t.Errorf("210 questions took %v, want 4s", took)
		}
		// The broker hangs: who waits is bounded.
		var gate hubtest.Gate
		a.link.SetFaults(hubtest.BackplaneFaults{Publish: func(ctx context.Context, _ hub.Publication) error { return gate.Wait(ctx) }})
		var mu sync.Mutex
		refused := 0
		for i := range (hub.MaxGathering + 2) * wire.MaxQuestions {
			calls.Go(func() {
				if _, err := a.CountSubscribers(t.Context(), fmt.Sprint("channel-", i)); errors.Is(err, hub.ErrUnavailable) {
					mu.Lock()
					defer mu.Unlock()
					refused++
				}
			})
		}
		calls.Wait()
		if refused == 0 || refused > 2*wire.MaxQuestions {
			t.Errorf("%d calls refused, want those past %d questions", refused, hub.MaxGathering)
		}
		gate.Open()
		a.end()
	})
}

// While the broker hangs nothing is asked. Calls whose context has ended take no
// room from those that come.
func TestCountsThatWereGivenUpTakeNoRoom(t *testing.T) {
	bubble(t, func(t *testing.T) {
		broker := hubtest.NewBroker(hubtest.BrokerConfig{})
		a := settled(t, broker, 2)[0]
		var gate hubtest.Gate
		a.link.SetFaults(hubtest.BackplaneFaults{Publish: func(ctx context.Context, _ hub.Publication) error { return gate.Wait(ctx) }})
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		var calls sync.WaitGroup
		for i := range (hub.MaxGathering + 2) * wire.MaxQuestions {
			calls.Go(func() { _, _ = a.CountSubscribers(ctx, fmt.Sprint("channel-", i)) })
		}
		calls.Wait()
		ctx, cancel = context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if _, err := a.CountSubscribers(ctx, "later"); errors.Is(err, hub.ErrUnavailable) {
			t.Errorf("a call after others were given up: got %v, want it to wait", err)
		}
		gate.Open()
		a.end()
	})
}

func TestAnswersAreBounded(t *testing.T) {
	bubble(t, func(t *testing.T) {
		broker := hubtest.NewBroker(hubtest.BrokerConfig{})
		a := settled(t, broker, 1)[0]
		other := newAsker(t, broker, "other")
		for range 10 * hub.AnswerBurst {
			broker.Publish(wire.TopicControl, controlOf("other", wire.Control{Kind: wire.ControlCount, Request: 7, Topics: []string{"b:", "x:new"}}))
		}
		synctest.Wait()
		answers := other.of(wire.ControlCounted)
		if n := len(answers); n < 1 || n > hub.AnswerBurst {
			t.Errorf("got %d answers, want %d at most", n, hub.AnswerBurst)
		}
		if n := a.Stats().Backplane.ControlDropped; int(n) != 10*hub.AnswerBurst-len(answers) {
			t.Errorf("ControlDropped %d beside %d answers, want the rest", n, len(answers))
		}
		if c := answers[0]; c.Request != 7 || len(c.Counts) != 2 || c.Counts[0] != 0 || c.Counts[1] != wire.UnknownCount {
			t.Errorf("got answer %+v, want 0 clients and a count that is not known", c)
		}
		time.Sleep(time.Second)
		counted(t, "afterwards", hub.Count{Answered: 1, Known: 1})(a.CountClients(t.Context()))
	})
}
