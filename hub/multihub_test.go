package hub_test

import (
	"context"
	"encoding/json"
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

// member is a hub that a broker joins with others.
type member struct {
	*world
	link *hubtest.Backplane
}

func join(t *testing.T, broker *hubtest.Broker, cfg hub.Config) *member {
	t.Helper()
	link := broker.Join()
	cfg.Backplane = link
	m := &member{start(t, cfg), link}
	synctest.Wait()
	return m
}

func TestMessagesCrossHubs(t *testing.T) {
	bubble(t, func(t *testing.T) {
		broker := hubtest.NewBroker(hubtest.BrokerConfig{})
		a := join(t, broker, hub.Config{Authenticator: userFromQuery})
		b := join(t, broker, hub.Config{Authenticator: userFromQuery})
		here, there := a.connectAs(as("ann")), b.connectAs(as("ann"))
		here.subscribe("news")
		there.subscribe("news")
		synctest.Wait()

		must(t)(a.SendToChannel(t.Context(), "news", hub.Message{Type: "alarm", Data: "x"}))
		if f := there.want("alarm", `"x"`); f.Channel != "news" {
			t.Errorf("channel %q, want news", f.Channel)
		}
		here.want("alarm", `"x"`)
		must(t)(a.Broadcast(t.Context(), text("all")))
		there.want(hub.TypeEvent, `"all"`)
		here.want(hub.TypeEvent, `"all"`)
		must(t)(a.SendToUser(t.Context(), "ann", text("user")))
		there.want(hub.TypeEvent, `"user"`)
		here.want(hub.TypeEvent, `"user"`)
		must(t)(a.SendToClient(t.Context(), b.client().ID(), text("client")))
		there.want(hub.TypeEvent, `"client"`)
		here.wantNothing()
		there.wantNothing()
		if s := b.Stats(); s.Received != 4 || s.Backplane.Duplicates != 0 || !s.Backplane.Healthy {
			t.Errorf("Stats %+v, want 4 received and a healthy backplane", s)
		}
	})
}

func TestAHubNeverDeliversItsOwnMessageTwice(t *testing.T) {
	bubble(t, func(t *testing.T) {
		broker := hubtest.NewBroker(hubtest.BrokerConfig{})
		a := join(t, broker, hub.Config{})
		p := a.on("news")
		for range 10 {
			must(t)(a.SendToChannel(t.Context(), "news", text("x")))
			p.want(hub.TypeEvent, `"x"`)
		}
		p.wantNothing()
	})
}

func TestPublicationsThatComeTwiceAreDeliveredOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		broker := hubtest.NewBroker(hubtest.BrokerConfig{})
		a, b := join(t, broker, hub.Config{}), join(t, broker, hub.Config{})
		b.link.SetFaults(hubtest.BackplaneFaults{Deliver: hubtest.Duplicate})
		p := b.on("news")
		for i := range 100 {
			must(t)(a.SendToChannel(t.Context(), "news", hub.Message{Data: i}))
			p.want(hub.TypeEvent, fmt.Sprint(i))
		}
		p.wantNothing()
		if n := b.Stats().Backplane.Duplicates; n != 100 {
			t.Errorf("Duplicates %d, want 100", n)
		}
	})
}

func TestLostPublicationsAreCountedAndOvertakingLosesNothing(t *testing.T) {
	bubble(t, func(t *testing.T) {
		broker := hubtest.NewBroker(hubtest.BrokerConfig{})
		a, b := join(t, broker, hub.Config{}), join(t, broker, hub.Config{})
		p := b.on("news")
		send := func(i int) { must(t)(a.SendToChannel(t.Context(), "news", hub.Message{Data: i})) }
		send(0)
		p.want(hub.TypeEvent, `0`)
		b.link.SetFaults(hubtest.BackplaneFaults{Deliver: hubtest.SwapNext()})
		send(1)
		send(2)
		p.want(hub.TypeEvent, `2`)
		p.want(hub.TypeEvent, `1`)
		b.link.SetFaults(hubtest.BackplaneFaults{Deliver: hubtest.DropNext(3)})
		for i := range 80 {
			send(3 + i)
		}
		for i := range 77 {
			p.want(hub.TypeEvent, fmt.Sprint(6+i))
		}
		if s := b.Stats().Backplane; s.Missed != 3 || s.Duplicates != 0 {
			t.Errorf("missed %d, duplicates %d, want 3 and 0", s.Missed, s.Duplicates)
		}
	})
}

