package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"forge.lthn.ai/core/go-ws/client"
	"forge.lthn.ai/core/go-ws/client/clienttest"
	"forge.lthn.ai/core/go-ws/hub/wire"
)

func (b *bed) subscribe(channel string) *box {
	b.Helper()
	x := &box{}
	if err := b.client.Subscribe(channel, x.handle); err != nil {
		b.Fatalf("Subscribe(%q): %v", channel, err)
	}
	return x
}

func TestSubscriptionsAreSentAtEachConnect(t *testing.T) {
	bubble(t, client.ReconnectConfig{DisableJitter: true}, func(b *bed) {
		news := b.subscribe("news")
		conn := b.connect()
		rooms := b.subscribe("rooms")
		wantWords(b.T, news, "subscribed")
		wantWords(b.T, rooms, "subscribed")
		b.publish("news", "one")
		b.publish("rooms", "two")
		conn.Cut()
		synctest.Wait()
		late := b.subscribe("late") // while away
		again := b.accepted()
		if got, want := again.Channels(), []string{"late", "news", "rooms"}; !slices.Equal(got, want) {
			b.Errorf("channels: got %v, want %v", got, want)
		}
		b.publish("news", "three")
		wantWords(b.T, news, "one", "subscribed", "three")
		wantWords(b.T, rooms, "two", "subscribed")
		wantWords(b.T, late, "subscribed")
	})
}

func TestUnsubscribedChannelsAreLeftAndNotComeBackTo(t *testing.T) {
	bubble(t, client.ReconnectConfig{DisableJitter: true}, func(b *bed) {
		news, rooms := b.subscribe("news"), b.subscribe("rooms")
		conn := b.connect()
		b.client.Unsubscribe("news")
		b.client.Unsubscribe("news")
		b.client.Unsubscribe("nowhere")
		synctest.Wait()
		if got, want := conn.Channels(), []string{"rooms"}; !slices.Equal(got, want) {
			b.Errorf("channels: got %v, want %v", got, want)
		}
		conn.Cut()
		synctest.Wait()
		b.client.Unsubscribe("rooms")
		again := b.accepted()
		if got := again.Frames(); len(got) != 0 {
			b.Errorf("sent after reconnect: got %v, want nothing", got)
		}
		if got := client.ChannelStates(b.client); got != 0 {
			b.Errorf("the client remembers %d channels, want none", got)
		}
		wantWords(b.T, news, "subscribed")
		wantWords(b.T, rooms, "subscribed")
	})
}

func TestAChannelHasOneHandler(t *testing.T) {
	bubble(t, client.ReconnectConfig{}, func(b *bed) {
		first := b.subscribe("news")
		if err := b.client.Subscribe("news", first.handle); !errors.Is(err, client.ErrSubscribed) {
			b.Errorf("the second Subscribe: got %v, want ErrSubscribed", err)
		}
		for _, name := range []string{"", "$all", "\xff"} {
			if err := b.client.Subscribe(name, first.handle); err == nil {
				b.Errorf("Subscribe(%q): got nil, want an error", name)
			}
		}
		if err := b.client.Subscribe("other", nil); err == nil {
			b.Error("Subscribe without a handler: got nil, want an error")
		}
		b.client.Unsubscribe("news")
		second := b.subscribe("news")
		b.connect()
		b.publish("news", "hello")
		wantWords(b.T, first)
		wantWords(b.T, second, "subscribed", "hello")
	})
}

// TestWhoSubscribesAnewHearsNothingOld leaves a channel and joins it again while
// messages of the first time are on their way.
func TestWhoSubscribesAnewHearsNothingOld(t *testing.T) {
	bubble(t, client.ReconnectConfig{}, func(b *bed) {
		first := b.subscribe("news")
		conn := b.connect()
		wantWords(b.T, first, "subscribed")
		conn.Freeze()
		b.publish("news", "old")
		b.client.Unsubscribe("news")
		second := b.subscribe("news")
		synctest.Wait()
		conn.Thaw()
		synctest.Wait()
		b.publish("news", "new")
		wantWords(b.T, first)
		wantWords(b.T, second, "subscribed", "new")
		types := []wire.Type{}
		for _, f := range conn.Frames() {
			types = append(types, f.Type)
		}
		if want := []wire.Type{"subscribe", "unsubscribe", "subscribe"}; !slices.Equal(types, want) {
			b.Errorf("sent: got %v, want %v", types, want)
		}
	})
}

