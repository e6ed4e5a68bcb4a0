package client_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"forge.lthn.ai/core/go-ws/client"
	"forge.lthn.ai/core/go-ws/hub/wire"
)

func TestCallbacksTellTheLifeInOrder(t *testing.T) {
	bubble(t, client.ReconnectConfig{DisableJitter: true}, func(b *bed) {
		if got, want := b.client.State(), client.StateDisconnected; got != want {
			b.Errorf("state: got %v, want %v", got, want)
		}
		conn := b.connect()
		b.wantHeard("connecting", "connected", "connect")
		b.server.Fail(errors.New("away"))
		conn.Cut()
		time.Sleep(3*s + ms) // two attempts fail, one after 1 s, one after 2 s more
		b.wantHeard("disconnected", "lost", "connecting", "disconnected", "error", "connecting", "disconnected", "error")
		b.server.Admit()
		b.accepted()
		b.wantHeard("connecting", "connected", "connect", "reconnect 3")
		_ = b.client.Close()
		b.wantHeard("disconnected", "lost")
		errs := b.heard.errors()
		if err := errs[len(errs)-1]; !errors.Is(err, client.ErrClosed) {
			b.Errorf("OnDisconnect: got %v, want ErrClosed", err)
		}
	})
}

func TestConnectReturnsTheFinalErrorWhereThereIsNoConnection(t *testing.T) {
	bubble(t, client.ReconnectConfig{}, func(b *bed) {
		b.server.Refuse(http.StatusForbidden, nil)
		err := b.client.Connect(b.Context())
		if refusal, ok := errors.AsType[*client.StatusError](err); !ok || refusal.Status != 403 || !errors.Is(err, client.ErrRefused) {
			b.Errorf("Connect: got %v, want 403 and ErrRefused", err)
		}
		if err := b.client.Send(b.Context(), client.Message{Type: "say"}); !errors.Is(err, client.ErrClosed) || !errors.Is(err, client.ErrRefused) {
			b.Errorf("Send: got %v, want ErrClosed and ErrRefused", err)
		}
		if err := b.client.Subscribe("news", (&box{}).handle); !errors.Is(err, client.ErrClosed) {
			b.Errorf("Subscribe: got %v, want ErrClosed", err)
		}
		b.wantHeard("connecting", "disconnected", "error")
	})
}

func TestConnectThatIsGivenUpLeavesNothing(t *testing.T) {
	bubble(t, client.ReconnectConfig{}, func(b *bed) {
		b.server.Fail(errors.New("away"))
		ctx, cancel := context.WithTimeout(b.Context(), time.Minute)
		defer cancel()
		if err := b.client.Connect(ctx); !errors.Is(err, context.DeadlineExceeded) {
			b.Errorf("Connect: got %v, want its deadline exceeded", err)
		}
		if got, want := time.Since(b.began), time.Minute; got != want {
			b.Errorf("Connect took %v, want %v", got, want)
		}
		if err := b.client.Wait(b.Context()); !errors.Is(err, client.ErrClosed) {
			b.Errorf("Wait: got %v, want ErrClosed", err)
		}
	})
}

func TestConnectsContextBoundsTheFirstConnectionAlone(t *testing.T) {
	bubble(t, client.ReconnectConfig{DisableJitter: true}, func(b *bed) {
		ctx, cancel := context.WithCancel(b.Context())
		if err := b.client.Connect(ctx); err != nil {
			b.Fatal(err)
		}
		cancel()
		time.Sleep(time.Minute)
		b.accepted().Cut()
		b.accepted()
	})
}

func TestRunReturnsItsContextsError(t *testing.T) {
	bubble(t, client.ReconnectConfig{}, func(b *bed) {
		ctx, cancel := context.WithCancel(b.Context())
		ran := make(chan error, 1)
		go func() { ran <- b.client.Run(ctx) }()
		conn := b.accepted()
		cancel()
		if err := <-ran; !errors.Is(err, context.Canceled) {
			b.Errorf("Run: got %v, want its context's error", err)
		}
		if code, _, err := conn.Gone(b.Context()); err != nil || code != wire.CloseNormal {
			b.Errorf("the server saw %d, %v, want 1000", code, err)
		}
		if err := b.client.Run(b.Context()); err == nil {
			b.Error("a second Run: got nil, want an error")
		}
	})
}

