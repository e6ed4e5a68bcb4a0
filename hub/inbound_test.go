package hub_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"forge.lthn.ai/core/go-ws/hub"
	"forge.lthn.ai/core/go-ws/hub/wire"
)

func TestPingIsAnsweredByPongWithATimestamp(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := start(t, hub.Config{})
		p := w.connect()
		p.send(`{"type":"ping","id":"p1"}`)
		if f := p.want(hub.TypePong, ""); !f.Timestamp.Equal(time.Now()) || f.ID != "p1" {
			t.Errorf("got %+v, want id p1 and a timestamp of now", f)
		}
		p.send(`{"type":"pong"}`)
		p.wantNothing()
	})
}

func TestBadFramesAreAnsweredAndTheConnectionSurvives(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := start(t, hub.Config{})
		p, bystander := w.connect(), w.on("news")
		for frame, code := range map[string]wire.ErrorCode{
			`{"type":`:                          wire.ErrorInvalidFrame,
			`rubbish`:                           wire.ErrorInvalidFrame,
			``:                                  wire.ErrorInvalidFrame,
			`[]`:                                wire.ErrorInvalidFrame,
			`null`:                              wire.ErrorInvalidFrame,
			`"subscribe"`:                       wire.ErrorInvalidFrame,
			`{}`:                                wire.ErrorInvalidFrame,
			`{"type":7}`:                        wire.ErrorInvalidFrame,
			`{"type":"ping"} {"type":"ping"}`:   wire.ErrorInvalidFrame,
			`{"type":"ping","id":7}`:            wire.ErrorInvalidFrame,
			`{"type":"subscribe"}`:              wire.ErrorInvalidFrame,
			`{"type":"subscribe","data":null}`:  wire.ErrorInvalidFrame,
			`{"type":"subscribe","data":7}`:     wire.ErrorInvalidFrame,
			`{"type":"subscribe","data":["a"]}`: wire.ErrorInvalidFrame,
			`{"type":"unsubscribe","data":{}}`:  wire.ErrorInvalidFrame,
			`{"type":"nonsense"}`:               wire.ErrorUnknownType,
			`{"type":"presence"}`:               wire.ErrorUnknownType,
			`{"type":"subscribed"}`:             wire.ErrorUnknownType,
		} {
			p.send(frame)
			f := p.next()
			if f.Type != wire.TypeError {
				t.Errorf("%s: answered %+v, want an error", frame, f)
				continue
			}
			if want := `{"code":"` + string(code) + `",`; string(f.Data[:len(want)]) != want {
				t.Errorf("%s: answered %s, want code %s", frame, f.Data, code)
			}
		}
		if err := p.Send(hub.BinaryFrame, []byte{0, 1, 0xff}); err != nil {
			t.Fatal(err)
		}
		p.wantError(wire.ErrorUnsupported)
		p.send(`{"type":"ping"}`)
		p.want(hub.TypePong, "")
		bystander.wantNothing()
	})
}

func TestErrorsGiveTheFramesIDBack(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := start(t, hub.Config{})
		p := w.connect()
		p.send(`{"type":"nonsense","id":"abc"}`)
		if f := p.wantError(wire.ErrorUnknownType); f.ID != "abc" {
			t.Errorf("id %q, want abc", f.ID)
		}
		p.send(`{"type":"ping","id":"` + repeat("x", 65) + `"}`)
		if f := p.wantError(wire.ErrorInvalidFrame); f.ID != "" {
			t.Errorf("id %q, want none of one that is too long", f.ID)
		}
		p.send(`{"type":"subscribe","channel":7,"id":"def"}`)
		if f := p.wantError(wire.ErrorInvalidFrame); f.ID != "def" {
			t.Errorf("id %q, want def", f.ID)
		}
	})
}

func TestTooLargeAMessageClosesThatClientAlone(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := start(t, hub.Config{})
		p, bystander := w.connect(), w.on("news")
		p.send(`{"type":"nonsense","data":"` + repeat("x", 32000) + `"}`)
		p.wantError(wire.ErrorUnknownType)
		p.send(`{"type":"nonsense","data":"` + repeat("x", 10<<20) + `"}`)
		p.wantClosed(wire.CloseTooBig)
		synctest.Wait()
		if s := w.Stats(); s.Refused[hub.RefusedTooBig] != 1 || s.Disconnected[hub.DisconnectedRefused] != 1 {
			t.Errorf("Stats %+v, want one refused for its size", s)
		}
		must(t)(w.SendToChannel(t.Context(), "news", text("x")))
		bystander.want(hub.TypeEvent, `"x"`)
	})
}

func TestOnMessageAnswersRequests(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := start(t, hub.Config{OnMessage: func(ctx context.Context, c *hub.Client, f wire.Frame) (*hub.Message, error) {
			switch f.Type {
			case "add":
				return &hub.Message{Data: 3}, nil
			case "typed":
				return &hub.Message{Type: "sum", Data: string(f.Data) + f.Channel}, nil
			case "refuse":
				return nil, &hub.RequestError{Code: "no_money", Message: "too poor"}
			case "fail":
				return nil, errors.New("internal detail")
			case "unsendable":
				return &hub.Message{Data: make(chan int)}, nil
			}
			return nil, nil
		}})
		p := w.connect()
		p.send(`{"type":"add","data":[1,2],"id":"1"}`)
		if f := p.want(hub.TypeReply, `3`); f.ID != "1" {
			t.Errorf("id %q, want 1", f.ID)
		}
		p.send(`{"type":"typed","data":1,"channel":"x"}`)
		p.want("sum", `"1x"`)
		p.send(`{"type":"refuse","id":"2"}`)
		if f := p.wantError("no_money"); f.ID != "2" {
			t.Errorf("id %q, want 2", f.ID)
		}
		p.send(`{"type":"fail"}`)
		if f := p.wantError(wire.ErrorInternal); string(f.Data) != `{"code":"internal","message":"internal error"}` {
			t.Errorf("got %s: what a callback says is not the client's to see", f.Data)
		}
		p.send(`{"type":"unsendable"}`)
		p.wantError(wire.ErrorInternal)
		p.send(`{"type":"nothing"}`)
		p.wantNothing()
		p.send(`{"type":"nothing","id":"3"}`)
		if f := p.want(hub.TypeReply, ""); f.ID != "3" {
			t.Errorf("id %q, want 3", f.ID)
		}
	})
}