func TestALivePublishThatReachedOnlyThisHubSaysSoAndCanBeRepeated(t *testing.T) {
	bubble(t, func(t *testing.T) {
		broker := hubtest.NewBroker(hubtest.BrokerConfig{})
		a, b := join(t, broker, hub.Config{}), join(t, broker, hub.Config{})
		here, there := a.on("news"), b.on("news")
		m := hub.Message{ID: "order-7", Data: 7}

		// It arrived, but the answer was lost: the outcome is unknown.
		a.link.SetFaults(hubtest.BackplaneFaults{Acknowledge: func(context.Context, hub.Publication) error { return errors.New("answer lost") }})
		if _, err := a.SendToChannel(t.Context(), "news", m); !errors.Is(err, hub.ErrNotPropagated) {
			t.Errorf("got %v, want ErrNotPropagated", err)
		}
		a.link.SetFaults(hubtest.BackplaneFaults{})
		must(t)(a.SendToChannel(t.Context(), "news", m))
		here.want(hub.TypeEvent, `7`)
		there.want(hub.TypeEvent, `7`)

		// It never arrived.
		m.ID = "order-8"
		broker.Break()
		if _, err := a.SendToChannel(t.Context(), "news", m); !errors.Is(err, hub.ErrNotPropagated) || !errors.Is(err, hub.ErrUnavailable) {
			t.Errorf("got %v, want ErrNotPropagated and ErrUnavailable", err)
		}
		broker.Heal()
		must(t)(a.SendToChannel(t.Context(), "news", m))
		here.want(hub.TypeEvent, `7`)
		there.want(hub.TypeEvent, `7`)
		here.wantNothing()
		there.wantNothing()
		if n := a.Stats().Backplane.PublishErrors; n != 2 {
			t.Errorf("PublishErrors %d, want 2", n)
		}
	})
}

func TestAFrozenBrokerHoldsPublishesUpForTheirContextAtMost(t *testing.T) {
	bubble(t, func(t *testing.T) {
		broker := hubtest.NewBroker(hubtest.BrokerConfig{})
		a := join(t, broker, hub.Config{})
		p := a.on("news")
		var gate hubtest.Gate
		a.link.SetFaults(hubtest.BackplaneFaults{Publish: func(ctx context.Context, _ hub.Publication) error { return gate.Wait(ctx) }})
		began := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := a.SendToChannel(ctx, "news", text("1")); !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, hub.ErrNotPropagated) {
			t.Errorf("got %v, want ErrNotPropagated and DeadlineExceeded", err)
		}
		if _, err := a.SendToChannel(t.Context(), "news", text("2")); !errors.Is(err, hub.ErrNotPropagated) {
			t.Errorf("got %v, want ErrNotPropagated", err)
		}
		if took := time.Since(began); took != 6*time.Second {
			t.Errorf("took %v, want 1s and BackplaneTimeout", took)
		}
		p.want(hub.TypeEvent, `"1"`)
		p.want(hub.TypeEvent, `"2"`)
		gate.Open()
	})
}

func TestTheBrokerAwayLeavesLocalDeliveryAndHealsByItself(t *testing.T) {
	bubble(t, func(t *testing.T) {
		broker := hubtest.NewBroker(hubtest.BrokerConfig{})
		broker.Break()
		a, b := join(t, broker, hub.Config{}), join(t, broker, hub.Config{})
		if a.Stats().Backplane.Healthy {
			t.Error("healthy without a broker")
		}
		p, q := a.connect(), b.connect()
		for _, c := range []*peer{p, q} {
			c.send(`{"type":"subscribe","data":"news"}`)
			c.want(wire.TypeSubscribed, `{"local":true}`)
		}
		if _, err := a.SendToChannel(t.Context(), "news", text("local")); !errors.Is(err, hub.ErrNotPropagated) {
			t.Errorf("got %v, want ErrNotPropagated", err)
		}
		p.want(hub.TypeEvent, `"local"`)
		broker.Heal()
		synctest.Wait()
		time.Sleep(10 * time.Millisecond)
		synctest.Wait()
		if s := a.Stats().Backplane; !s.Healthy || s.TopicsPending != 0 {
			t.Errorf("after healing: %+v, want healthy", s)
		}
		must(t)(a.SendToChannel(t.Context(), "news", text("again")))
		p.want(hub.TypeEvent, `"again"`)
		q.want(hub.TypeEvent, `"again"`)
	})
}

func TestJoiningALiveChannelWhileTheBrokerIsAwaySaysSo(t *testing.T) {
	bubble(t, func(t *testing.T) {
		broker := hubtest.NewBroker(hubtest.BrokerConfig{})
		a := join(t, broker, hub.Config{})
		a.on("news")
		broker.Break()
		p := a.connect()
		p.send(`{"type":"subscribe","data":"news"}`)
		p.want(wire.TypeSubscribed, `{"local":true}`)
		broker.Heal()
		q := a.connect()
		q.send(`{"type":"subscribe","data":"news"}`)
		q.want(wire.TypeSubscribed, "")
	})
}

