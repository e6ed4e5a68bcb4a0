package hub_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"forge.lthn.ai/core/go-ws/hub"
	"forge.lthn.ai/core/go-ws/hub/hubtest"
	"forge.lthn.ai/core/go-ws/hub/wire"
)

// told is what OnBackplaneHealth was told.
type told struct {
	mu   sync.Mutex
	errs []error
}

func (w *told) health(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.errs = append(w.errs, err)
}

// take returns what was told since it was asked last, once all is quiet.
func (w *told) take() []error {
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	errs := w.errs
	w.errs = nil
	return errs
}

func (w *told) want(t *testing.T, what string, healthy bool) error {
	t.Helper()
	errs := w.take()
	if len(errs) != 1 || (errs[0] == nil) != healthy {
		t.Fatalf("%s: was told %v, want one word, healthy %t", what, errs, healthy)
	}
	return errs[0]
}

func TestTheApplicationIsToldOfTheBackplanesHealth(t *testing.T) {
	bubble(t, func(t *testing.T) {
		broker := hubtest.NewBroker(hubtest.BrokerConfig{})
		var w told
		broker.Break()
		a := join(t, broker, hub.Config{OnBackplaneHealth: w.health})
		if errs := w.take(); len(errs) != 0 || a.Stats().Backplane.Healthy {
			t.Errorf("the broker is away at the start: was told %v, healthy %t, want nothing and unhealthy", errs, a.Stats().Backplane.Healthy)
		}
		time.Sleep(time.Minute)
		broker.Heal()
		time.Sleep(10 * time.Millisecond)
		w.want(t, "connected", true)
		broker.Break()
		if err := w.want(t, "broken", false); !errors.Is(err, hub.ErrUnavailable) {
			t.Errorf("got %v, want the adapter's error", err)
		}
		broker.Heal()
		w.want(t, "healed", true)
		a.link.SetFaults(hubtest.BackplaneFaults{Subscribe: func(context.Context, []hub.Topic) error { return errors.New("not allowed") }})
		p := a.connect()
		p.send(`{"type":"subscribe","data":"news"}`)
		p.want(wire.TypeSubscribed, `{"local":true}`)
		if err := w.want(t, "a topic is refused", false); !strings.Contains(err.Error(), "not allowed") {
			t.Errorf("got %v, want the broker's reason", err)
		}
		p.unsubscribe("news")
		time.Sleep(time.Minute)
		w.want(t, "nobody wants the topic", true)
		a.end()
		if errs := w.take(); len(errs) != 0 {
			t.Errorf("at the end: was told %v, want nothing", errs)
		}
	})
}

// A callback that blocks holds up nobody, and is told how things stand then; one
// that panics is contained.
func TestABlockingHealthCallbackHoldsUpNobody(t *testing.T) {
	bubble(t, func(t *testing.T) {
		broker := hubtest.NewBroker(hubtest.BrokerConfig{})
		release, calls := make(chan struct{}), make(chan error, 10)
		a := join(t, broker, hub.Config{OnBackplaneHealth: func(err error) {
			calls <- err
			<-release
			panic("fault")
		}})
		synctest.Wait()
		for range 5 {
			broker.Break()
			broker.Heal()
			synctest.Wait()
		}
		p := a.on("news")
		must(t)(a.SendToChannel(t.Context(), "news", text("x")))
		p.want(hub.TypeEvent, `"x"`)
		if n := len(calls); n != 1 {
			t.Errorf("%d calls, want one that blocks", n)
		}
		broker.Break()
		close(release)
		synctest.Wait()
		if n, first, last := len(calls), <-calls, <-calls; n != 2 || first != nil || last == nil {
			t.Errorf("%d calls, with %v and %v, want what has been since left out", n, first, last)
		}
		if n := a.Stats().Panics; n != 2 {
			t.Errorf("Panics %d, want 2", n)
		}
	})
}

func TestRunWaitsForTheHealthCallback(t *testing.T) {
	bubble(t, func(t *testing.T) {
		broker := hubtest.NewBroker(hubtest.BrokerConfig{})
		ended := false
		a := join(t, broker, hub.Config{OnBackplaneHealth: func(error) {
			time.Sleep(time.Minute / 2)
			ended = true
		}})
		a.end()
		if !ended {
			t.Error("Run has returned before the callback")
		}
	})
}

