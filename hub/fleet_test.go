package hub_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"forge.lthn.ai/core/go-ws/hub"
	"forge.lthn.ai/core/go-ws/hub/hubtest"
	"forge.lthn.ai/core/go-ws/hub/wire"
)

// controlOf is a control message as another hub sends it.
func controlOf(source string, c wire.Control) []byte {
	return wire.AppendEnvelope(nil, &wire.Envelope{Source: source, Control: true, Payload: wire.AppendControl(nil, &c)})
}

var announcement = wire.Control{Kind: wire.ControlAnnounce, Interval: 2 * time.Second}

// overheard is a member of the broker that writes down what hubs say to all.
type overheard struct {
	mu   sync.Mutex
	said map[wire.ControlKind]int
}

func overhear(t *testing.T, broker *hubtest.Broker) *overheard {
	t.Helper()
	o := &overheard{said: make(map[wire.ControlKind]int)}
	link := broker.Join()
	if err := link.Start(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { link.Close() })
	if err := link.Subscribe(t.Context(), wire.TopicControl); err != nil {
		t.Fatal(err)
	}
	return o
}

func (o *overheard) Deliver(d hub.Delivery) {
	e, err := wire.ParseEnvelope(d.Envelope)
	if err != nil {
		return
	}
	c, _ := wire.ParseControl(e.Payload)
	o.mu.Lock()
	defer o.mu.Unlock()
	o.said[c.Kind]++
}

func (*overheard) Disrupted(error) {}
func (*overheard) Restored()       {}

// since returns how many messages of a kind there were since it was asked last.
func (o *overheard) since(kind wire.ControlKind) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	n := o.said[kind]
	o.said[kind] = 0
	return n
}

// wantHubs fails unless the hubs know of so many.
func wantHubs(t *testing.T, want int, hubs ...*member) {
	t.Helper()
	synctest.Wait()
	for i, m := range hubs {
		if got := m.Stats().Backplane.Hubs; got != want {
			t.Errorf("hub %d: got %d hubs, want %d", i, got, want)
		}
	}
}

func TestHubsKnowWhoLives(t *testing.T) {
	bubble(t, func(t *testing.T) {
		broker := hubtest.NewBroker(hubtest.BrokerConfig{})
		a := join(t, broker, hub.Config{})
		wantHubs(t, 1, a)
		time.Sleep(time.Hour)
		b, c := join(t, broker, hub.Config{}), join(t, broker, hub.Config{})
		time.Sleep(100 * time.Millisecond) // the others answer at their pace
		wantHubs(t, 3, a, b, c)
		time.Sleep(time.Hour)
		wantHubs(t, 3, a, b, c)
		b.end()
		wantHubs(t, 2, a, c)
	})
}

func TestAHubThatDiesWithoutAWordIsTakenForGone(t *testing.T) {
	bubble(t, func(t *testing.T) {
		broker := hubtest.NewBroker(hubtest.BrokerConfig{})
		a, b := join(t, broker, hub.Config{}), join(t, broker, hub.Config{})
		time.Sleep(time.Minute)
		wantHubs(t, 2, a, b)
		b.link.Break()
		began := time.Now()
		for a.Stats().Backplane.Hubs == 2 {
			time.Sleep(10 * time.Millisecond)
		}
		if took := time.Since(began); took < 3*time.Second || took > 6*time.Second+10*time.Millisecond {
			t.Errorf("taken for gone after %v, want three announcements", took)
		}
		// One that is started in its place is another, and known beside it.
		again := join(t, broker, hub.Config{})
		b.link.Heal()
		time.Sleep(100 * time.Millisecond)
		wantHubs(t, 3, a, b, again)
	})
}

// A broker that was away leaves no hub unknown: all announce themselves at once
// when they are back.
func TestHubsFindEachOtherAgainWhenTheBrokerIsBack(t *testing.T) {
	bubble(t, func(t *testing.T) {
		broker := hubtest.NewBroker(hubtest.BrokerConfig{})
		a, b := join(t, broker, hub.Config{}), join(t, broker, hub.Config{})
		time.Sleep(time.Minute)
		broker.Break()
		time.Sleep(time.Minute)
		wantHubs(t, 1, a, b)
		broker.Heal()
		time.Sleep(100 * time.Millisecond)
		wantHubs(t, 2, a, b)
	})
}

