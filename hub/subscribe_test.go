package hub_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"forge.lthn.ai/core/go-ws/hub"
	"forge.lthn.ai/core/go-ws/hub/wire"
)

// client returns the hub's side of a peer that is the only one.
func (w *world) client() *hub.Client {
	w.t.Helper()
	for c := range w.Clients() {
		return c
	}
	w.t.Fatal("nobody is connected")
	return nil
}

func TestSubscribeIsIdempotent(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := start(t, hub.Config{})
		p := w.on("news", "news")
		if err := w.Subscribe(t.Context(), w.client(), "news"); err != nil {
			t.Fatal(err)
		}
		if n := w.ChannelSubscriberCount("news"); n != 1 {
			t.Errorf("%d subscribers, want 1", n)
		}
		must(t)(w.SendToChannel(t.Context(), "news", text("once")))
		p.want(hub.TypeEvent, `"once"`)
		p.wantNothing()
		p.unsubscribe("news")
		p.unsubscribe("news")
		w.Unsubscribe(w.client(), "never")
		if n := w.ChannelCount(); n != 0 {
			t.Errorf("%d channels, want 0", n)
		}
	})
}

func TestLeavingOneChannelKeepsTheOthers(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := start(t, hub.Config{})
		p, other := w.on("a", "b", "c"), w.on("b")
		p.unsubscribe("b")
		must(t)(w.SendToChannel(t.Context(), "b", text("b")))
		must(t)(w.SendToChannel(t.Context(), "c", text("c")))
		p.want(hub.TypeEvent, `"c"`)
		other.want(hub.TypeEvent, `"b"`)
		other.wantNothing()
		for c := range w.Clients() {
			got := c.Subscriptions()
			if !slices.Equal(got, []string{"a", "c"}) && !slices.Equal(got, []string{"b"}) {
				t.Errorf("Subscriptions %v, want a and c, or b", got)
			}
		}
	})
}

func TestAnEmptyChannelLeavesNoTrace(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := start(t, hub.Config{})
		p := w.on("news")
		if got := slices.Collect(w.Channels()); !slices.Equal(got, []string{"news"}) {
			t.Errorf("Channels %v, want news", got)
		}
		p.unsubscribe("news")
		if got := slices.Collect(w.Channels()); len(got) != 0 || w.Stats().Channels != 0 || w.Stats().Subscriptions != 0 {
			t.Errorf("Channels %v, Stats %+v, want none", got, w.Stats())
		}
	})
}

func TestConcurrentSubscribersOfManyChannels(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := start(t, hub.Config{MaxMessagesPerSecond: -1})
		var wg sync.WaitGroup
		for range 20 {
			p := w.connect()
			wg.Go(func() {
				for i := range 50 {
					p.subscribe(fmt.Sprint("ch", i%7))
					must(t)(w.SendToChannel(t.Context(), "elsewhere", text("x")))
					p.unsubscribe(fmt.Sprint("ch", i%7))
				}
				p.Cut()
			})
		}
		for c := range w.Clients() {
			wg.Go(func() {
				for i := range 50 {
					// Its end may come first.
					if err := w.Subscribe(t.Context(), c, fmt.Sprint("side", i%3)); err != nil && !errors.Is(err, hub.ErrNoClient) {
						t.Error(err)
					}
					w.Unsubscribe(c, fmt.Sprint("side", i%3))
				}
			})
		}
		wg.Wait()
		synctest.Wait()
		if s := w.Stats(); s.Clients != 0 || s.Channels != 0 || s.Subscriptions != 0 {
			t.Errorf("Stats %+v, want nothing left", s)
		}
	})
}

func TestSubscribedComesBeforeTheChannelsFirstMessage(t *testing.T) {
	bubble(t, func(t *testing.T) {
		// The publisher does not wait for anybody: nobody is to be too slow for it.
		w := start(t, hub.Config{MaxMessagesPerSecond: -1, OutboxMessages: 1 << 24, OutboxBytes: 1 << 30})
		stop := make(chan struct{})
		var wg sync.WaitGroup
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					must(t)(w.SendToChannel(t.Context(), "news", text("x")))
				}
			}
		})
		for range 50 {
			p := w.connect()
			p.send(`{"type":"subscribe","data":"news","id":"7"}`)
			if f := p.next(); f.Type != wire.TypeSubscribed || f.Channel != "news" || f.ID != "7" || f.Timestamp.IsZero() {
				t.Errorf("first frame %+v, want subscribed", f)
			}
			p.want(hub.TypeEvent, `"x"`)
			p.Cut()
		}
		close(stop)
		wg.Wait()
	})
}