func TestCloseSaysGoodbyeAndStopsAtOnceWhereNobodyAnswers(t *testing.T) {
	bubble(t, client.ReconnectConfig{}, func(b *bed) {
		conn := b.connect()
		if err := b.client.Close(); err != nil {
			b.Errorf("Close: got %v, want nil", err)
		}
		if code, _, err := conn.Gone(b.Context()); err != nil || code != wire.CloseNormal {
			b.Errorf("the server saw %d, %v, want 1000", code, err)
		}
		if got := time.Since(b.began); got != 0 {
			b.Errorf("Close took %v, want no time", got)
		}
	})
	bubble(t, client.ReconnectConfig{}, func(b *bed) {
		b.connect().Freeze()
		_ = b.client.Close()
		if got, want := time.Since(b.began), 2*s; got != want {
			b.Errorf("Close took %v, want %v", got, want)
		}
	})
}

func TestCloseMayComeBeforeTheStartAndTwice(t *testing.T) {
	bubble(t, client.ReconnectConfig{}, func(b *bed) {
		_ = b.client.Close()
		_ = b.client.Close()
		for name, err := range map[string]error{
			"Run": b.client.Run(b.Context()), "Connect": b.client.Connect(b.Context()), "Wait": b.client.Wait(b.Context()),
			"Send": b.client.Send(b.Context(), client.Message{Type: "say"}),
		} {
			if !errors.Is(err, client.ErrClosed) {
				b.Errorf("%s: got %v, want ErrClosed", name, err)
			}
		}
	})
}

// TestCloseFromInsideWorks calls Close from each place where the application's
// code runs.
func TestCloseFromInsideWorks(t *testing.T) {
	var c *client.ReconnectingClient
	closed := 0
	end := func() { _ = c.Close(); closed++ }
	for name, cfg := range map[string]client.ReconnectConfig{
		"OnConnect":     {OnConnect: end},
		"OnDisconnect":  {OnDisconnect: func(error) { end() }},
		"OnReconnect":   {OnReconnect: func(int) { end() }},
		"OnMessage":     {OnMessage: func(context.Context, client.Delivery) { end() }},
		"OnError":       {OnError: func(error) { end() }},
		"Credentials":   {Credentials: func(context.Context, error) (client.Credentials, error) { end(); return client.Credentials{}, nil }},
		"OnStateChange": {OnStateChange: func(client.ConnectionState) { end() }},
		"a handler":     {},
	} {
		t.Run(name, func(t *testing.T) {
			closed = 0
			bubble(t, cfg, func(b *bed) {
				c = b.client
				if name == "a handler" {
					if err := c.Subscribe("news", func(context.Context, client.Delivery) { end() }); err != nil {
						b.Fatal(err)
					}
				}
				ran := b.start()
				if name != "Credentials" && name != "OnStateChange" {
					conn := b.accepted()
					switch name {
					case "OnMessage":
						_ = b.server.Publish(b.Context(), event("", "hello"))
					case "OnError":
						_ = conn.SendText(b.Context(), "no frame")
					case "OnDisconnect", "OnReconnect":
						conn.Cut()
					}
				}
				if err := <-ran; !errors.Is(err, client.ErrClosed) {
					b.Errorf("Run: got %v, want ErrClosed", err)
				}
				if closed == 0 {
					b.Error("Close was not called, or has not returned")
				}
			})
		})
	}
}

func TestNoHandlerIsCalledAfterClose(t *testing.T) {
	bubble(t, client.ReconnectConfig{}, func(b *bed) {
		release := make(chan struct{})
		calls := 0
		var ended error
		if err := b.client.Subscribe("news", func(ctx context.Context, _ client.Delivery) {
			calls++
			<-release
			ended = ctx.Err()
		}); err != nil {
			b.Fatal(err)
		}
		b.connect()
		b.publish("news", "one")
		b.publish("news", "two")
		_ = b.client.Close() // does not wait for the handler
		close(release)
		_ = b.client.Wait(b.Context()) // does
		if calls != 1 || !errors.Is(ended, context.Canceled) {
			b.Errorf("got %d calls and the context's %v, want 1 and canceled", calls, ended)
		}
	})
}

func TestWhatCameBeforeARefusalIsHandledBeforeRunReturns(t *testing.T) {
	bubble(t, client.ReconnectConfig{}, func(b *bed) {
		got := []string{}
		if err := b.client.Subscribe("news", func(ctx context.Context, d client.Delivery) {
			time.Sleep(s)
			got = append(got, word(d))
			if ctx.Err() != nil {
				b.Error("the handler's context has ended too early")
			}
		}); err != nil {
			b.Fatal(err)
		}
		conn := b.connect()
		b.publish("news", "one")
		b.publish("news", "two")
		_ = conn.Close(wire.ClosePolicy, "no")
		if err := b.client.Wait(b.Context()); !errors.Is(err, client.ErrRefused) {
			b.Errorf("Wait: got %v, want ErrRefused", err)
		}
		if strings.Join(got, " ") != "subscribed one two" {
			b.Errorf("handled: got %v, want all", got)
		}
	})
}

