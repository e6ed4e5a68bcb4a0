package tests

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"forge.lthn.ai/core/go-ws/backplane/natsbp"
	"forge.lthn.ai/core/go-ws/backplane/natsbp/tests/natstest"
	"forge.lthn.ai/core/go-ws/backplane/tests/netfault"
	"forge.lthn.ai/core/go-ws/hub"
)

// A round trip is a PING. The client's own at connecting are two, and an attempt to
// connect may fail.
func TestTenThousandTopicsTakeFewRoundTrips(t *testing.T) {
	p := natstest.Proxy(t, natstest.Addr(natstest.Start(t, server.Options{})))
	tap := &tap{}
	sub := connected(t, natsbp.Config{URL: natstest.URL(p.Addr()), Options: []nats.Option{tap.option()}, ProbeInterval: -1})
	pub := connected(t, natsbp.Config{URL: natstest.URL(p.Addr())})
	const many = 10_000
	topics := make([]hub.Topic, many)
	for i := range topics {
		topics[i] = hub.Topic(fmt.Sprintf("c:channel %d", i))
	}
	count := func(what string, do func()) {
		pings, writes, start := tap.pings.Load(), tap.writes.Load(), time.Now()
		do()
		got := tap.pings.Load() - pings
		t.Logf("%s: %d round trips, %d writes, %v", what, got, tap.writes.Load()-writes, time.Since(start))
		if want := int64(many / 100); got > want {
			t.Errorf("%s: got %d round trips, want at most %d", what, got, want)
		}
	}
	count("subscribing", func() { sub.join(topics...) })
	count("coming back", func() {
		p.Reset()
		for _, m := range []*member{sub, pub} {
			m.await("Restored again", func(m *member) bool { return m.restored > 1 })
		}
	})
	for i := 0; i < many; i += 100 {
		pub.publish(topics[i], "end")
	}
	for i := 0; i < many; i += 100 {
		sub.arrives(topics[i], "end")
	}
	count("unsubscribing", func() {
		if err := sub.Unsubscribe(within(t, natstest.Hang), topics...); err != nil {
			t.Errorf("Unsubscribe: got %v, want nil", err)
		}
	})
}

// Who may subscribe to what.
func restricted(deny ...string) []*server.User {
	return []*server.User{{
		Username: "hub", Password: "secret",
		Permissions: &server.Permissions{
			Publish:   &server.SubjectPermission{Allow: []string{"ws.>"}},
			Subscribe: &server.SubjectPermission{Allow: []string{"ws.>"}, Deny: deny},
		},
	}}
}

func TestTopicsThatTheServerRefusesAreNamedAndTheOthersLive(t *testing.T) {
	s := natstest.Start(t, server.Options{Users: restricted("ws.c:secret", "ws.c:a%20b")})
	m := connected(t, natsbp.Config{URL: "nats://hub:secret@" + natstest.Addr(s)})
	for round := range 20 {
		open := hub.Topic(fmt.Sprint("c:open ", round))
		err := m.Subscribe(within(t, natstest.Hang), open, "c:secret", "c:a b", "c:other")
		partial, ok := errors.AsType[*hub.SubscribeError](err)
		if !ok || len(partial.Failed) != 2 || partial.Failed["c:secret"] == nil || partial.Failed["c:a b"] == nil {
			t.Fatalf("Subscribe with forbidden topics: got %v, want a SubscribeError that names the two", err)
		}
		m.publish(open, "end")
		m.arrives(open, "end")
	}
	m.publish("c:secret", "stray")
	m.publish("c:other", "end")
	m.arrives("c:other", "end")
	if got := m.got("c:secret"); len(got) > 0 {
		t.Errorf("on a topic that was refused: got %q, want nothing", got)
	}
	if n := m.disruptions(); n > 0 {
		t.Errorf("after refused topics: got %d times Disrupted, want none", n)
	}
}

// The access list is another one when the server is back. What it refuses is
// reported and asked for again; all else works.
func TestATopicThatIsRefusedAfterTheReturnIsReportedAndAskedForAgain(t *testing.T) {
	s := natstest.Start(t, server.Options{Users: restricted("ws.c:nothing")})
	at, on := natstest.Addr(s), natstest.Port(s)
	m := connected(t, natsbp.Config{URL: "nats://hub:secret@" + at})
	m.join("c:secret", "c:open")
	natstest.Stop(s)
	m.await("Disrupted", func(m *member) bool { return m.disrupted > 0 })
	s = natstest.Start(t, server.Options{Port: on, Users: restricted("ws.c:secret")})
	m.await("Disrupted by the refusal", func(m *member) bool {
		return strings.Contains(m.signals[len(m.signals)-1], "refuses 1 topics")
	})
	m.publish("c:open", "meanwhile")
	m.arrives("c:open", "meanwhile")
	if err := s.ReloadOptions(&server.Options{Host: "127.0.0.1", Port: on, NoLog: true, NoSigs: true, Users: restricted("ws.c:nothing")}); err != nil {
		t.Fatalf("reloading the server: %v", err)
	}
	m.await("Restored", func(m *member) bool { return m.signals[len(m.signals)-1] == "Restored" })
	m.publish("c:secret", "end")
	m.arrives("c:secret", "end")
}

