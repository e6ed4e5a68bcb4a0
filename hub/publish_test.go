package hub_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"forge.lthn.ai/core/go-ws/hub"
	"forge.lthn.ai/core/go-ws/hub/wire"
)

func TestSendToChannelWithoutSubscribersIsNoError(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := start(t, hub.Config{})
		bystander := w.on("other")
		if r := must(t)(w.SendToChannel(t.Context(), "news", text("x"))); r.ID == "" || !r.Position.IsZero() {
			t.Errorf("result %+v, want an id and no position", r)
		}
		bystander.wantNothing()
		if n := w.ChannelCount(); n != 1 {
			t.Errorf("%d channels, want 1: publishing leaves no trace", n)
		}
	})
}

func TestSendToChannelReachesItsSubscribersAlone(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := start(t, hub.Config{})
		a, b, other, none := w.on("news"), w.on("news", "sport"), w.on("sport"), w.connect()
		at := time.Date(2026, 1, 2, 3, 4, 5, 6, time.FixedZone("", 3600))
		must(t)(w.SendToChannel(t.Context(), "news", hub.Message{Data: map[string]int{"n": 1}, Timestamp: at}))
		for _, p := range []*peer{a, b} {
			f := p.want(hub.TypeEvent, `{"n":1}`)
			if f.Channel != "news" || !f.Timestamp.Equal(at) || f.ID != "" {
				t.Errorf("got %+v, want channel news, timestamp %v and no id", f, at)
			}
		}
		other.wantNothing()
		none.wantNothing()
	})
}

func TestSendToChannelWithAFullBufferClosesThatClientAlone(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := start(t, hub.Config{OutboxMessages: 10})
		slow, quick := w.on("news"), w.on("news")
		slow.Stall()
		for i := range 2000 {
			must(t)(w.SendToChannel(t.Context(), "news", text(fmt.Sprint(i))))
			quick.want(hub.TypeEvent, fmt.Sprintf("%q", fmt.Sprint(i)))
		}
		slow.Unstall()
		slow.wantClosed(wire.CloseSlowClient)
		synctest.Wait()
		s := w.Stats()
		if s.Clients != 1 || s.Disconnected[hub.DisconnectedSlow] != 1 || s.Dropped.Overflow != 1 || s.Dropped.Gone == 0 {
			t.Errorf("Stats %+v, want one slow client gone, and its losses counted", s)
		}
	})
}

func TestBroadcastReachesAllClients(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := start(t, hub.Config{})
		peers := []*peer{w.connect(), w.on("news"), w.on("a", "b")}
		must(t)(w.Broadcast(t.Context(), hub.Message{Type: "alarm", Data: 7}))
		for _, p := range peers {
			if f := p.want("alarm", `7`); f.Channel != "" {
				t.Errorf("channel %q, want none", f.Channel)
			}
		}
	})
}

func TestSendToUserReachesAllClientsOfTheUser(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := start(t, hub.Config{Authenticator: userFromQuery})
		a1, a2, b := w.connectAs(as("ann")), w.connectAs(as("ann")), w.connectAs(as("bob"))
		must(t)(w.SendToUser(t.Context(), "ann", text("hi")))
		a1.want(hub.TypeEvent, `"hi"`)
		a2.want(hub.TypeEvent, `"hi"`)
		b.wantNothing()
		must(t)(w.SendToUser(t.Context(), "nobody", text("hi")))
		if n := w.ChannelCount(); n != 0 {
			t.Errorf("%d channels, want 0: users are none", n)
		}
		if _, err := w.SendToUser(t.Context(), "", text("hi")); !errors.Is(err, hub.ErrInvalidMessage) {
			t.Errorf("to the empty user: %v, want ErrInvalidMessage", err)
		}
	})
}

func TestSendToClientReachesThatClientAlone(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := start(t, hub.Config{})
		peers := map[string]*peer{}
		first := w.connect()
		for c := range w.Clients() {
			peers[c.ID()] = first
		}
		second := w.connect()
		for id, p := range peers {
			must(t)(w.SendToClient(t.Context(), id, text("you")))
			p.want(hub.TypeEvent, `"you"`)
			p.Cut()
			synctest.Wait()
			if _, err := w.SendToClient(t.Context(), id, text("you")); !errors.Is(err, hub.ErrNoClient) {
				t.Errorf("to a client that has gone: %v, want ErrNoClient", err)
			}
		}
		for _, id := range []string{"", "x", ".", "a.b", repeat("a", 200) + ".b"} {
			if _, err := w.SendToClient(t.Context(), id, text("you")); !errors.Is(err, hub.ErrNoClient) {
				t.Errorf("to %q: %v, want ErrNoClient", id, err)
			}
		}
		second.wantNothing()
	})
}

func TestSendProcessOutputAndStatusStreamEndToEnd(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := start(t, hub.Config{})
		must(t)(w.SendProcessOutput(t.Context(), "42", "nobody listens\n"))
		p := w.on("process:42")
		for i := range 3 {
			must(t)(w.SendProcessOutput(t.Context(), "42", fmt.Sprintf("line %d\n", i)))
		}
		must(t)(w.SendProcessStatus(t.Context(), "42", "exited", 3))
		for i := range 3 {
			f := p.want(hub.TypeProcessOutput, fmt.Sprintf(`"line %d\n"`, i))
			if f.ProcessID != "42" || f.Channel != "process:42" {
				t.Errorf("got %+v, want process 42", f)
			}
		}
		if f := p.want(hub.TypeProcessStatus, `{"status":"exited","exitCode":3}`); f.ProcessID != "42" {
			t.Errorf("processId %q, want 42", f.ProcessID)
		}
	})
}