func TestARefusedSubscriptionReachesItsHandlerAsAnError(t *testing.T) {
	refuse := clienttest.Config{Answer: func(_ *clienttest.Conn, f wire.Frame) ([]wire.Frame, bool) {
		if string(f.Data) != `"secret"` {
			return nil, false
		}
		return []wire.Frame{{Type: wire.TypeError, Channel: "secret", ID: f.ID, Data: json.RawMessage(`{"code":"forbidden","message":"members only"}`)}}, true
	}}
	bubbleWith(t, refuse, client.ReconnectConfig{DisableJitter: true}, func(b *bed) {
		secret, open := &box{}, b.subscribe("open")
		var refusal *client.RequestError
		if err := b.client.Subscribe("secret", func(ctx context.Context, d client.Delivery) {
			refusal, _ = errors.AsType[*client.RequestError](d.Err)
			secret.handle(ctx, d)
		}); err != nil {
			b.Fatal(err)
		}
		conn := b.connect()
		wantWords(b.T, open, "subscribed")
		wantWords(b.T, secret, "error: the hub answered with the error forbidden: members only")
		if refusal == nil || refusal.Code != wire.ErrorForbidden {
			b.Errorf("got %v, want a RequestError with the code forbidden", refusal)
		}
		time.Sleep(time.Hour) // not asked again on this connection
		wantWords(b.T, secret)
		conn.Cut()
		b.accepted()
		wantWords(b.T, secret, "error: the hub answered with the error forbidden: members only")
	})
}

func TestASubscriptionThatFailsForNowIsAskedForAgain(t *testing.T) {
	n := 0
	for _, code := range []string{"unavailable", "internal", "rate_limited"} {
		n = 0
		away := clienttest.Config{Answer: func(_ *clienttest.Conn, f wire.Frame) ([]wire.Frame, bool) {
			if n++; n > 3 {
				return nil, false
			}
			data := json.RawMessage(`{"code":"` + code + `","message":"not now"}`)
			return []wire.Frame{{Type: wire.TypeError, Channel: "news", ID: f.ID, Data: data}}, true
		}}
		bubbleWith(t, away, client.ReconnectConfig{DisableJitter: true}, func(b *bed) {
			news := b.subscribe("news")
			b.connect()
			time.Sleep(7*s - ms)
			refused := "error: the hub answered with the error " + code + ": not now"
			wantWords(b.T, news, refused, refused, refused)
			time.Sleep(ms)
			wantWords(b.T, news, "subscribed")
		})
	}
}

// TestFramesThatTheHubDidNotLookAtAreSentAgain has the hub refuse frames without
// saying which, as it does for too many.
func TestFramesThatTheHubDidNotLookAtAreSentAgain(t *testing.T) {
	limited := 0
	limit := clienttest.Config{Answer: func(_ *clienttest.Conn, f wire.Frame) ([]wire.Frame, bool) {
		if f.Type == wire.TypeSubscribe && limited < 5 || f.Type == wire.TypeUnsubscribe && limited < 6 {
			limited++
			return []wire.Frame{{Type: wire.TypeError, Data: json.RawMessage(`{"code":"rate_limited","message":"slow down"}`)}}, true
		}
		return nil, false
	}}
	bubbleWith(t, limit, client.ReconnectConfig{DisableJitter: true}, func(b *bed) {
		var boxes []*box
		for i := range 8 {
			boxes = append(boxes, b.subscribe("c"+strconv.Itoa(i)))
		}
		conn := b.connect()
		time.Sleep(s)
		for i, x := range boxes {
			if got := x.take(); !slices.Equal(got, []string{"subscribed"}) {
				b.Errorf("c%d: got %v, want one subscribed", i, got)
			}
		}
		b.client.Unsubscribe("c3")
		time.Sleep(s)
		synctest.Wait()
		if got := conn.Channels(); len(got) != 7 || slices.Contains(got, "c3") {
			b.Errorf("channels: got %v, want all but c3", got)
		}
		if got := client.ChannelStates(b.client); got != 7 {
			b.Errorf("the client remembers %d channels, want 7", got)
		}
	})
}

func TestLocalIsTold(t *testing.T) {
	local := clienttest.Config{Answer: func(_ *clienttest.Conn, f wire.Frame) ([]wire.Frame, bool) {
		return []wire.Frame{{Type: wire.TypeSubscribed, Channel: "news", ID: f.ID, Data: json.RawMessage(`{"local":true,"later":1}`)}}, true
	}}
	bubbleWith(t, local, client.ReconnectConfig{}, func(b *bed) {
		news := b.subscribe("news")
		conn := b.connect()
		wantWords(b.T, news, "subscribed local")
		// A hub of a later version may say by itself how things stand.
		if err := conn.Send(b.Context(), wire.Frame{Type: wire.TypeSubscribed, Channel: "news"}); err != nil {
			b.Fatal(err)
		}
		wantWords(b.T, news, "subscribed")
	})
}

