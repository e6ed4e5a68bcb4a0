package hubtest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"forge.lthn.ai/core/go-ws/hub"
)

// hostileTopics are channel names that one broker or another has a meaning for.
var hostileTopics = []string{
	"a", "a.b", "a.b.c", ".", "..", ".a", "a.", "a..b",
	"*", "a.*", "*.b", "**", ">", "a.>", "c:*", "?", "[a-z]", "[", "\\", "\\*",
	"a b", " ", " a", "a ", "a\tb", "a\nb", "a\r\nb", "\n", "a\x00b", "\x00", "\x7f",
	`"`, `'`, "`", `a"b`, "{}", "{a}", "{a", "}a{", "a{b}c", "{a}.b",
	"%", "%41", "%2A", "%00", "_", "=", "~", "A", "a/b", "/", "//", "a:b", ":", "::", "c:", "c:a", "u:a", "b:",
	"$", "$SYS", "_INBOX.a", "$JS.API", "__keyspace@0__:a",
	"é", "e\u0301", "日本語", "\U0001F600", "\u200b", "\u2028", "\ufeff", "\ufffd", "\u212a", "\u0131", "ß", "ss",
	"aa", "aaa", "ab", "a-b", "a_b", "a,b", "a;b", "a|b", "a&b", "a=b", "a+b", "a#b", "#", "+", "a@b", "<a>", "SUBSCRIBE a",
}

// Every name is subscribed alone, by one member, and something is published on
// each: what arrives must be on the right one, and on no other.
func checkHostileTopics(e *backplaneEnv) {
	e.topicsStayApart("c:", hostileTopics)
	// A name that nobody subscribed must not be caught by one that looks like it.
	sub, pub := e.connected(), e.connected()
	var wild, plain []string
	for _, name := range hostileTopics {
		if strings.ContainsAny(name, "*>?[]\\+#") {
			wild = append(wild, name)
		} else {
			plain = append(plain, name)
		}
	}
	sub.join(pub, prefixed("c:", append(wild, "the end"))...)
	for _, topic := range prefixed("c:", plain) {
		pub.publish(topic, "stray")
	}
	pub.publish("c:the end", "end")
	sub.expect("c:the end", "end")
	if got := sub.strangers(prefixed("c:", append(wild, "the end"))...); len(got) > 0 {
		e.Errorf("subscribed to names with wildcards: got %q of other topics, want none", got)
	}
}

// topicsStayApart subscribes every second name at one member and the others at
// another one, and all of them at a third.
func (e *backplaneEnv) topicsStayApart(prefix string, names []string) {
	e.Helper()
	pub, even, odd, all := e.connected(), e.connected(), e.connected(), e.connected()
	var halves [2][]hub.Topic
	for i, topic := range prefixed(prefix, names) {
		halves[i%2] = append(halves[i%2], topic)
	}
	even.join(pub, halves[0]...)
	odd.join(pub, halves[1]...)
	all.join(pub, prefixed(prefix, names)...)
	for _, topic := range prefixed(prefix, names) {
		pub.publish(topic, fmt.Sprintf("on %+q", topic), "end")
	}
	for i, topic := range prefixed(prefix, names) {
		want := fmt.Sprintf("on %+q", topic)
		all.expect(topic, "end", want)
		[]*suiteMember{even, odd}[i%2].expect(topic, "end", want)
	}
	for i, half := range []*suiteMember{even, odd} {
		if got := half.strangers(halves[i]...); len(got) > 0 {
			e.Errorf("topics that are not subscribed: got %q, want none", got[:min(len(got), 10)])
		}
	}
}

// Topics are up to 512 bytes long. These differ in their last byte only, or are
// the beginning of one another.
func checkLongTopics(e *backplaneEnv) {
	var names []string
	for _, unit := range []string{"x", " ", ".", "*", "\x00", "é", "\U0001F600"} {
		long := strings.Repeat(unit, 509/len(unit))
		names = append(names, long, long+"1", long+"2")
	}
	e.topicsStayApart("c:", names)
}

