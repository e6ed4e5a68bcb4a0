package hubtest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"forge.lthn.ai/core/go-ws/hub"
)

// brokenPatience is the time that callers give while the broker is away.
const brokenPatience = 500 * time.Millisecond

// cut breaks the deployment and waits until the members know.
func (e *backplaneEnv) cut(members ...*suiteMember) {
	e.Helper()
	before := make([]int, len(members))
	for i, m := range members {
		before[i] = m.disruptions()
	}
	e.breakAll()
	for i, m := range members {
		m.await("Disrupted after Break", func(r *suiteReceiver) bool { return r.disrupted > before[i] })
	}
}

// mend heals the deployment and waits until the members know.
func (e *backplaneEnv) mend(members ...*suiteMember) {
	e.Helper()
	before := make([]int, len(members))
	for i, m := range members {
		before[i] = m.restorations()
	}
	e.healAll()
	for i, m := range members {
		m.await("Restored after Heal", func(r *suiteReceiver) bool { return r.restored > before[i] })
	}
}

// A context that has ended before the call is an error, not a try.
func checkEndedContext(e *backplaneEnv) {
	sub, pub := e.pair("c:ended", "c:end")
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	// Each is tried often: an adapter that chooses at random between the work
	// and the context would pass once.
	for range 20 {
		if err := e.prompt("Publish", 0, func(context.Context) error { return pub.try(ctx, "c:ended", "1") }); err == nil {
			e.Fatal("Publish with a context that has ended: got nil, want an error")
		}
		if err := e.prompt("Subscribe", 0, func(context.Context) error { return sub.bp.Subscribe(ctx, "c:never") }); err == nil {
			e.Fatal("Subscribe with a context that has ended: got nil, want an error")
		}
	}
	pub.publish("c:never", "stray")
	pub.publish("c:end", "end")
	sub.expect("c:end", "end")
	if n := sub.count("stray"); n > 0 {
		e.Errorf("after a Subscribe that failed: got %d deliveries, want none", n)
	}
}

// Every loss is reported, not the first one alone.
func checkBreakIsReported(e *backplaneEnv) {
	sub, pub := e.pair("c:news")
	for range 3 {
		e.cut(sub, pub)
		e.mend(sub, pub)
	}
}

func checkPublishWhileBroken(e *backplaneEnv) {
	sub, pub := e.pair("c:news")
	e.breakAll()
	try := func() {
		err := e.prompt("Publish while broken", brokenPatience, func(ctx context.Context) error { return pub.try(ctx, "c:news", "1") })
		if err == nil {
			e.Error("Publish while broken: got nil, want an error")
		}
	}
	try() // the adapter may not have noticed yet
	pub.await("Disrupted after Break", func(r *suiteReceiver) bool { return r.disrupted > 0 })
	sub.await("Disrupted after Break", func(r *suiteReceiver) bool { return r.disrupted > 0 })
	try()
	e.mend(sub, pub)
	sub.reachable(pub, "c:news")
	pub.publishAgain("c:news", "end")
	if !sub.arrives("c:news", "end", backplaneHang) {
		e.Errorf("published after Heal: got nothing for %v, want a delivery", backplaneHang)
	}
}

// After ErrUnavailable nothing was published, not even later on.
func checkUnavailablePublishesNothing(e *backplaneEnv) {
	sub, pub := e.pair("c:news")
	e.cut(sub, pub)
	var refused []string
	for i := range 5 {
		envelope := fmt.Sprint("refused ", i)
		err := e.prompt("Publish while broken", brokenPatience, func(ctx context.Context) error { return pub.try(ctx, "c:news", envelope) })
		if errors.Is(err, hub.ErrUnavailable) {
			refused = append(refused, envelope)
		}
	}
	e.mend(sub, pub)
	sub.reachable(pub, "c:news")
	pub.publishAgain("c:news", "end")
	if !sub.arrives("c:news", "end", backplaneHang) {
		e.Fatalf("published after Heal: got nothing for %v, want a delivery", backplaneHang)
	}
	for _, envelope := range refused {
		if sub.count(envelope) > 0 {
			e.Errorf("%q was refused with ErrUnavailable: got it delivered, want nothing", envelope)
		}
	}
}

// A Subscribe that failed leaves nothing behind, and what was live before comes
// back.
func checkSubscribeWhileBroken(e *backplaneEnv) {
	sub, pub := e.pair("c:old")
	e.cut(sub, pub)
	err := e.prompt("Subscribe while broken", brokenPatience, func(ctx context.Context) error { return sub.bp.Subscribe(ctx, "c:old", "c:new") })
	if err == nil {
		e.Error("Subscribe while broken: got nil, want an error")
	}
	e.mend(sub, pub)
	sub.reachable(pub, "c:old")
	pub.publishAgain("c:new", "stray")
	pub.publishAgain("c:old", "end")
	if !sub.arrives("c:old", "end", backplaneHang) {
		e.Fatalf("topic that was live before: got nothing for %v, want a delivery", backplaneHang)
	}
	if n := sub.count("stray"); n > 0 {
		e.Errorf("after a Subscribe that failed: got %d deliveries, want none", n)
	}
	sub.join(pub, "c:new")
	pub.publish("c:new", "end")
	sub.expect("c:new", "end")
}

// A topic that was left while the broker was away does not come back.
func checkUnsubscribeWhileBroken(e *backplaneEnv) {
	sub, pub := e.pair("c:leave", "c:stay")
	e.cut(sub, pub)
	err := e.prompt("Unsubscribe while broken", brokenPatience, func(ctx context.Context) error { return sub.bp.Unsubscribe(ctx, "c:leave") })
	e.mend(sub, pub)
	sub.reachable(pub, "c:stay")
	pub.publishAgain("c:leave", "stray")
	pub.publishAgain("c:stay", "end")
	if !sub.arrives("c:stay", "end", backplaneHang) {
		e.Fatalf("topic that was not left: got nothing for %v, want a delivery", backplaneHang)
	}
	if n := sub.count("stray"); err == nil && n > 0 {
		e.Errorf("topic that was left while broken: got %d deliveries, want none", n)
	}
}

// When Restored is called every subscription is live, without anybody's help.
func checkSubscriptionsComeBack(e *backplaneEnv) {
	sub, pub := e.connected(), e.connected()
	var topics []hub.Topic
	for round := range 2 {
		var more []hub.Topic
		for i := range 100 {
			more = append(more, hub.Topic(fmt.Sprintf("c:back-%d-%d", round, i)))
		}
		sub.join(pub, more...)
		topics = append(topics, more...)
		e.cut(sub, pub)
		e.mend(sub, pub)
		for _, topic := range topics {
			sub.reachable(pub, topic)
			pub.publishAgain(topic, fmt.Sprint("end ", round))
		}
		for _, topic := range topics {
			if !sub.arrives(topic, fmt.Sprint("end ", round), backplaneHang) {
				e.Fatalf("topic %q, published after Restored: got nothing for %v, want a delivery", topic, backplaneHang)
			}
		}
	}
}