// However many hubs there are, and whatever they go through, each of them hears
// about 100 announcements a second at most.
func TestAnnouncementsAreBoundedForTheWholeFleet(t *testing.T) {
	bubble(t, func(t *testing.T) {
		broker := hubtest.NewBroker(hubtest.BrokerConfig{})
		a := join(t, broker, hub.Config{})
		heard := overhear(t, broker)
		time.Sleep(time.Minute)
		if n := heard.since(wire.ControlAnnounce); n < 24 || n > 41 {
			t.Errorf("alone: got %d announcements a minute, want one about every 2 s", n)
		}
		// 999 others, at the interval that is theirs.
		announce := func() {
			for i := range 999 {
				broker.Publish(wire.TopicControl, controlOf(fmt.Sprint("hub-", i),
					wire.Control{Kind: wire.ControlAnnounce, Interval: 10 * time.Second}))
			}
			synctest.Wait()
		}
		announce()
		wantHubs(t, 1000, a)
		time.Sleep(10 * time.Second)
		announce()
		heard.since(wire.ControlAnnounce)
		for range 30 {
			time.Sleep(10 * time.Second)
			announce()
		}
		wantHubs(t, 1000, a)
		if n := heard.since(wire.ControlAnnounce) - 30*999; n < 23 || n > 41 {
			t.Errorf("one of 1,000: got %d announcements in 300 s, want one about every 10 s", n)
		}
		// A flapping broker and a stream of newcomers hasten it to its pace, no further.
		for i := range 3000 {
			a.link.Disrupt(errors.New("lost"))
			broker.Publish(wire.TopicControl, controlOf(fmt.Sprint("new-", i), wire.Control{Kind: wire.ControlGoodbye}))
			broker.Publish(wire.TopicControl, controlOf(fmt.Sprint("new-", i), wire.Control{Kind: wire.ControlAnnounce, Interval: time.Second}))
			time.Sleep(10 * time.Millisecond)
		}
		if n := heard.since(wire.ControlAnnounce) - 3000; n > 4 {
			t.Errorf("hastened: got %d announcements in 30 s, want one each 10 s at most", n)
		}
	})
}

func TestKnownHubsAreBounded(t *testing.T) {
	bubble(t, func(t *testing.T) {
		broker := hubtest.NewBroker(hubtest.BrokerConfig{})
		a := join(t, broker, hub.Config{})
		for i := range hub.MaxPeers + 7 {
			broker.Publish(wire.TopicControl, controlOf(fmt.Sprint("hub-", i), announcement))
		}
		wantHubs(t, 1+hub.MaxPeers, a)
		if n := a.Stats().Backplane.ControlDropped; n != 7 {
			t.Errorf("ControlDropped %d, want 7", n)
		}
		time.Sleep(6 * time.Second)
		wantHubs(t, 1, a)
	})
}