func checkTopicSpacesAreApart(e *backplaneEnv) {
	spaces := []string{"c:", "u:", "h:", "b:", "p:", "C:"}
	pub := e.connected()
	subs := make([]*suiteMember, len(spaces))
	for i, space := range spaces {
		subs[i] = e.connected()
		subs[i].join(pub, hub.Topic(space+"same"))
	}
	for _, space := range spaces {
		pub.publish(hub.Topic(space+"same"), "in "+space)
	}
	for _, space := range spaces {
		pub.publish(hub.Topic(space+"same"), "end")
	}
	for i, space := range spaces {
		topic := hub.Topic(space + "same")
		subs[i].expect(topic, "end", "in "+space)
		if got := subs[i].strangers(topic); len(got) > 0 {
			e.Errorf("subscribed to %q: got %q, want nothing else", topic, got)
		}
	}
}

func checkOnlySubscribedTopics(e *backplaneEnv) {
	sub, pub := e.pair("c:news")
	for _, topic := range []hub.Topic{"c:sport", "c:News", "c:NEWS", "c:new", "c:newsletter", "b:"} {
		pub.publish(topic, "stray")
	}
	pub.publish("c:news", "1", "end")
	sub.expect("c:news", "end", "1")
	if got := sub.strangers("c:news"); len(got) > 0 {
		e.Errorf("subscribed to c:news alone: got %q too", got)
	}
}

// What is published right after Subscribe has returned must arrive, every time.
func checkSubscribeIsLiveOnReturn(e *backplaneEnv) {
	sub, pub := e.connected(), e.connected()
	for i := range 200 {
		topic := hub.Topic(fmt.Sprintf("c:live-%d", i))
		e.must("Subscribe", func(ctx context.Context) error { return sub.bp.Subscribe(ctx, topic) })
		pub.publish(topic, "end")
		sub.expect(topic, "end")
	}
}

func checkSubscribeManyAtOnce(e *backplaneEnv) {
	const many = 1000
	topics := make([]hub.Topic, many)
	for i := range topics {
		topics[i] = hub.Topic(fmt.Sprintf("c:many-%d", i))
	}
	sub, pub := e.connected(), e.connected()
	e.must("Subscribe", func(ctx context.Context) error { return sub.bp.Subscribe(ctx, topics...) })
	sub.reachable(pub, topics...)
	for _, topic := range topics {
		pub.publish(topic, "end")
	}
	for _, topic := range topics {
		sub.expect(topic, "end")
	}
	e.must("Unsubscribe", func(ctx context.Context) error { return sub.bp.Unsubscribe(ctx, topics[1:]...) })
	for _, topic := range topics[1:] {
		pub.publish(topic, "stray")
	}
	pub.publish(topics[0], "last")
	sub.expect(topics[0], "last", "end")
	if got := sub.count("stray"); got > 0 {
		e.Errorf("after Unsubscribe of %d topics at once: got %d deliveries, want none", many-1, got)
	}
	e.must("Subscribe to nothing", func(ctx context.Context) error { return sub.bp.Subscribe(ctx) })
	e.must("Unsubscribe from nothing", func(ctx context.Context) error { return sub.bp.Unsubscribe(ctx) })
}

func checkSubscribeTwiceDeliversOnce(e *backplaneEnv) {
	sub, pub := e.pair("c:twice", "c:twice", "c:other")
	sub.join(pub, "c:twice")
	sub.join(pub, "c:new", "c:twice")
	pub.publish("c:twice", "1", "2", "end")
	sub.expect("c:twice", "end", "1", "2")
	pub.publish("c:twice", "after")
	sub.expect("c:twice", "after", "1", "2", "end")
}

// One Unsubscribe is enough however often the topic was subscribed.
func checkUnsubscribeStops(e *backplaneEnv) {
	sub, pub := e.pair("c:leave", "c:stay")
	sub.join(pub, "c:leave")
	e.must("Unsubscribe", func(ctx context.Context) error { return sub.bp.Unsubscribe(ctx, "c:leave") })
	pub.publish("c:leave", "stray")
	pub.publish("c:stay", "end")
	sub.expect("c:stay", "end")
	if got := sub.count("stray"); got > 0 {
		e.Errorf("published after Unsubscribe: got %d deliveries, want none", got)
	}
	sub.join(pub, "c:leave")
	pub.publish("c:leave", "again")
	sub.expect("c:leave", "again")
}