func TestAThousandSubscriptionsAreOneBurst(t *testing.T) {
	bubble(t, client.ReconnectConfig{}, func(b *bed) {
		var boxes []*box
		for i := range 1000 {
			boxes = append(boxes, b.subscribe(fmt.Sprintf("channel-%03d", i)))
		}
		conn := b.connect()
		if got, want := len(conn.Channels()), 1000; got != want {
			b.Errorf("channels: got %d, want %d", got, want)
		}
		// 1,000 frames of some 70 bytes each, and at most 64 KiB a write.
		if got := b.server.Writes(); got > 4 {
			b.Errorf("writes: got %d, want 4 at most", got)
		}
		for _, x := range boxes {
			wantWords(b.T, x, "subscribed")
		}
	})
}

func TestASlowHandlerHoldsUpItselfAlone(t *testing.T) {
	bubble(t, client.ReconnectConfig{PingInterval: 20 * s, PongTimeout: 10 * s}, func(b *bed) {
		release := make(chan struct{})
		slow, quick := &box{}, b.subscribe("quick")
		if err := b.client.Subscribe("slow", func(ctx context.Context, d client.Delivery) {
			<-release
			slow.handle(ctx, d)
		}); err != nil {
			b.Fatal(err)
		}
		b.connect()
		for i := range 100 {
			b.publish("slow", strconv.Itoa(i))
			b.publish("quick", strconv.Itoa(i))
		}
		time.Sleep(time.Hour) // the heartbeat goes on
		if got := quick.take(); len(got) != 101 {
			b.Errorf("quick: got %d deliveries, want 101", len(got))
		}
		if got := len(b.server.Attempts()); got != 1 {
			b.Errorf("attempts: got %d, want 1", got)
		}
		close(release)
		got := slow.take()
		if len(got) != 101 || got[0] != "subscribed" {
			b.Fatalf("slow: got %d deliveries, want 101, subscribed first", len(got))
		}
		for i, w := range got[1:] {
			if w != strconv.Itoa(i) {
				b.Fatalf("slow: got %q at %d, want them in order", w, i)
			}
		}
	})
}

func TestAHandlersBacklogIsBoundedAndItIsTold(t *testing.T) {
	for name, cfg := range map[string]client.ReconnectConfig{
		"messages": {HandlerBacklog: 10},
		// Each frame has 90 bytes and a little, of which the number is one.
		"bytes": {HandlerBacklogBytes: 1000},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, cfg, func(b *bed) {
				release := make(chan struct{})
				x := &box{}
				var dropped *client.DroppedError
				if err := b.client.Subscribe("news", func(ctx context.Context, d client.Delivery) {
					<-release
					if e, ok := errors.AsType[*client.DroppedError](d.Err); ok {
						dropped = e
						return
					}
					x.handle(ctx, d)
				}); err != nil {
					b.Fatal(err)
				}
				b.connect()
				const all = 100
				for i := range all {
					b.publish("news", strconv.Itoa(i))
				}
				close(release)
				got := x.take()
				if dropped == nil || dropped.Count+len(got) != all+1 || len(got) < 2 || len(got) > 20 {
					b.Fatalf("got %d deliveries and %v, want a few, and as many left out as are missing", len(got), dropped)
				}
				if got[0] != "subscribed" {
					b.Errorf("first: got %q, want subscribed", got[0])
				}
				for i, w := range got[1:] {
					if want := strconv.Itoa(all - len(got) + 1 + i); w != want {
						b.Errorf("got %q, want %q: the newest are kept, in order", w, want)
					}
				}
			})
		})
	}
}