// What no hub of this version says is dropped and counted, and a hub that knows
// more or less than this one lives beside it.
func TestControlMessagesOfOtherVersionsAndRubbish(t *testing.T) {
	bubble(t, func(t *testing.T) {
		broker := hubtest.NewBroker(hubtest.BrokerConfig{})
		a := join(t, broker, hub.Config{Authenticator: userFromQuery})
		ann := a.connectAs(as("ann"))
		ann.subscribe("news")
		own := hub.Topic(wire.HubTopic(a.ID()))
		raw := func(payload string) []byte {
			return wire.AppendEnvelope(nil, &wire.Envelope{Source: "next", Control: true, Payload: []byte(payload)})
		}
		// Of the next version: a field more in the envelope, and one in the message.
		next := controlOf("next", announcement)
		next = append(next[:1:1], append([]byte{2, 1, 0, next[4] + 5}, append([]byte("\xc8\x03new"), next[5:]...)...)...)
		broker.Publish(wire.TopicControl, append(next, "\xc9\x02xy"...))
		wantHubs(t, 2, a)

		// A hub that says nothing of itself is not known, and heard all the same; so
		// is a message with a field more.
		for _, version := range [][]byte{{0xb7, 1, 1, 0, 5}, {0xb7, 2, 1, 0, 8}} {
			envelope := append(version, "\x01\x03old"...)
			if version[1] == 2 {
				envelope = append(envelope, "\xc8\x01x"...)
			}
			broker.Publish("c:news", append(envelope, `{"type":"event","channel":"news","data":1}`...))
			ann.want(hub.TypeEvent, `1`)
		}
		wantHubs(t, 2, a)
		heard := a.Stats().Received

		disconnect := wire.Control{Kind: wire.ControlDisconnect, User: "ann", Code: 4500}
		for i, refused := range []struct {
			topic    hub.Topic
			envelope []byte
		}{
			{wire.TopicControl, raw("")},
			{wire.TopicControl, raw("\x63a kind of the next version")},
			{wire.TopicControl, raw("\x01\x01")},
			{wire.TopicControl, []byte("\xb7\x02\x02\x00\x00")},
			{wire.TopicControl, []byte(`{"type":"event","data":1}`)},
			{wire.TopicControl, wire.AppendEnvelope(nil, &wire.Envelope{Source: "old", Payload: []byte(`{"type":"event"}`)})},
			{wire.TopicControl, wire.AppendEnvelope(nil, &wire.Envelope{Source: "old", Target: a.client().ID(), Payload: []byte(`{"type":"event"}`)})},
			{wire.TopicControl, controlOf("next", wire.Control{Kind: wire.ControlDisconnect, Client: a.client().ID(), Code: 4500})},
			{wire.TopicControl, controlOf("next", wire.Control{Kind: wire.ControlCounted, Request: 1, Counts: []int{1}})},
			{own, controlOf("next", announcement)},
			{own, controlOf("next", disconnect)},
			{"c:news", controlOf("next", disconnect)},
			{"b:", controlOf("next", disconnect)},
			{"u:ann", controlOf("next", disconnect)},
		} {
			before := a.Stats().Backplane.Malformed
			broker.Publish(refused.topic, refused.envelope)
			synctest.Wait()
			if got := a.Stats().Backplane.Malformed - before; got != 1 {
				t.Errorf("message %d: counted %d times as malformed, want once", i, got)
			}
		}
		ann.wantNothing()
		wantHubs(t, 2, a)
		if s := a.Stats(); s.Received != heard || s.Backplane.Foreign != 0 {
			t.Errorf("got %d messages received and %d foreign, want none", s.Received-heard, s.Backplane.Foreign)
		}
	})
}

func TestAHubSaysGoodbyeOnlyWhereItIsHeard(t *testing.T) {
	bubble(t, func(t *testing.T) {
		broker := hubtest.NewBroker(hubtest.BrokerConfig{})
		heard := overhear(t, broker)
		a, b := join(t, broker, hub.Config{}), join(t, broker, hub.Config{})
		a.end()
		if n := heard.since(wire.ControlGoodbye); n != 1 {
			t.Errorf("got %d goodbyes, want one", n)
		}
		var gate hubtest.Gate
		b.link.SetFaults(hubtest.BackplaneFaults{Publish: func(ctx context.Context, _ hub.Publication) error { return gate.Wait(ctx) }})
		began := time.Now()
		b.end()
		if took := time.Since(began); took > time.Second {
			t.Errorf("with a frozen broker the end took %v, want a second at most", took)
		}
		c := join(t, broker, hub.Config{})
		c.link.SetFaults(hubtest.BackplaneFaults{Publish: func(ctx context.Context, _ hub.Publication) error { return gate.Wait(ctx) }})
		c.link.Break()
		began = time.Now()
		c.end()
		if took := time.Since(began); took != 0 {
			t.Errorf("with a broker that is known to be away the end took %v, want no time", took)
		}
	})
}

func TestStartedIsClosedOnceTheHubTakesClients(t *testing.T) {
	bubble(t, func(t *testing.T) {
		h, err := hub.New(hub.Config{Transport: hubtest.NewTransport()})
		if err != nil {
			t.Fatal(err)
		}
		select {
		case <-h.Started():
			t.Error("started before Run")
		default:
		}
		ctx, stop := context.WithCancel(t.Context())
		ran := make(chan error, 1)
		go func() { ran <- h.Run(ctx) }()
		<-h.Started()
		if err := h.Ready(); err != nil {
			t.Errorf("Ready after Started: got %v, want nil", err)
		}
		stop()
		if err := <-ran; err != nil {
			t.Error(err)
		}
	})
}