func TestOnSubscribeDecidesWhoMayJoin(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var left []string
		w := start(t, hub.Config{
			OnSubscribe: func(_ context.Context, c *hub.Client, channel string) error {
				switch channel {
				case "secret":
					return &hub.RequestError{Code: "need_badge", Message: "show your badge"}
				case "broken":
					return errors.New("the database password is hunter2")
				}
				return nil
			},
			OnUnsubscribe: func(_ context.Context, _ *hub.Client, channel string) { left = append(left, channel) },
		})
		p := w.connect()
		p.send(`{"type":"subscribe","data":"secret","id":"1"}`)
		if f := p.wantError("need_badge"); f.ID != "1" || f.Channel != "secret" || string(f.Data) != `{"code":"need_badge","message":"show your badge"}` {
			t.Errorf("got %+v %s", f, f.Data)
		}
		p.send(`{"type":"subscribe","data":"broken"}`)
		if f := p.wantError(wire.ErrorForbidden); string(f.Data) != `{"code":"forbidden","message":"not allowed"}` {
			t.Errorf("got %s: what a callback says is not the client's to see", f.Data)
		}
		p.subscribe("open")
		p.unsubscribe("open")
		p.unsubscribe("secret")
		synctest.Wait()
		if !slices.Equal(left, []string{"open"}) || w.ChannelCount() != 0 {
			t.Errorf("OnUnsubscribe saw %v with %d channels left, want open and 0", left, w.ChannelCount())
		}
		if n := w.Stats().Refused[hub.RefusedSubscription]; n != 2 {
			t.Errorf("Refused[subscription] %d, want 2", n)
		}
	})
}

func TestChannelNamesAreAnyUTF8ButEmptyLongOrTheHubsOwn(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := start(t, hub.Config{MaxChannelLength: 20})
		p := w.connect()
		for _, name := range []string{"a b", "news.>", "*", "ünïcödé", "🙂🙂", "\n\t\"\\", "a$", repeat("x", 20), "<script>"} {
			p.subscribe(name)
			must(t)(w.SendToChannel(t.Context(), name, text("x")))
			if f := p.want(hub.TypeEvent, `"x"`); f.Channel != name {
				t.Errorf("channel %q, want %q", f.Channel, name)
			}
		}
		for _, data := range []string{`""`, `"$hub"`, `"` + repeat("x", 21) + `"`} {
			p.send(`{"type":"subscribe","data":` + data + `}`)
			p.wantError(wire.ErrorInvalidChannel)
			p.send(`{"type":"unsubscribe","data":` + data + `}`)
			p.wantError(wire.ErrorInvalidChannel)
		}
		if n := w.Stats().Refused[hub.RefusedChannelName]; n != 6 {
			t.Errorf("Refused[channel_name] %d, want 6", n)
		}
	})
}

func TestSubscriptionsAreLimited(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := start(t, hub.Config{MaxSubscriptions: 3})
		p := w.on("a", "b", "c")
		p.send(`{"type":"subscribe","data":"d"}`)
		p.wantError(wire.ErrorTooManySubscriptions)
		p.subscribe("a")
		if err := w.Subscribe(t.Context(), w.client(), "d"); !errors.Is(err, hub.ErrTooManySubscriptions) {
			t.Errorf("Subscribe: %v, want ErrTooManySubscriptions", err)
		}
		p.unsubscribe("b")
		p.subscribe("d")
		if n := w.Stats().Refused[hub.RefusedMaxSubscriptions]; n != 1 {
			t.Errorf("Refused[max_subscriptions] %d, want 1", n)
		}
	})
}

func TestSubscribeSaysWhatIsWrong(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := start(t, hub.Config{})
		p := w.connect()
		c := w.client()
		if err := w.Subscribe(t.Context(), c, "$x"); !errors.Is(err, hub.ErrInvalidChannel) {
			t.Errorf("got %v, want ErrInvalidChannel", err)
		}
		p.Cut()
		synctest.Wait()
		if err := w.Subscribe(t.Context(), c, "x"); !errors.Is(err, hub.ErrNoClient) {
			t.Errorf("got %v, want ErrNoClient", err)
		}
		if err := c.Send(text("x")); !errors.Is(err, hub.ErrNoClient) {
			t.Errorf("Send: %v, want ErrNoClient", err)
		}
	})
}
