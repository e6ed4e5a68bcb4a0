package hub_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"forge.lthn.ai/core/go-ws/hub"
	"forge.lthn.ai/core/go-ws/hub/hubtest"
	"forge.lthn.ai/core/go-ws/hub/wire"
)

func TestRunRegistersAndDeliversAndShutsDown(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var gone atomic.Int32
		w := start(t, hub.Config{OnDisconnect: func(*hub.Client, hub.DisconnectReason) { gone.Add(1) }})
		a, b := w.connect(), w.connect()
		if got := w.ClientCount(); got != 2 {
			t.Fatalf("ClientCount %d, want 2", got)
		}
		must(t)(w.Broadcast(t.Context(), text("hello")))
		a.want(hub.TypeEvent, `"hello"`)
		b.want(hub.TypeEvent, `"hello"`)
		w.end()
		a.wantClosed(wire.CloseServiceRestart)
		b.wantClosed(wire.CloseServiceRestart)
		if w.ClientCount() != 0 || gone.Load() != 2 {
			t.Errorf("after Run: %d clients, %d disconnected, want 0 and 2", w.ClientCount(), gone.Load())
		}
	})
}

func TestRunIsRefusedTwiceAndAfterShutdown(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := start(t, hub.Config{})
		if err := w.Run(t.Context()); !errors.Is(err, hub.ErrAlreadyRan) {
			t.Errorf("second Run: %v, want ErrAlreadyRan", err)
		}
		w.end()
		if err := w.Run(t.Context()); !errors.Is(err, hub.ErrAlreadyRan) {
			t.Errorf("Run after Run: %v, want ErrAlreadyRan", err)
		}
		h, err := hub.New(hub.Config{Transport: hubtest.NewTransport()})
		if err != nil {
			t.Fatal(err)
		}
		if err := h.Shutdown(t.Context()); err != nil {
			t.Errorf("Shutdown of a hub that never ran: %v", err)
		}
		if err := h.Run(t.Context()); !errors.Is(err, hub.ErrAlreadyRan) {
			t.Errorf("Run after Shutdown: %v, want ErrAlreadyRan", err)
		}
	})
}

func TestConnectingBeforeRunAndAfterItsEndAnswers503(t *testing.T) {
	bubble(t, func(t *testing.T) {
		transport := hubtest.NewTransport()
		h, err := hub.New(hub.Config{Transport: transport})
		if err != nil {
			t.Fatal(err)
		}
		_, resp := transport.Dial(h.Handler(), request())
		if resp.Status != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" {
			t.Errorf("before Run: status %d, Retry-After %q, want 503 with one", resp.Status, resp.Header.Get("Retry-After"))
		}
		w := start(t, hub.Config{})
		w.end()
		_, resp = w.transport.Dial(w.Handler(), request())
		if resp.Status != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" {
			t.Errorf("after Run: status %d, Retry-After %q, want 503 with one", resp.Status, resp.Header.Get("Retry-After"))
		}
		if n := w.Stats().Refused[hub.RefusedNotRunning]; n != 1 {
			t.Errorf("Refused[not_running] %d, want 1", n)
		}
	})
}

func TestPublishingNeedsARunningHub(t *testing.T) {
	h, err := hub.New(hub.Config{Transport: hubtest.NewTransport()})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.Broadcast(t.Context(), text("x")); !errors.Is(err, hub.ErrNotRunning) {
		t.Errorf("got %v, want ErrNotRunning", err)
	}
}

func TestDisconnectCleansUpEverything(t *testing.T) {
	bubble(t, func(t *testing.T) {
		reasons := make(chan hub.DisconnectReason, 1)
		var last []string
		w := start(t, hub.Config{OnDisconnect: func(c *hub.Client, r hub.DisconnectReason) {
			last = c.Subscriptions()
			if c.Context().Err() == nil {
				t.Error("the client's context has not ended")
			}
			reasons <- r
		}})
		p := w.on("news", "sport")
		if s := w.Stats(); s.Clients != 1 || s.Channels != 2 || s.Subscriptions != 2 {
			t.Fatalf("Stats %+v, want 1 client, 2 channels, 2 subscriptions", s)
		}
		p.Cut()
		if got := <-reasons; got != hub.DisconnectedByClient {
			t.Errorf("reason %q, want client", got)
		}
		if want := []string{"news", "sport"}; !slices.Equal(last, want) {
			t.Errorf("Subscriptions in OnDisconnect: %v, want %v", last, want)
		}
		if s := w.Stats(); s.Clients != 0 || s.Channels != 0 || s.Subscriptions != 0 || s.Disconnected[hub.DisconnectedByClient] != 1 {
			t.Errorf("Stats %+v, want nothing left and one disconnect", s)
		}
	})
}