// TestNoHandlerIsCalledAfterCloseFollowsARefusal closes while what came before a
// refusal is being handled, often: whoever drops the rest must not be late.
func TestNoHandlerIsCalledAfterCloseFollowsARefusal(t *testing.T) {
	for range 100 {
		release := make(chan struct{})
		calls := 0
		cfg := client.ReconnectConfig{OnMessage: func(context.Context, client.Delivery) {
			calls++
			<-release
		}}
		bubble(t, cfg, func(b *bed) {
			release = make(chan struct{})
			conn := b.connect()
			b.publish("", "one")
			b.publish("", "two")
			_ = conn.Close(wire.ClosePolicy, "no")
			b.wantHeard("connecting", "connected", "connect", "disconnected", "lost", "error")
			_ = b.client.Close() // does not wait for the handler
			close(release)
			_ = b.client.Wait(b.Context())
			if calls != 1 {
				b.Fatalf("got %d calls, want 1", calls)
			}
		})
	}
}

func TestABlockedCallbackHoldsUpTheNextConnectionInTheEnd(t *testing.T) {
	release := make(chan struct{})
	bubble(t, client.ReconnectConfig{DisableJitter: true, OnConnect: func() {
		<-release
	}}, func(b *bed) {
		release = make(chan struct{})
		b.server.Refuse(http.StatusServiceUnavailable, nil)
		b.start()
		b.server.Admit()
		b.accepted().Cut()
		b.server.Fail(errors.New("away"))
		time.Sleep(24 * time.Hour)
		// Three things are told of each attempt that fails.
		if got := len(b.server.Attempts()); got > 60 {
			b.Errorf("attempts: got %d, want them to stop", got)
		}
		close(release)
		before := len(b.server.Attempts())
		time.Sleep(time.Hour)
		synctest.Wait()
		if got := len(b.server.Attempts()); got == before {
			b.Error("no attempts any more")
		}
	})
}

func TestErrorsPastTheBoundAreLeftOutAndCounted(t *testing.T) {
	hold := make(chan struct{})
	held := false
	var last error
	told := 0
	bubble(t, client.ReconnectConfig{OnError: func(err error) {
		if !held {
			held = true
			<-hold
		}
		told++
		last = err
	}}, func(b *bed) {
		hold = make(chan struct{})
		conn := b.connect()
		for range 1000 {
			if err := conn.SendText(b.Context(), "no frame"); err != nil {
				b.Fatal(err)
			}
			synctest.Wait() // the first one is being told before the others come
		}
		close(hold)
		synctest.Wait()
		if err := conn.SendText(b.Context(), "no frame"); err != nil {
			b.Fatal(err)
		}
		synctest.Wait()
		if told != 258 || !strings.Contains(last.Error(), "743 errors before it") {
			b.Errorf("got %d errors, the last %v, want 258 and 743 left out", told, last)
		}
	})
}

func TestNothingSecretIsLoggedOrInErrors(t *testing.T) {
	cfg := client.ReconnectConfig{
		URL: "ws://user:hunter2@clienttest.invalid/ws?token=hunter3", DisableJitter: true, MaxRetries: 1,
		Header: http.Header{"X-Key": {"hunter4"}},
		Credentials: func(context.Context, error) (client.Credentials, error) {
			return client.Credentials{Header: http.Header{"Authorization": {"Bearer hunter5"}}, Query: map[string][]string{"t": {"hunter6"}}}, nil
		},
	}
	bubble(t, cfg, func(b *bed) {
		conn := b.connect()
		b.server.Fail(errors.New("away"))
		conn.Cut()
		err := b.client.Wait(b.Context())
		if a := b.server.Attempts()[0]; a.Header.Get("X-Key") != "hunter4" || a.Header.Get("Authorization") != "Bearer hunter5" || a.URI != "/ws?t=hunter6&token=hunter3" {
			b.Errorf("sent: got %v, want all of it", a)
		}
		text := b.log.String() + err.Error()
		for _, e := range b.heard.errors() {
			text += e.Error()
		}
		if strings.Contains(text, "hunter") || !strings.Contains(text, "ws://clienttest.invalid/ws") {
			b.Errorf("got %s, want the URL and nothing secret", text)
		}
	})
	for _, bad := range []string{"ws://u:hunter2@h/%zz", "ftp://u:hunter2@h/", "ws:///?hunter2", "ws://h:hunter2/"} {
		_, err := client.New(client.ReconnectConfig{URL: bad})
		if err == nil || strings.Contains(err.Error(), "hunter") || !strings.Contains(err.Error(), "ReconnectConfig.URL") {
			t.Errorf("New(%q): got %v, want an error that names the field and nothing secret", bad, err)
		}
	}
}
