package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"forge.lthn.ai/core/go-ws/client"
	"forge.lthn.ai/core/go-ws/client/clienttest"
	"forge.lthn.ai/core/go-ws/hub/wire"
)

func say(text string) client.Message { return client.Message{Type: "say", Data: text} }

func TestSendWithoutAConnectionFailsAtOnce(t *testing.T) {
	bubble(t, client.ReconnectConfig{DisableJitter: true}, func(b *bed) {
		if err := b.client.Send(b.Context(), say("early")); !errors.Is(err, client.ErrNotConnected) {
			b.Errorf("before Connect: got %v, want ErrNotConnected", err)
		}
		conn := b.connect()
		if err := b.client.Send(b.Context(), say("hello")); err != nil {
			b.Errorf("Send: got %v, want nil", err)
		}
		if f := next(b.T, conn); f.Type != "say" || string(f.Data) != `"hello"` || f.ID != "" {
			b.Errorf("the server got %+v", f)
		}
		conn.Cut()
		synctest.Wait()
		if err := b.client.Send(b.Context(), say("away")); !errors.Is(err, client.ErrNotConnected) {
			b.Errorf("while away: got %v, want ErrNotConnected", err)
		}
		if _, err := b.client.Request(b.Context(), say("away")); !errors.Is(err, client.ErrNotConnected) {
			b.Errorf("Request while away: got %v, want ErrNotConnected", err)
		}
		if got := time.Since(b.began); got != 0 {
			b.Errorf("it took %v, want no time", got)
		}
		if got := b.accepted().Frames(); len(got) != 0 {
			b.Errorf("sent later: got %v, want nothing", got)
		}
	})
}

func TestMessagesThatCannotBeSentAreRefused(t *testing.T) {
	bubble(t, client.ReconnectConfig{}, func(b *bed) {
		conn := b.connect()
		for _, m := range []client.Message{
			{}, {Type: wire.TypeSubscribe}, {Type: wire.TypeReply}, {Type: "presence"}, {Type: "say", Data: func() {}},
		} {
			if err := b.client.Send(b.Context(), m); err == nil {
				b.Errorf("Send(%v): got nil, want an error", m)
			}
			if err := <-b.client.Post(m); err == nil {
				b.Errorf("Post(%v): got nil, want an error", m)
			}
			if _, err := b.client.Request(b.Context(), m); err == nil {
				b.Errorf("Request(%v): got nil, want an error", m)
			}
		}
		if got := conn.Frames(); len(got) != 0 {
			b.Errorf("the server got %v, want nothing", got)
		}
	})
}

func TestTheQueueKeepsOrderThroughALostConnection(t *testing.T) {
	bubble(t, client.ReconnectConfig{DisableJitter: true, QueueWhileAway: true}, func(b *bed) {
		var outcomes []<-chan error
		post := func(n int) { outcomes = append(outcomes, b.client.Post(say(strconv.Itoa(n)))) }
		for n := range 10 {
			post(n)
		}
		b.subscribe("news") // goes before them
		conn := b.connect()
		first := conn.Frames()
		conn.Cut()
		synctest.Wait()
		for n := range 10 {
			post(10 + n)
		}
		second := b.accepted().Frames()
		for i, outcome := range outcomes {
			if err := <-outcome; err != nil {
				b.Errorf("message %d: got %v, want nil", i, err)
			}
		}
		for part, frames := range [][]wire.Frame{first, second} {
			if len(frames) != 11 || frames[0].Type != wire.TypeSubscribe {
				b.Fatalf("connection %d: got %v, want the subscribe and 10 messages", part, frames)
			}
			for i, f := range frames[1:] {
				if got, want := string(f.Data), strconv.Quote(strconv.Itoa(part*10+i)); got != want {
					b.Errorf("connection %d, message %d: got %s, want %s", part, i, got, want)
				}
			}
		}
	})
}