func TestOverflowReconnectComesBack(t *testing.T) {
	bubble(t, client.ReconnectConfig{DisableJitter: true, HandlerBacklog: 10, Overflow: client.OverflowReconnect}, func(b *bed) {
		release := make(chan struct{})
		x := &box{}
		if err := b.client.Subscribe("news", func(ctx context.Context, d client.Delivery) {
			<-release
			x.handle(ctx, d)
		}); err != nil {
			b.Fatal(err)
		}
		b.connect()
		for i := range 10 {
			b.publish("news", strconv.Itoa(i))
		}
		// The client may have given the connection up before this has returned.
		_ = b.server.Publish(b.Context(), event("news", "one too many"))
		b.accepted()
		close(release)
		if err := b.heard.errors()[0]; !errors.Is(err, client.ErrSlowHandler) {
			b.Errorf("OnDisconnect: got %v, want ErrSlowHandler", err)
		}
		wantWords(b.T, x, "subscribed", "0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "subscribed")
	})
}

// TestNoticesForAHandlerThatHangsAreBounded lets many connections come and go
// meanwhile.
func TestNoticesForAHandlerThatHangsAreBounded(t *testing.T) {
	bubble(t, client.ReconnectConfig{DisableJitter: true}, func(b *bed) {
		release := make(chan struct{})
		x := &box{}
		if err := b.client.Subscribe("news", func(ctx context.Context, d client.Delivery) {
			<-release
			x.handle(ctx, d)
		}); err != nil {
			b.Fatal(err)
		}
		conn := b.connect()
		for range 100 {
			conn.Cut()
			conn = b.accepted()
		}
		close(release)
		if got := x.take(); len(got) != 17 { // one was being handled
			b.Errorf("got %d deliveries, want 17", len(got))
		}
	})
}

func TestWhatIsNoSubscriptionsGoesToOnMessage(t *testing.T) {
	x := &box{}
	bubble(t, client.ReconnectConfig{OnMessage: x.handle}, func(b *bed) {
		news := b.subscribe("news")
		conn := b.connect()
		for _, f := range []wire.Frame{
			event("", "to all"), event("news", "to the channel"), event("other", "put there by the server"),
			{Type: "of-a-later-version"},
			{Type: wire.TypeReply, ID: "77"}, {Type: wire.TypePong}, {Type: wire.TypeUnsubscribed, Channel: "x"},
			{Type: wire.TypeSubscribed, Channel: "y"},
			{Type: wire.TypeError, Channel: "news", Data: json.RawMessage(`"published as an error"`)},
		} {
			if err := conn.Send(b.Context(), f); err != nil {
				b.Fatal(err)
			}
		}
		wantWords(b.T, x, "to all", "put there by the server", "of-a-later-version")
		wantWords(b.T, news, "subscribed", "to the channel", "error")
		if errs := b.heard.errors(); len(errs) != 0 {
			b.Errorf("OnError: got %v, want nothing", errs)
		}
	})
}

func TestReservedTypesAreIgnored(t *testing.T) {
	x := &box{}
	bubble(t, client.ReconnectConfig{OnMessage: x.handle}, func(b *bed) {
		news := b.subscribe("news")
		conn := b.connect()
		for _, reserved := range []wire.Type{"publish", "presence", "refresh", "welcome", "cancel"} {
			for _, channel := range []string{"", "news", "other"} {
				if err := conn.Send(b.Context(), wire.Frame{Type: reserved, Channel: channel}); err != nil {
					b.Fatal(err)
				}
			}
		}
		wantWords(b.T, x)
		wantWords(b.T, news, "subscribed")
		if errs := b.heard.errors(); len(errs) != 0 {
			b.Errorf("OnError: got %v, want nothing", errs)
		}
	})
}

func TestErrorsThatAnswerNothingGoToOnError(t *testing.T) {
	bubble(t, client.ReconnectConfig{}, func(b *bed) {
		conn := b.connect()
		for _, text := range []string{
			`{"type":"error","data":{"code":"server_error","message":"maintenance at noon"}}`,
			`{"type":"error","id":"4711","data":"?"}`,
			`{"type":"event","channel":7}`, `[]`, `{}`, `nothing`,
		} {
			if err := conn.SendText(b.Context(), text); err != nil {
				b.Fatal(err)
			}
		}
		synctest.Wait()
		errs := b.heard.errors()
		if len(errs) != 6 {
			b.Fatalf("OnError: got %d errors, want 6: %v", len(errs), errs)
		}
		if e, ok := errors.AsType[*client.RequestError](errs[0]); !ok || e.Code != wire.ErrorServer || e.Message != "maintenance at noon" {
			b.Errorf("OnError: got %v, want the server's", errs[0])
		}
		for _, err := range errs[2:] {
			if !strings.Contains(err.Error(), "can't be read") {
				b.Errorf("OnError: got %v, want a frame that can't be read", err)
			}
		}
		if got, want := b.client.State(), client.StateConnected; got != want {
			b.Errorf("state: got %v, want %v", got, want)
		}
	})
}