func TestSendEventAndSendErrorReachAllClients(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := start(t, hub.Config{})
		p := w.connect()
		must(t)(w.SendEvent(t.Context(), "deployed", map[string]string{"by": "ann"}))
		p.want(hub.TypeEvent, `{"event":"deployed","data":{"by":"ann"}}`)
		must(t)(w.SendError(t.Context(), "disk full"))
		p.want(hub.TypeError, `{"code":"server_error","message":"disk full"}`)
	})
}

func TestMarshalErrorsComeBackToTheCaller(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := start(t, hub.Config{})
		p := w.on("news")
		bad := map[string]hub.Message{
			"channel as data": {Data: make(chan int)},
			"infinity":        {Data: math.Inf(1)},
			"broken JSON":     {Data: json.RawMessage(`{"a":`)},
			"no UTF-8":        {Data: json.RawMessage("\"\xff\"")},
			"reserved type":   {Type: "presence"},
			"protocol's type": {Type: wire.TypeSubscribed},
			"reply":           {Type: hub.TypeReply},
			"long id":         {ID: repeat("x", 65)},
			"long key":        {Key: repeat("x", 256)},
			"far year":        {Timestamp: time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)},
		}
		for name, m := range bad {
			if _, err := w.SendToChannel(t.Context(), "news", m); !errors.Is(err, hub.ErrInvalidMessage) {
				t.Errorf("%s: %v, want ErrInvalidMessage", name, err)
			}
			if _, err := w.Broadcast(t.Context(), m); !errors.Is(err, hub.ErrInvalidMessage) {
				t.Errorf("%s: %v, want ErrInvalidMessage", name, err)
			}
		}
		for _, channel := range []string{"", "$hub", "\xff", repeat("x", 256)} {
			if _, err := w.SendToChannel(t.Context(), channel, text("x")); !errors.Is(err, hub.ErrInvalidChannel) {
				t.Errorf("channel %q: %v, want ErrInvalidChannel", channel, err)
			}
		}
		if _, err := w.SendToChannel(t.Context(), "news", text(repeat("x", 1<<20))); !errors.Is(err, hub.ErrTooLarge) {
			t.Errorf("over OutboxBytes: %v, want ErrTooLarge", err)
		}
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := w.SendToChannel(ended, "news", text("x")); !errors.Is(err, context.Canceled) {
			t.Errorf("ended context: %v, want Canceled", err)
		}
		p.wantNothing()
	})
}

func TestPublishingTheSameIDAgainIsDeliveredOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := start(t, hub.Config{})
		p := w.on("news", "sport")
		again := hub.Message{ID: "order-1", Data: 1}
		if r := must(t)(w.SendToChannel(t.Context(), "news", again)); r.ID != "order-1" {
			t.Errorf("id %q, want order-1", r.ID)
		}
		must(t)(w.SendToChannel(t.Context(), "news", again))
		must(t)(w.SendToChannel(t.Context(), "sport", again))
		p.want(hub.TypeEvent, `1`)
		if f := p.want(hub.TypeEvent, `1`); f.Channel != "sport" {
			t.Errorf("second on %q, want sport: an id is one channel's", f.Channel)
		}
		time.Sleep(2*time.Minute + time.Second)
		p.wantNothing()
		must(t)(w.SendToChannel(t.Context(), "news", again))
		p.want(hub.TypeEvent, `1`)
	})
}

func TestAllSubscribersSeeOneOrder(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := start(t, hub.Config{})
		const publishers, each = 8, 200
		peers := []*peer{w.on("news"), w.on("news"), w.on("news")}
		var wg sync.WaitGroup
		for p := range publishers {
			wg.Go(func() {
				for i := range each {
					must(t)(w.SendToChannel(t.Context(), "news", hub.Message{Data: [2]int{p, i}}))
				}
			})
		}
		wg.Wait()
		var orders [3][][2]int
		for i, p := range peers {
			last := [publishers]int{}
			for range publishers * each {
				var d [2]int
				if err := json.Unmarshal(p.next().Data, &d); err != nil {
					t.Fatal(err)
				}
				if d[1] != last[d[0]] {
					t.Fatalf("publisher %d: message %d came, want %d", d[0], d[1], last[d[0]])
				}
				last[d[0]]++
				orders[i] = append(orders[i], d)
			}
		}
		for i := range orders[0] {
			if orders[0][i] != orders[1][i] || orders[0][i] != orders[2][i] {
				t.Fatalf("message %d differs: %v %v %v", i, orders[0][i], orders[1][i], orders[2][i])
			}
		}
	})
}

func TestABurstGoesOutInFewBatches(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := start(t, hub.Config{})
		p := w.on("news")
		before := p.Stats().Batches
		p.Stall()
		for range 1000 {
			must(t)(w.SendToChannel(t.Context(), "news", text(repeat("x", 100))))
		}
		p.Unstall()
		for range 1000 {
			p.next()
		}
		synctest.Wait()
		s := w.Stats()
		if s.Delivered != 1001 || s.Queued != 1001 {
			t.Errorf("queued %d, delivered %d, want 1001 each", s.Queued, s.Delivered)
		}
		// What the stalled peer's window held back went in one call; what came
		// before it was full is up to the scheduler.
		if got := p.Stats().Batches - before; got > 100 {
			t.Errorf("1000 messages went out in %d calls, want at most 100", got)
		}
	})
}