func TestTheQueueIsBoundedInMessagesAndBytes(t *testing.T) {
	for name, cfg := range map[string]client.ReconnectConfig{
		"messages": {QueueWhileAway: true, QueueMessages: 3},
		"bytes":    {QueueWhileAway: true, QueueBytes: 3 * len(`{"type":"say","data":"x"}`)},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, cfg, func(b *bed) {
				kept := []<-chan error{b.client.Post(say("x")), b.client.Post(say("y")), b.client.Post(say("z"))}
				if err := b.client.Send(b.Context(), say("x")); !errors.Is(err, client.ErrQueueFull) {
					b.Errorf("the fourth: got %v, want ErrQueueFull", err)
				}
				_ = b.client.Close()
				for _, outcome := range kept {
					if err := <-outcome; !errors.Is(err, client.ErrClosed) {
						b.Errorf("after Close: got %v, want ErrClosed", err)
					}
				}
			})
		})
	}
}

func TestAMessageLongerThanTheQueueGoesAlone(t *testing.T) {
	bubble(t, client.ReconnectConfig{QueueBytes: 10}, func(b *bed) {
		conn := b.connect()
		if err := b.client.Send(b.Context(), say("much more than ten bytes")); err != nil {
			b.Errorf("Send: got %v, want nil", err)
		}
		next(b.T, conn)
	})
}

func TestAMessageThatNobodyWaitsForIsWithdrawn(t *testing.T) {
	bubble(t, client.ReconnectConfig{QueueWhileAway: true}, func(b *bed) {
		ctx, cancel := context.WithTimeout(b.Context(), s)
		defer cancel()
		if err := b.client.Send(ctx, say("one")); !errors.Is(err, context.DeadlineExceeded) {
			b.Errorf("Send: got %v, want its deadline exceeded", err)
		}
		if _, err := b.client.Request(ctx, say("two")); !errors.Is(err, context.DeadlineExceeded) {
			b.Errorf("Request: got %v, want its deadline exceeded", err)
		}
		if messages, size, requests := client.Waiting(b.client); messages+size+requests != 0 {
			b.Errorf("waiting: got %d messages, %d bytes, %d requests, want none", messages, size, requests)
		}
		if got := b.connect().Frames(); len(got) != 0 {
			b.Errorf("the server got %v, want nothing", got)
		}
	})
}

func TestRequestsGetTheirOwnAnswers(t *testing.T) {
	answer := clienttest.Config{Answer: func(_ *clienttest.Conn, f wire.Frame) ([]wire.Frame, bool) {
		switch f.Type {
		case "echo":
			return []wire.Frame{{Type: wire.TypeReply, ID: f.ID, Data: f.Data}}, true
		case "no":
			return []wire.Frame{{Type: wire.TypeError, ID: f.ID, Data: json.RawMessage(`{"code":"forbidden","message":"not you"}`)}}, true
		case "nothing":
			return nil, true
		}
		return nil, false
	}}
	bubbleWith(t, answer, client.ReconnectConfig{}, func(b *bed) {
		b.connect()
		done := make(chan struct{})
		for i := range 50 {
			go func() {
				defer func() { done <- struct{}{} }()
				f, err := b.client.Request(b.Context(), client.Message{Type: "echo", Data: i})
				if err != nil || string(f.Data) != strconv.Itoa(i) || f.Type != wire.TypeReply {
					b.Errorf("echo %d: got %s, %v", i, f.Data, err)
				}
			}()
		}
		for range 50 {
			<-done
		}
		if _, err := b.client.Request(b.Context(), client.Message{Type: "no"}); err == nil {
			b.Error("a refused request: got nil, want an error")
		} else if e, ok := errors.AsType[*client.RequestError](err); !ok || e.Code != wire.ErrorForbidden || e.Message != "not you" {
			b.Errorf("a refused request: got %v, want forbidden", err)
		}
		if f, err := b.client.Request(b.Context(), client.Message{Type: wire.TypePing}); err != nil || f.Type != wire.TypePong {
			b.Errorf("a ping: got %v, %v, want a pong", f.Type, err)
		}
		ctx, cancel := context.WithTimeout(b.Context(), s)
		defer cancel()
		if _, err := b.client.Request(ctx, client.Message{Type: "nothing"}); !errors.Is(err, context.DeadlineExceeded) {
			b.Errorf("without an answer: got %v, want its deadline exceeded", err)
		}
		if _, _, requests := client.Waiting(b.client); requests != 0 {
			b.Errorf("%d requests wait, want none", requests)
		}
	})
}