func TestMoreSubscriptionsThanTheServerTakesAreRefused(t *testing.T) {
	s := natstest.Start(t, server.Options{MaxSubs: 10})
	var many []hub.Topic
	for i := range 20 {
		many = append(many, hub.Topic(fmt.Sprint("c:many-", i)))
	}
	for range 3 {
		// On a connection of its own: of later refusals the client does not say
		// for sure that they are new.
		m := connected(t, natsbp.Config{URL: natstest.URL(natstest.Addr(s))})
		m.join("c:1", "c:2", "c:3")
		if err := m.Subscribe(within(t, natstest.Hang), many...); !errors.Is(err, nats.ErrMaxSubscriptionsExceeded) {
			t.Errorf("Subscribe beyond the server's limit: got %v, want %v", err, nats.ErrMaxSubscriptionsExceeded)
		}
		m.join("c:4", "c:5") // what failed was given back
		m.publish("c:many-0", "stray")
		m.publish("c:5", "end")
		m.arrives("c:5", "end")
		if got := m.got("c:many-0"); len(got) > 0 {
			t.Errorf("after a Subscribe that failed: got %q, want nothing", got)
		}
	}
}

// A Subscribe whose context ends before the server answers leaves nothing, and
// the next one works.
func TestASubscribeThatIsGivenUpLeavesNothing(t *testing.T) {
	s := natstest.Start(t, server.Options{})
	p := natstest.Proxy(t, natstest.Addr(s))
	before := s.NumSubscriptions() // the server's own
	m := connected(t, natsbp.Config{URL: natstest.URL(p.Addr()), ProbeInterval: -1})
	pub := connected(t, natsbp.Config{URL: natstest.URL(natstest.Addr(s))})
	p.Freeze(netfault.Hold)
	if err := m.Subscribe(within(t, 100*time.Millisecond), "c:x", "c:y"); err == nil {
		t.Error("Subscribe to a silent server: got nil, want an error")
	}
	p.Thaw()
	m.join("c:end")
	pub.publish("c:x", "stray")
	pub.publish("c:end", "1")
	m.arrives("c:end", "1")
	if got := m.got("c:x"); len(got) > 0 {
		t.Errorf("after a Subscribe that was given up: got %q, want nothing", got)
	}
	m.join("c:x")
	pub.publish("c:x", "end")
	m.arrives("c:x", "end")
	if got := m.got("c:x"); len(got) != 1 {
		t.Errorf("joined again: got %q, want one", got)
	}
	if got, want := s.NumSubscriptions()-before, uint32(4); got != want { // the topics, and a probe each
		t.Errorf("subscriptions at the server: got %d, want %d", got, want)
	}
}

func TestPrefixesKeepDeploymentsApart(t *testing.T) {
	s := natstest.Start(t, server.Options{})
	one := connected(t, natsbp.Config{URL: natstest.URL(natstest.Addr(s))})
	two := connected(t, natsbp.Config{URL: natstest.URL(natstest.Addr(s)), Prefix: "ws.two"})
	one.join("c:x")
	two.join("c:x")
	one.publish("c:x", "one")
	two.publish("c:x", "two")
	for m, want := range map[*member]string{one: "one", two: "two"} {
		m.arrives("c:x", want)
		if got := m.got("c:x"); len(got) != 1 {
			t.Errorf("prefix of %s: got %q, want its own alone", want, got)
		}
	}
}

// What programs in other languages publish: the subject is as documented.
func TestTheSubjectOfAChannelIsAsDocumented(t *testing.T) {
	s := natstest.Start(t, server.Options{})
	nc := connect(t, natstest.Addr(s))
	m := connected(t, natsbp.Config{URL: natstest.URL(natstest.Addr(s))})
	m.join("c:news", "c:a.b c")
	for subject, topic := range map[string]hub.Topic{"ws.c:news": "c:news", "ws.c:a%2Eb%20c": "c:a.b c"} {
		if err := nc.Publish(subject, []byte("hello")); err != nil {
			t.Fatal(err)
		}
		m.arrives(topic, "hello")
	}
}