// The worst fault of a subscription: nothing comes, and nobody says so. The hub
// finds out, since not even what it says itself comes back.
func TestABackplaneThatGoesDeafInSilenceIsFoundOut(t *testing.T) {
	bubble(t, func(t *testing.T) {
		broker := hubtest.NewBroker(hubtest.BrokerConfig{})
		var w told
		a, b := join(t, broker, hub.Config{OnBackplaneHealth: w.health}), join(t, broker, hub.Config{})
		time.Sleep(time.Hour)
		w.want(t, "connected", true)
		before := a.Stats().Backplane.Disruptions
		a.link.SetFaults(hubtest.BackplaneFaults{Deliver: func(hub.Delivery) []hub.Delivery { return nil }})
		began := time.Now()
		for a.Stats().Backplane.Healthy {
			time.Sleep(10 * time.Millisecond)
		}
		// Three announcements, and up to one until the first that is not heard.
		if took := time.Since(began); took < 6*time.Second || took > 9*time.Second {
			t.Errorf("found out after %v, want 6s to 9s", took)
		}
		if err := w.want(t, "deaf", false); !strings.Contains(err.Error(), "does not come back") {
			t.Errorf("got %v, want it to say what was noticed", err)
		}
		if n := a.Stats().Backplane.Disruptions - before; n != 1 {
			t.Errorf("Disruptions rose by %d, want 1", n)
		}
		p := a.connect()
		p.send(`{"type":"subscribe","data":"news"}`)
		p.want(wire.TypeSubscribed, `{"local":true}`)
		time.Sleep(time.Hour)
		if errs := w.take(); len(errs) != 0 || !b.Stats().Backplane.Healthy {
			t.Errorf("an hour later: was told %v, the other hub is healthy: %t; want nothing new", errs, b.Stats().Backplane.Healthy)
		}
		a.link.SetFaults(hubtest.BackplaneFaults{})
		time.Sleep(3 * time.Second)
		w.want(t, "it hears again", true)
		if n := a.Stats().Backplane.Disruptions - before; n != 1 {
			t.Errorf("Disruptions rose by %d, want 1", n)
		}
		wantHubs(t, 2, a, b)
	})
}

// A broker that takes nothing while the adapter has no complaint is found out in
// the same way, however long each publish hangs.
func TestABackplaneThatTakesNothingInSilenceIsFoundOut(t *testing.T) {
	bubble(t, func(t *testing.T) {
		broker := hubtest.NewBroker(hubtest.BrokerConfig{})
		var w told
		a := join(t, broker, hub.Config{OnBackplaneHealth: w.health})
		time.Sleep(time.Minute)
		w.want(t, "connected", true)
		var gate hubtest.Gate
		a.link.SetFaults(hubtest.BackplaneFaults{Publish: func(ctx context.Context, _ hub.Publication) error { return gate.Wait(ctx) }})
		began := time.Now()
		for a.Stats().Backplane.Healthy {
			time.Sleep(10 * time.Millisecond)
		}
		if took := time.Since(began); took > 11*time.Second {
			t.Errorf("found out after %v, want within 11s", took)
		}
		if err := w.want(t, "mute", false); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want what publishing says", err)
		}
		gate.Open()
		time.Sleep(3 * time.Second)
		w.want(t, "it takes again", true)
	})
}

// A hub that stood still, since its machine was stopped or had no core for it, has
// not heard itself for a while either. It listens on before it calls that deafness.
func TestTimeInWhichAHubStoodStillIsNoDeafness(t *testing.T) {
	bubble(t, func(t *testing.T) {
		broker := hubtest.NewBroker(hubtest.BrokerConfig{})
		var w told
		a, b := join(t, broker, hub.Config{OnBackplaneHealth: w.health}), join(t, broker, hub.Config{})
		time.Sleep(time.Minute)
		w.want(t, "connected", true)
		var lost, stood atomic.Bool
		a.link.SetFaults(hubtest.BackplaneFaults{
			Deliver: func(d hub.Delivery) []hub.Delivery {
				if e, err := wire.ParseEnvelope(d.Envelope); err == nil && e.Source == a.ID() && lost.CompareAndSwap(false, true) {
					return nil // one announcement, just before it stands still
				}
				return []hub.Delivery{d}
			},
			Publish: func(_ context.Context, p hub.Publication) error {
				if strings.HasPrefix(string(p.Topic), "h:") && stood.CompareAndSwap(false, true) {
					time.Sleep(time.Hour)
				}
				return nil
			},
		})
		for !lost.Load() {
			time.Sleep(10 * time.Millisecond)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := b.CountClients(ctx); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour + time.Minute)
		if errs := w.take(); !stood.Load() || len(errs) != 0 || a.Stats().Backplane.Disruptions != 0 {
			t.Errorf("stood still %t: was told %v, %d disruptions; want an hour's halt, and no word of it",
				stood.Load(), errs, a.Stats().Backplane.Disruptions)
		}
	})
}

// An outage that the adapter reports is no deafness, nor are messages that are
// lost now and then.
func TestLostAnnouncementsAndReportedOutagesAreNoDeafness(t *testing.T) {
	bubble(t, func(t *testing.T) {
		broker := hubtest.NewBroker(hubtest.BrokerConfig{})
		var w told
		a := join(t, broker, hub.Config{OnBackplaneHealth: w.health})
		w.want(t, "connected", true)
		n := 0
		a.link.SetFaults(hubtest.BackplaneFaults{Deliver: func(d hub.Delivery) []hub.Delivery {
			if n++; n%2 == 0 {
				return []hub.Delivery{d}
			}
			return nil
		}})
		time.Sleep(time.Hour)
		if errs := w.take(); len(errs) != 0 {
			t.Errorf("each second one is lost: was told %v, want nothing", errs)
		}
		a.link.SetFaults(hubtest.BackplaneFaults{})
		broker.Break()
		time.Sleep(time.Hour)
		broker.Heal()
		synctest.Wait()
		if s := a.Stats().Backplane; s.Disruptions != 1 || !s.Healthy {
			t.Errorf("got %+v, want one disruption, the adapter's, and a healthy backplane at once", s)
		}
	})
}