func TestABlockingHandlerHoldsUpItsOwnClientAlone(t *testing.T) {
	bubble(t, func(t *testing.T) {
		release := make(chan struct{})
		w := start(t, hub.Config{
			MaxMessagesPerSecond: -1,
			OnMessage: func(_ context.Context, c *hub.Client, f wire.Frame) (*hub.Message, error) {
				if f.Type == "block" {
					<-release
				}
				return &hub.Message{Data: f.Data}, nil
			},
		})
		p, other := w.on("news"), w.connect()
		p.send(`{"type":"block"}`)
		for i := range 500 {
			p.send(fmt.Sprintf(`{"type":"count","data":%d}`, i))
		}
		synctest.Wait()
		// The hub has stopped reading from this client: what it holds is bounded.
		if n := p.Unread(); n < 400 {
			t.Errorf("the hub has read all but %d of 501 messages while it could handle none", n)
		}
		other.send(`{"type":"count","data":1}`)
		other.want(hub.TypeReply, `1`)
		must(t)(w.SendToChannel(t.Context(), "news", text("still delivered")))
		p.want(hub.TypeEvent, `"still delivered"`)
		close(release)
		p.want(hub.TypeReply, "")
		for i := range 500 {
			p.want(hub.TypeReply, fmt.Sprint(i))
		}
	})
}

func TestTooManyMessagesAreRefusedAndGoingOnClosesTheClient(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := start(t, hub.Config{MaxMessagesPerSecond: 10, MessageBurst: 20, MaxSubscriptions: 5})
		p := w.connect()
		for range 20 {
			p.send(`{"type":"ping"}`)
			p.want(hub.TypePong, "")
		}
		p.send(`{"type":"ping","id":"x"}`)
		p.wantError(wire.ErrorRateLimited)
		time.Sleep(time.Second)
		for range 9 {
			p.send(`{"type":"ping"}`)
			p.want(hub.TypePong, "")
		}
		for range 25 {
			// The last ones may find the connection closed.
			if p.SendText(`{"type":"ping"}`) != nil {
				break
			}
		}
		p.wantClosed(wire.CloseRateLimited)
		if n := w.Stats().Refused[hub.RefusedRate]; n != 22 {
			t.Errorf("Refused[rate] %d, want 22", n)
		}
	})
}

func TestAHundredThousandSubscribesAreContained(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := start(t, hub.Config{})
		p, bystander := w.connect(), w.on("news")
		for i := range 100_000 {
			if p.SendText(fmt.Sprintf(`{"type":"subscribe","data":"c%d"}`, i)) != nil {
				break
			}
			if n := w.ChannelCount(); n > 1001 {
				t.Fatalf("%d channels", n)
			}
		}
		p.wantClosed(wire.CloseRateLimited)
		synctest.Wait()
		if s := w.Stats(); s.Clients != 1 || s.Channels != 1 {
			t.Errorf("%d clients on %d channels, want 1 and 1", s.Clients, s.Channels)
		}
		must(t)(w.SendToChannel(t.Context(), "news", text("x")))
		bystander.want(hub.TypeEvent, `"x"`)
	})
}

func TestAClientMayComeBackToAllItsChannelsAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := start(t, hub.Config{})
		p := w.connect()
		for i := range 1000 {
			p.send(fmt.Sprintf(`{"type":"subscribe","data":"c%d"}`, i))
		}
		for i := range 1000 {
			if f := p.next(); f.Type != wire.TypeSubscribed || f.Channel != fmt.Sprint("c", i) {
				t.Fatalf("got %+v, want subscribed c%d", f, i)
			}
		}
	})
}

func TestAFrameHandledDuringTheClientsEndDelaysOnDisconnect(t *testing.T) {
	bubble(t, func(t *testing.T) {
		release := make(chan struct{})
		var handled, gone bool
		w := start(t, hub.Config{
			OnMessage: func(ctx context.Context, c *hub.Client, f wire.Frame) (*hub.Message, error) {
				<-ctx.Done()
				<-release
				handled = true
				return nil, nil
			},
			OnDisconnect: func(*hub.Client, hub.DisconnectReason) {
				if !handled {
					t.Error("OnDisconnect ran before OnMessage had returned")
				}
				gone = true
			},
		})
		p := w.connect()
		p.send(`{"type":"wait"}`)
		p.send(`{"type":"never handled"}`)
		synctest.Wait()
		p.Cut()
		synctest.Wait()
		if gone {
			t.Error("OnDisconnect ran while a frame was being handled")
		}
		close(release)
		synctest.Wait()
		if !gone {
			t.Error("OnDisconnect has not run")
		}
	})
}