func TestEndingAClientTwiceIsHarmless(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var gone atomic.Int32
		w := start(t, hub.Config{OnDisconnect: func(*hub.Client, hub.DisconnectReason) { gone.Add(1) }})
		p := w.connect()
		for c := range w.Clients() {
			c.Close(4500, "first")
			c.Close(4501, "second")
		}
		if closed := p.wantClosed(4500); closed.Reason != "first" {
			t.Errorf("reason %q, want first", closed.Reason)
		}
		synctest.Wait()
		if gone.Load() != 1 {
			t.Errorf("OnDisconnect ran %d times, want 1", gone.Load())
		}
	})
}

func TestClientCloseWritesWhatWaitsFirst(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := start(t, hub.Config{})
		p := w.on("news")
		for range 100 {
			must(t)(w.SendToChannel(t.Context(), "news", text("x")))
		}
		for c := range w.Clients() {
			c.Close(wire.CloseNormal, repeat("ö", 100))
		}
		for range 100 {
			p.want(hub.TypeEvent, `"x"`)
		}
		closed := p.wantClosed(wire.CloseNormal)
		if len(closed.Reason) > wire.MaxCloseReason || closed.Reason != repeat("ö", 61) {
			t.Errorf("reason %q of %d bytes, want 61 ö", closed.Reason, len(closed.Reason))
		}
	})
}

func TestOnConnectMayRefuse(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := start(t, hub.Config{
			OnConnect:    func(context.Context, *hub.Client) error { return errors.New("secret detail") },
			OnDisconnect: func(*hub.Client, hub.DisconnectReason) { t.Error("OnDisconnect ran for a client that was refused") },
		})
		p := w.connect()
		if closed := p.wantClosed(wire.ClosePolicy); closed.Reason != "refused" {
			t.Errorf("reason %q, want refused", closed.Reason)
		}
		synctest.Wait()
		if s := w.Stats(); s.Clients != 0 || s.Connected != 0 || s.Refused[hub.RefusedByApplication] != 1 {
			t.Errorf("Stats %+v, want nobody connected and one refusal", s)
		}
	})
}

func TestOnConnectRunsBeforeAnyFrameIsReadAndMaySubscribe(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var order []string
		release := make(chan struct{})
		var w *world
		w = start(t, hub.Config{
			OnConnect: func(ctx context.Context, c *hub.Client) error {
				<-release
				order = append(order, "connect")
				return w.Subscribe(ctx, c, "lobby")
			},
			OnMessage: func(context.Context, *hub.Client, wire.Frame) (*hub.Message, error) {
				order = append(order, "message")
				return nil, nil
			},
			OnDisconnect: func(*hub.Client, hub.DisconnectReason) { order = append(order, "disconnect") },
		})
		go func() {
			synctest.Wait()
			close(release)
		}()
		p := w.connect()
		p.send(`{"type":"hi","id":"1"}`)
		p.want(hub.TypeReply, "")
		if got := w.ChannelSubscriberCount("lobby"); got != 1 {
			t.Errorf("subscribers of lobby: %d, want 1", got)
		}
		p.Cut()
		synctest.Wait()
		if want := []string{"connect", "message", "disconnect"}; !slices.Equal(order, want) {
			t.Errorf("callbacks %v, want %v", order, want)
		}
	})
}

func TestPanickingCallbacksAreContained(t *testing.T) {
	bubble(t, func(t *testing.T) {
		boom := func(name string) {
			panic("boom in " + name)
		}
		w := start(t, hub.Config{
			OnMessage: func(context.Context, *hub.Client, wire.Frame) (*hub.Message, error) {
				boom("OnMessage")
				return nil, nil
			},
			OnSubscribe:  func(context.Context, *hub.Client, string) error { boom("OnSubscribe"); return nil },
			OnDisconnect: func(*hub.Client, hub.DisconnectReason) { boom("OnDisconnect") },
		})
		p := w.connect()
		p.send(`{"type":"hi"}`)
		p.wantError(wire.ErrorInternal)
		p.send(`{"type":"subscribe","data":"news"}`)
		p.wantError(wire.ErrorForbidden)
		if n := w.ChannelCount(); n != 0 {
			t.Errorf("%d channels after a panic in OnSubscribe, want 0", n)
		}
		p.Cut()
		synctest.Wait()
		if n := w.Stats().Panics; n != 3 {
			t.Errorf("Panics %d, want 3", n)
		}

		refusing := start(t, hub.Config{OnConnect: func(context.Context, *hub.Client) error { boom("OnConnect"); return nil }})
		refusing.connect().wantClosed(wire.ClosePolicy)
	})
}

