package hub_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"forge.lthn.ai/core/go-ws/hub"
	"forge.lthn.ai/core/go-ws/hub/hubtest"
	"forge.lthn.ai/core/go-ws/hub/wire"
)

func TestShutdownSpreadsItsClosesAndGivesHints(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := start(t, hub.Config{DrainSpread: 4 * time.Second, DrainTimeout: time.Minute})
		const n = 1000
		peers := make([]*peer, n)
		for i := range peers {
			peers[i] = w.connect()
		}
		began := time.Now()
		done := make(chan error, 1)
		go func() { done <- w.Shutdown(context.Background()) }()
		most, before := 0, n
		for before > 0 {
			time.Sleep(100 * time.Millisecond)
			synctest.Wait()
			left := w.ClientCount()
			most, before = max(most, before-left), left
		}
		if took := time.Since(began); took < 3900*time.Millisecond || took > 4200*time.Millisecond {
			t.Errorf("all closed after %v, want 4s", took)
		}
		if most > 2*n/40 {
			t.Errorf("%d closed within 100 ms, want about %d", most, n/40)
		}
		var hints []int64
		for _, p := range peers {
			closed := p.wantClosed(wire.CloseServiceRestart)
			var hint wire.ReconnectHint
			if err := json.Unmarshal([]byte(closed.Reason), &hint); err != nil || hint.Reason != "restart" {
				t.Fatalf("reason %q is no hint: %v", closed.Reason, err)
			}
			hints = append(hints, hint.ReconnectAfter)
		}
		late := 0
		for _, after := range hints {
			if after < 0 || after >= 4000 {
				t.Fatalf("a hint of %d ms, want less than DrainSpread", after)
			}
			if after >= 2000 {
				late++
			}
		}
		if late < n/3 || late > 2*n/3 {
			t.Errorf("%d of %d hints in the second half of the spread, want about half", late, n)
		}
		if err := <-done; err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		if n := w.Stats().Disconnected[hub.DisconnectedShutdown]; n != 1000 {
			t.Errorf("Disconnected[shutdown] %d, want 1000", n)
		}
	})
}

func TestAFewClientsAreClosedAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := start(t, hub.Config{})
		w.connect()
		w.connect()
		began := time.Now()
		if err := w.Shutdown(context.Background()); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took > 50*time.Millisecond {
			t.Errorf("took %v, want 20ms", took)
		}
	})
}

func TestShutdownFlushesWhatWaits(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w, p, sent := stalled(t, hub.Config{DrainTimeout: time.Minute})
		for i := range 500 {
			must(t)(w.SendToChannel(t.Context(), "news", hub.Message{Data: sent + i}))
		}
		done := make(chan error, 1)
		go func() { done <- w.Shutdown(context.Background()) }()
		synctest.Wait()
		time.Sleep(3 * time.Second)
		p.Unstall()
		for range sent + 500 {
			if f := p.next(); f.Type != hub.TypeEvent {
				t.Fatalf("got %+v, want an event", f)
			}
		}
		p.wantClosed(wire.CloseServiceRestart)
		if err := <-done; err != nil {
			t.Errorf("Shutdown: %v", err)
		}
	})
}

func TestADrainingHubTakesNobodyNew(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w, p, _ := stalled(t, hub.Config{})
		go w.stop()
		synctest.Wait()
		if err := w.Ready(); !errors.Is(err, hub.ErrNotRunning) {
			t.Errorf("Ready: %v, want ErrNotRunning", err)
		}
		if h := w.refused(request(), http.StatusServiceUnavailable); h.Get("Retry-After") == "" {
			t.Error("503 without Retry-After")
		}
		must(t)(w.Broadcast(t.Context(), text("still possible")))
		p.Unstall()
		p.wantClosed(wire.CloseServiceRestart)
	})
}

func TestShutdownCutsOffWhoIsLeftWhenItsContextEnds(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w, p, _ := stalled(t, hub.Config{})
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		began := time.Now()
		if err := w.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Shutdown: %v, want DeadlineExceeded", err)
		}
		if took := time.Since(began); took != 2*time.Second {
			t.Errorf("took %v, want 2s", took)
		}
		p.Unstall()
		p.wantClosed(wire.CloseAbnormal)
	})
}

func TestRunDrainsForDrainTimeout(t *testing.T) {
	for timeout, want := range map[time.Duration]time.Duration{0: 8 * time.Second, 3 * time.Second: 3 * time.Second, -1: 0} {
		bubble(t, func(t *testing.T) {
			w, _, _ := stalled(t, hub.Config{DrainTimeout: timeout})
			began := time.Now()
			w.end()
			if took := time.Since(began); took != want {
				t.Errorf("DrainTimeout %v: took %v, want %v", timeout, took, want)
			}
		})
	}
}

func TestShutdownMayBeCalledTwiceAndTheShorterOneCounts(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w, _, _ := stalled(t, hub.Config{})
		first := make(chan error, 1)
		go func() { first <- w.Shutdown(context.Background()) }()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if err := w.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("second Shutdown: %v, want DeadlineExceeded", err)
		}
		if err := <-first; !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("first Shutdown: %v, want DeadlineExceeded too: clients were cut off", err)
		}
	})
}

func TestRunsContextBoundsADrainThatShutdownBegan(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w, _, _ := stalled(t, hub.Config{DrainTimeout: time.Second})
		shut := make(chan error, 1)
		go func() { shut <- w.Shutdown(context.Background()) }()
		time.Sleep(2 * time.Second)
		began := time.Now()
		w.end()
		if took := time.Since(began); took != time.Second {
			t.Errorf("took %v, want DrainTimeout", took)
		}
		if err := <-shut; !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Shutdown: %v, want DeadlineExceeded", err)
		}
	})
}

func TestRunWithAnEndedContextEndsInPeace(t *testing.T) {
	bubble(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		for _, link := range []hub.Backplane{nil, hubtest.NewBroker(hubtest.BrokerConfig{}).Join()} {
			h, err := hub.New(hub.Config{Transport: hubtest.NewTransport(), Backplane: link, Logger: slog.New(slog.DiscardHandler)})
			if err != nil {
				t.Fatal(err)
			}
			if err := h.Run(ctx); err != nil {
				t.Errorf("Run: %v, want nil", err)
			}
		}
	})
}

func TestOnConnectHasHandshakeTimeout(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := start(t, hub.Config{HandshakeTimeout: 3 * time.Second, OnConnect: func(ctx context.Context, _ *hub.Client) error {
			<-ctx.Done()
			return ctx.Err()
		}})
		began := time.Now()
		p := w.connect()
		if took := time.Since(began); took != 3*time.Second {
			t.Errorf("took %v, want HandshakeTimeout", took)
		}
		p.wantClosed(wire.CloseTryAgainLater)
	})
}

func TestAClientThatIsBeingAdmittedDuringShutdownIsSentAway(t *testing.T) {
	bubble(t, func(t *testing.T) {
		admitted := make(chan struct{})
		w := start(t, hub.Config{
			OnConnect: func(ctx context.Context, c *hub.Client) error {
				close(admitted)
				<-ctx.Done()
				return nil
			},
		})
		connected := make(chan *peer, 1)
		go func() { connected <- w.connect() }()
		<-admitted
		if err := w.Shutdown(context.Background()); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		(<-connected).wantClosed(wire.CloseServiceRestart)
	})
}