func TestAnAnswerMayHaveATypeOfTheApplications(t *testing.T) {
	answer := clienttest.Config{Answer: func(_ *clienttest.Conn, f wire.Frame) ([]wire.Frame, bool) {
		return []wire.Frame{
			{Type: "accepted", Channel: "news", ID: f.ID}, // a channel's message with an id of its own
			{Type: "accepted", ID: f.ID, Data: f.Data},
			{Type: "accepted", ID: f.ID}, // nobody waits for a second one
		}, true
	}}
	x := &box{}
	bubbleWith(t, answer, client.ReconnectConfig{OnMessage: x.handle}, func(b *bed) {
		b.connect()
		ctx, cancel := context.WithTimeout(b.Context(), s)
		defer cancel()
		f, err := b.client.Request(ctx, say("hello"))
		if err != nil || f.Type != "accepted" || f.Channel != "" || string(f.Data) != `"hello"` {
			b.Errorf("Request: got %+v, %v, want the answer", f, err)
		}
		wantWords(b.T, x, "accepted", "accepted")
	})
}

func TestARequestEndsWithItsConnection(t *testing.T) {
	silent := clienttest.Config{Answer: func(*clienttest.Conn, wire.Frame) ([]wire.Frame, bool) { return nil, true }}
	bubbleWith(t, silent, client.ReconnectConfig{DisableJitter: true, QueueWhileAway: true}, func(b *bed) {
		conn := b.connect()
		ended := make(chan error, 1)
		go func() {
			_, err := b.client.Request(b.Context(), say("hello"))
			ended <- err
		}()
		synctest.Wait()
		conn.Cut()
		if err := <-ended; !errors.Is(err, client.ErrConnectionLost) {
			b.Errorf("Request: got %v, want ErrConnectionLost", err)
		}
		if got := b.accepted().Frames(); len(got) != 0 {
			b.Errorf("sent again: got %v, want nothing", got)
		}
	})
}

// TestWhatIsBeingWrittenWhenTheConnectionIsLostIsUnknown fills the connection of a
// server that does not read.
func TestWhatIsBeingWrittenWhenTheConnectionIsLostIsUnknown(t *testing.T) {
	cfg := client.ReconnectConfig{DisableJitter: true, QueueWhileAway: true, WriteTimeout: 5 * s, QueueBytes: 8 << 20}
	bubble(t, cfg, func(b *bed) {
		conn := b.connect()
		conn.Freeze()
		big := make([]byte, 300<<10)
		for i := range big {
			big[i] = 'x'
		}
		var outcomes []<-chan error
		for range 10 { // 3 MB, of which the pipe holds one
			outcomes = append(outcomes, b.client.Post(say(string(big))))
		}
		again := b.accepted()
		var lost, sent []int
		for i, outcome := range outcomes {
			switch err := <-outcome; {
			case err == nil:
				sent = append(sent, i)
			case errors.Is(err, client.ErrConnectionLost):
				lost = append(lost, i)
			default:
				b.Errorf("message %d: got %v", i, err)
			}
		}
		if want := []int{3}; !slices.Equal(lost, want) {
			b.Errorf("unknown: got %v, want %v", lost, want)
		}
		if got := len(again.Frames()); len(sent) != 9 || got != 6 {
			b.Errorf("sent: got %v, and %d on the second connection, want all others and 6", sent, got)
		}
		if got, want := time.Since(b.began), 6*s; got > want+s {
			b.Errorf("it took %v, want WriteTimeout and the backoff", got)
		}
	})
}

func TestSubscriptionsGoBeforeMessagesThatAreSentAfterThem(t *testing.T) {
	bubble(t, client.ReconnectConfig{}, func(b *bed) {
		conn := b.connect()
		for i := range 20 {
			channel := strconv.Itoa(i)
			b.subscribe(channel)
			if err := b.client.Send(b.Context(), client.Message{Type: "say", Channel: channel}); err != nil {
				b.Fatal(err)
			}
			if f := next(b.T, conn); f.Type != wire.TypeSubscribe || string(f.Data) != strconv.Quote(channel) {
				b.Errorf("got %+v, want the subscribe first", f)
			}
			if f := next(b.T, conn); f.Type != "say" || f.Channel != channel {
				b.Errorf("got %+v, want the message", f)
			}
		}
	})
}