func TestAFailureThatWillPassIsNoRefusal(t *testing.T) {
	bubble(t, func(t *testing.T) {
		down := fmt.Errorf("database: %w", hub.ErrUnavailable)
		connects := true
		w := start(t, hub.Config{
			Authenticator: hub.AuthenticatorFunc(func(r *http.Request) hub.AuthResult {
				if r.URL.Query().Has("user") {
					return hub.AuthResult{Error: down}
				}
				return hub.AuthResult{Valid: true}
			}),
			OnConnect: func(context.Context, *hub.Client) error {
				if connects {
					return nil
				}
				return down
			},
			OnSubscribe: func(context.Context, *hub.Client, string) error { return down },
			OnMessage:   func(context.Context, *hub.Client, wire.Frame) (*hub.Message, error) { return nil, down },
		})
		if h := w.refused(as("ann"), http.StatusServiceUnavailable); h.Get("Retry-After") == "" || h.Get("WWW-Authenticate") != "" {
			t.Errorf("headers %v, want Retry-After and no challenge", h)
		}
		p := w.connect()
		p.send(`{"type":"subscribe","data":"news"}`)
		p.wantError(wire.ErrorUnavailable)
		p.send(`{"type":"hi"}`)
		p.wantError(wire.ErrorUnavailable)
		connects = false
		w.connect().wantClosed(wire.CloseTryAgainLater)
	})
}

func TestErrorsThatClientsDoNotSeeAreCountedAndLoggedOnceASecond(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var log bytes.Buffer
		w := start(t, hub.Config{
			Logger: slog.New(slog.NewTextHandler(&log, nil)),
			OnMessage: func(_ context.Context, _ *hub.Client, f wire.Frame) (*hub.Message, error) {
				if f.Type == "refuse" {
					return nil, &hub.RequestError{Code: "no", Message: "no"}
				}
				return nil, errors.New("disk full")
			},
		})
		p := w.connect()
		for range 3 {
			for range 10 {
				p.send(`{"type":"fail"}`)
				p.wantError(wire.ErrorInternal)
				p.send(`{"type":"refuse"}`)
				p.wantError("no")
			}
			time.Sleep(time.Second)
		}
		if n := w.Stats().CallbackErrors; n != 30 {
			t.Errorf("CallbackErrors %d, want 30", n)
		}
		w.end()
		if n := strings.Count(log.String(), "disk full"); n != 3 {
			t.Errorf("logged %d times, want 3:\n%s", n, &log)
		}
	})
}

func TestIteratorsMayCallBackIntoTheHub(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := start(t, hub.Config{})
		w.on("a", "b")
		w.on("b", "c")
		var names []string
		for name := range w.Channels() {
			names = append(names, name)
			w.ChannelSubscriberCount(name)
		}
		slices.Sort(names)
		if want := []string{"a", "b", "c"}; !slices.Equal(names, want) {
			t.Errorf("Channels %v, want %v", names, want)
		}
		n := 0
		for c := range w.Clients() {
			n++
			w.Unsubscribe(c, "b")
		}
		if n != 2 || w.ChannelSubscriberCount("b") != 0 {
			t.Errorf("%d clients, %d on b, want 2 and 0", n, w.ChannelSubscriberCount("b"))
		}
	})
}

func TestClientContextCarriesTheRequestsValuesOnly(t *testing.T) {
	bubble(t, func(t *testing.T) {
		type key struct{}
		clients := make(chan *hub.Client, 1)
		w := start(t, hub.Config{OnConnect: func(_ context.Context, c *hub.Client) error { clients <- c; return nil }})
		ctx, cancel := context.WithCancel(context.WithValue(context.Background(), key{}, "tenant"))
		p := w.connectAs(request().WithContext(ctx))
		c := <-clients
		cancel()
		if c.Context().Value(key{}) != "tenant" || c.Context().Err() != nil {
			t.Errorf("value %v, error %v, want tenant and none", c.Context().Value(key{}), c.Context().Err())
		}
		p.Cut()
		<-c.Context().Done()
	})
}

func TestObserverSeesALife(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var connected, disconnected, published, flushed, refused atomic.Int32
		w := start(t, hub.Config{Observer: hub.Observer{
			Connected:    func(*hub.Client) { connected.Add(1) },
			Disconnected: func(*hub.Client, hub.DisconnectReason) { disconnected.Add(1) },
			Published: func(_ context.Context, p hub.PublishObservation) {
				published.Add(1)
				if p.Clients != 1 || p.Bytes == 0 || p.Topic != "c:news" || p.ID == "" || p.Err != nil {
					t.Errorf("observed %+v", p)
				}
			},
			Flushed: func(f hub.FlushObservation) { flushed.Add(int32(f.Frames)) },
			Refused: func(hub.RefusalCause) { refused.Add(1) },
		}})
		p := w.on("news")
		must(t)(w.SendToChannel(t.Context(), "news", text("x")))
		p.want(hub.TypeEvent, `"x"`)
		p.send("rubbish")
		p.wantError(wire.ErrorInvalidFrame)
		p.Cut()
		synctest.Wait()
		got := [...]int32{connected.Load(), disconnected.Load(), published.Load(), flushed.Load(), refused.Load()}
		if want := [...]int32{1, 1, 1, 3, 1}; got != want {
			t.Errorf("observed %v, want %v", got, want)
		}
	})
}