func TestAHubListensOnlyToWhatItsClientsAreOn(t *testing.T) {
	bubble(t, func(t *testing.T) {
		broker := hubtest.NewBroker(hubtest.BrokerConfig{})
		a := join(t, broker, hub.Config{})
		count := func() int { synctest.Wait(); return len(a.link.Topics()) }
		if n := count(); n != ownTopics {
			t.Errorf("topics %v of a hub without clients, want broadcast, control and its own", a.link.Topics())
		}
		p, q := a.on("news"), a.on("news", "sport")
		if n := count(); n != ownTopics+2 {
			t.Errorf("topics %v, want its own and 2", a.link.Topics())
		}
		q.Cut()
		time.Sleep(10 * time.Second)
		if n := count(); n != ownTopics+1 {
			t.Errorf("topics %v once sport was left, want its own and 1", a.link.Topics())
		}
		p.unsubscribe("news")
		p.subscribe("news")
		time.Sleep(10 * time.Second)
		if n := count(); n != ownTopics+1 {
			t.Errorf("topics %v after a quick return, want its own and 1", a.link.Topics())
		}
		p.Cut()
		time.Sleep(10 * time.Second)
		if n := count(); n != ownTopics {
			t.Errorf("topics %v with nobody left, want its own", a.link.Topics())
		}
	})
}

func TestForeignProgramsMayPublishPlainJSON(t *testing.T) {
	bubble(t, func(t *testing.T) {
		broker := hubtest.NewBroker(hubtest.BrokerConfig{})
		a := join(t, broker, hub.Config{})
		p, all := a.on("news"), a.connect()
		topic := hub.Topic(wire.ChannelTopic("news"))
		broker.Publish(topic, []byte(`{"type":"event","channel":"lies","data":{"n":1},"timestamp":"yesterday"}`))
		if f := p.want(hub.TypeEvent, `{"n":1}`); f.Channel != "news" || !f.Timestamp.Equal(time.Now()) {
			t.Errorf("got %+v, want channel news and a timestamp of now", f)
		}
		for range 2 {
			broker.Publish(topic, []byte(` {"type":"event","id":"7","data":2}`))
		}
		if f := p.want(hub.TypeEvent, `2`); f.ID != "" {
			t.Errorf("id %q reached the client", f.ID)
		}
		broker.Publish(wire.TopicBroadcast, []byte(`{"type":"alarm"}`))
		p.want("alarm", "")
		all.want("alarm", "")
		for _, rubbish := range []string{"", "x", "[]", `{"data":1}`, `{"type":"subscribed"}`, `{"type":"presence"}`, "\xb7", "\xb7\x01\x01\xff\xff", "\xb7\x09\x09\x00\x00"} {
			broker.Publish(topic, []byte(rubbish))
		}
		broker.Publish(topic, wire.AppendEnvelope(nil, &wire.Envelope{Source: "other", Payload: []byte("\xff")}))
		broker.Publish(hub.Topic(wire.HubTopic(a.ID())), []byte(`{"type":"event"}`))
		p.wantNothing()
		if s := a.Stats().Backplane; s.Malformed != 11 || s.Foreign != 4 || s.Duplicates != 1 {
			t.Errorf("malformed %d, foreign %d, duplicates %d, want 11, 4 and 1", s.Malformed, s.Foreign, s.Duplicates)
		}
	})
}

// A control message that has lost its mark on the way, by one bit, is not for
// clients: they get JSON objects and nothing else.
func TestAPayloadThatIsNoObjectReachesNoClient(t *testing.T) {
	bubble(t, func(t *testing.T) {
		broker := hubtest.NewBroker(hubtest.BrokerConfig{})
		a := join(t, broker, hub.Config{})
		p := a.connect()
		before := a.Stats()
		lost := wire.AppendControl(nil, &wire.Control{Kind: wire.ControlGoodbye})
		for i, payload := range [][]byte{lost, nil, []byte("[]"), []byte(`"text"`), []byte("1")} {
			broker.Publish(wire.TopicBroadcast, wire.AppendEnvelope(nil, &wire.Envelope{Source: "other", MessageID: fmt.Sprint(i), Payload: payload}))
		}
		p.wantNothing()
		s := a.Stats()
		if got := s.Backplane.Malformed - before.Backplane.Malformed; got != 5 || s.Received != before.Received {
			t.Errorf("got %d malformed and %d received, want 5 and none", got, s.Received-before.Received)
		}
		broker.Publish(wire.TopicBroadcast, wire.AppendEnvelope(nil, &wire.Envelope{Source: "other", Payload: []byte(`{"type":"event","data":1}`)}))
		p.want(hub.TypeEvent, "1")
	})
}