func checkUnsubscribeUnknown(e *backplaneEnv) {
	sub, pub := e.pair("c:known")
	for range 2 {
		e.must("Unsubscribe", func(ctx context.Context) error { return sub.bp.Unsubscribe(ctx, "c:unknown", "c:neither") })
	}
	pub.publish("c:known", "end")
	sub.expect("c:known", "end")
}

// Publish, Subscribe and Unsubscribe may run side by side, each topic's
// subscribing from one goroutine.
func checkConcurrentCalls(e *backplaneEnv) {
	const workers, rounds = 8, 30
	m, pub := e.pair("c:end")
	var all sync.WaitGroup
	for w := range workers {
		all.Go(func() {
			topic := hub.Topic(fmt.Sprintf("c:worker-%d", w))
			for range rounds {
				ctx, cancel := context.WithTimeout(context.Background(), backplaneHang/2)
				if err := m.bp.Subscribe(ctx, topic); err != nil {
					e.Errorf("Subscribe beside other calls: got %v, want nil", err)
				}
				if err := m.try(ctx, topic, "x"); err != nil {
					e.Errorf("Publish beside other calls: got %v, want nil", err)
				}
				if err := m.bp.Unsubscribe(ctx, topic); err != nil {
					e.Errorf("Unsubscribe beside other calls: got %v, want nil", err)
				}
				cancel()
			}
		})
	}
	e.within("concurrent calls", all.Wait)
	pub.publish("c:end", "end")
	m.expect("c:end", "end")
}

// A Subscribe that fails for some topics says for which, and has joined the
// others.
func checkSubscribeSome(e *backplaneEnv) {
	sub, pub := e.connected(), e.connected()
	var topics []hub.Topic
	for i := range 64 {
		topics = append(topics, hub.Topic(fmt.Sprint("c:some-", i)))
	}
	failed := slices.Clone(e.h.FailSome(e, slices.Clone(topics)))
	slices.Sort(failed)
	sound := slices.DeleteFunc(slices.Clone(topics), func(t hub.Topic) bool { return slices.Contains(failed, t) })
	if len(failed) == 0 || len(failed)+len(sound) != len(topics) || len(sound) == 0 {
		e.Fatalf("FailSome: got %q, want some of the topics, and not all", failed)
	}
	err := e.prompt("Subscribe that fails for some", backplaneHang/2, func(ctx context.Context) error { return sub.bp.Subscribe(ctx, topics...) })
	partial, ok := errors.AsType[*hub.SubscribeError](err)
	if !ok {
		e.Fatalf("Subscribe that fails for some: got %v, want a *hub.SubscribeError", err)
	}
	if got := slices.Sorted(maps.Keys(partial.Failed)); !slices.Equal(got, failed) {
		e.Fatalf("Subscribe that fails for some: got failures of %q, want of %q", got, failed)
	}
	for topic, reason := range partial.Failed {
		if reason == nil {
			e.Errorf("Subscribe that fails for some: got no reason for %q, want one", topic)
		}
	}
	sub.reachable(pub, sound...)
	for _, topic := range sound {
		pub.publish(topic, "end")
		sub.expect(topic, "end")
	}
	if e.h.FailNone == nil {
		return
	}
	e.h.FailNone(e)
	for _, topic := range failed {
		pub.publishAgain(topic, "stray")
	}
	pub.publish(sound[0], "last")
	sub.expect(sound[0], "last", "end")
	if n := sub.count("stray"); n > 0 {
		e.Errorf("topics that Subscribe said it has not joined: got %d deliveries, want none", n)
	}
	e.eventually("Subscribe to those that failed, after FailNone", func() error {
		return e.prompt("Subscribe after FailNone", backplaneHang/2, func(ctx context.Context) error { return sub.bp.Subscribe(ctx, failed...) })
	})
	sub.reachable(pub, failed...)
	for _, topic := range failed {
		pub.publish(topic, "end")
		sub.expect(topic, "end")
	}
}

func prefixed(prefix string, names []string) []hub.Topic {
	topics := make([]hub.Topic, len(names))
	for i, name := range names {
		topics[i] = hub.Topic(prefix + name)
	}
	return topics
}