func TestTraceContextCrossesHubs(t *testing.T) {
	bubble(t, func(t *testing.T) {
		type key struct{}
		broker := hubtest.NewBroker(hubtest.BrokerConfig{})
		received := make(chan string, 1)
		a := join(t, broker, hub.Config{InjectTrace: func(ctx context.Context) string { return ctx.Value(key{}).(string) }})
		b := join(t, broker, hub.Config{
			ExtractTrace: func(ctx context.Context, trace string) context.Context { return context.WithValue(ctx, key{}, trace) },
			Observer: hub.Observer{Received: func(ctx context.Context, r hub.ReceiveObservation) {
				received <- fmt.Sprint(ctx.Value(key{}), r.Topic, r.Clients)
			}},
		})
		b.on("news")
		ctx := context.WithValue(t.Context(), key{}, "00-abc-def-01")
		must(t)(a.SendToChannel(ctx, "news", text("x")))
		if got := <-received; got != "00-abc-def-01c:news1" {
			t.Errorf("observed %q, want the trace, c:news and 1 client", got)
		}
	})
}

func TestOnePublishersOrderHoldsAcrossHubs(t *testing.T) {
	bubble(t, func(t *testing.T) {
		broker := hubtest.NewBroker(hubtest.BrokerConfig{})
		a, b := join(t, broker, hub.Config{}), join(t, broker, hub.Config{})
		p := b.on("news")
		const publishers, each = 5, 100
		var wg sync.WaitGroup
		for i := range publishers {
			from := []*member{a, b}[i%2]
			wg.Go(func() {
				for n := range each {
					must(t)(from.SendToChannel(t.Context(), "news", hub.Message{Data: [2]int{i, n}}))
				}
			})
		}
		wg.Wait()
		var last [publishers]int
		for range publishers * each {
			var d [2]int
			if err := json.Unmarshal(p.next().Data, &d); err != nil {
				t.Fatal(err)
			}
			if d[1] != last[d[0]] {
				t.Fatalf("publisher %d: message %d came, want %d", d[0], d[1], last[d[0]])
			}
			last[d[0]]++
		}
	})
}

func TestABackplaneThatCannotStartEndsRun(t *testing.T) {
	bubble(t, func(t *testing.T) {
		link := hubtest.NewBroker(hubtest.BrokerConfig{}).Join()
		if err := link.Close(); err != nil {
			t.Fatal(err)
		}
		h, err := hub.New(hub.Config{Transport: hubtest.NewTransport(), Backplane: link})
		if err != nil {
			t.Fatal(err)
		}
		if err := h.Run(t.Context()); err == nil {
			t.Error("Run returned nil, want the backplane's error")
		}
		if err := h.Shutdown(t.Context()); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
	})
}

func TestNewRefusesABackplaneThatLacksAnAbility(t *testing.T) {
	for _, bp := range []hub.Backplane{nil, hubtest.NewBroker(hubtest.BrokerConfig{}).Join()} {
		_, err := hub.New(hub.Config{Transport: hubtest.NewTransport(), Backplane: bp, Require: []hub.Ability{hub.AbilityHistory}})
		if err == nil || err.Error() != "hub: Config.Require: the backplane has no history" {
			t.Errorf("got %v, want an error that names Config.Require", err)
		}
	}
}

// What is sent to a hub that has started is not missed for want of a
// subscription.
func TestAHubThatHasStartedHearsTheOthers(t *testing.T) {
	bubble(t, func(t *testing.T) {
		broker := hubtest.NewBroker(hubtest.BrokerConfig{})
		a := start(t, hub.Config{Backplane: broker.Join()})
		link := broker.Join()
		link.SetFaults(hubtest.BackplaneFaults{Subscribe: func(context.Context, []hub.Topic) error {
			time.Sleep(500 * time.Millisecond)
			return nil
		}})
		b := start(t, hub.Config{Backplane: link})
		p := b.connect()
		must(t)(a.Broadcast(t.Context(), text("hello")))
		p.want(hub.TypeEvent, `"hello"`)
	})
}

func TestABrokerThatDoesNotAnswerHoldsUpTheStartOnlySoLong(t *testing.T) {
	bubble(t, func(t *testing.T) {
		link := hubtest.NewBroker(hubtest.BrokerConfig{}).Join()
		link.SetFaults(hubtest.BackplaneFaults{Subscribe: func(ctx context.Context, _ []hub.Topic) error {
			<-ctx.Done()
			return ctx.Err()
		}})
		began := time.Now()
		start(t, hub.Config{Backplane: link, BackplaneTimeout: 3 * time.Second})
		if took := time.Since(began); took > 3*time.Second {
			t.Errorf("started after %v, want 3s at most", took)
		}
	})
}
