package hub_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"forge.lthn.ai/core/go-ws/hub"
	"forge.lthn.ai/core/go-ws/hub/hubtest"
	"forge.lthn.ai/core/go-ws/hub/wire"
)

func TestDisconnectUserReachesAllHubs(t *testing.T) {
	bubble(t, func(t *testing.T) {
		broker := hubtest.NewBroker(hubtest.BrokerConfig{})
		a := join(t, broker, hub.Config{Authenticator: userFromQuery})
		b := join(t, broker, hub.Config{Authenticator: userFromQuery})
		c := join(t, broker, hub.Config{Authenticator: userFromQuery})
		var ann []*peer
		for _, m := range []*member{a, b, b, c} {
			ann = append(ann, m.connectAs(as("ann")))
		}
		bob := b.connectAs(as("bob"))
		synctest.Wait() // for the topic of ann
		must(t)(b.SendToUser(t.Context(), "ann", text("last words")))
		reason := strings.Repeat("é", 100)
		here, err := a.DisconnectUser(t.Context(), "ann", 4500, reason)
		if here != 1 || err != nil {
			t.Errorf("got %d, %v, want one client here", here, err)
		}
		for _, p := range ann {
			p.want(hub.TypeEvent, `"last words"`)
			if closed := p.wantClosed(4500); closed.Reason != strings.Repeat("é", 61) {
				t.Errorf("reason %q, want it cut to 122 bytes", closed.Reason)
			}
		}
		bob.wantNothing()
		if s := b.Stats(); s.Clients != 1 || s.Disconnected[hub.DisconnectedByServer] != 2 || s.Received != 0 {
			t.Errorf("got stats %+v, want bob left, and no message received", s)
		}
		if here, err := a.DisconnectUser(t.Context(), "ann", 4500, ""); here != 0 || err != nil {
			t.Errorf("again: got %d, %v, want nobody", here, err)
		}
	})
}

func TestDisconnectClientReachesItsHub(t *testing.T) {
	bubble(t, func(t *testing.T) {
		broker := hubtest.NewBroker(hubtest.BrokerConfig{})
		a, b := join(t, broker, hub.Config{}), join(t, broker, hub.Config{})
		here, there := a.connect(), b.connect()
		for _, m := range []*member{a, b} {
			if err := a.DisconnectClient(t.Context(), m.client().ID(), wire.CloseCredentialsExpired, "log in again"); err != nil {
				t.Errorf("got %v, want nil", err)
			}
		}
		for _, p := range []*peer{here, there} {
			if closed := p.wantClosed(wire.CloseCredentialsExpired); closed.Reason != "log in again" {
				t.Errorf("reason %q, want the caller's", closed.Reason)
			}
		}
		synctest.Wait()
		for _, id := range []string{a.ID() + ".gone", "", ".", "nobody", a.ID() + ".", repeat("x", 200) + ".x", a.ID() + ".\xff"} {
			if err := a.DisconnectClient(t.Context(), id, 4500, ""); !errors.Is(err, hub.ErrNoClient) {
				t.Errorf("client %q: got %v, want ErrNoClient", id, err)
			}
		}
		if err := a.DisconnectClient(t.Context(), b.ID()+".gone", 4500, ""); err != nil {
			t.Errorf("a client of another hub that has gone: got %v, want nil", err)
		}
		synctest.Wait()
		if n := b.Stats().Backplane.Malformed; n != 0 {
			t.Errorf("malformed %d, want none", n)
		}
	})
}

func TestDisconnectingRefusesWhatCannotBe(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := start(t, hub.Config{Authenticator: userFromQuery})
		p := w.connectAs(as("ann"))
		for _, code := range []wire.CloseCode{0, 999, 1004, wire.CloseNoStatus, wire.CloseAbnormal, 1015, 2999, 5000} {
			if _, err := w.DisconnectUser(t.Context(), "ann", code, ""); !errors.Is(err, hub.ErrInvalidMessage) {
				t.Errorf("code %d: got %v, want ErrInvalidMessage", code, err)
			}
			if err := w.DisconnectClient(t.Context(), w.client().ID(), code, ""); !errors.Is(err, hub.ErrInvalidMessage) {
				t.Errorf("code %d: got %v, want ErrInvalidMessage", code, err)
			}
		}
		for _, user := range []string{"", "\xff", repeat("u", wire.MaxChannel+1)} {
			if _, err := w.DisconnectUser(t.Context(), user, 4500, ""); !errors.Is(err, hub.ErrInvalidMessage) {
				t.Errorf("user %.9q: got %v, want ErrInvalidMessage", user, err)
			}
		}
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := w.DisconnectUser(ended, "ann", 4500, ""); !errors.Is(err, context.Canceled) {
			t.Errorf("ended context: got %v, want its error", err)
		}
		p.wantNothing()
		if here, err := w.DisconnectUser(t.Context(), "ann", 4500, "bye"); here != 1 || err != nil {
			t.Errorf("a hub without a backplane: got %d, %v, want one client", here, err)
		}
		p.wantClosed(4500)
		if err := w.DisconnectClient(t.Context(), "other.hub", 4500, ""); !errors.Is(err, hub.ErrNoClient) {
			t.Errorf("another hub's client without a backplane: got %v, want ErrNoClient", err)
		}
		w.end()
		if _, err := w.DisconnectUser(t.Context(), "ann", 4500, ""); !errors.Is(err, hub.ErrNotRunning) {
			t.Errorf("after the end: got %v, want ErrNotRunning", err)
		}
	})
}

func TestDisconnectingWithoutTheBrokerEndsThoseHere(t *testing.T) {
	bubble(t, func(t *testing.T) {
		broker := hubtest.NewBroker(hubtest.BrokerConfig{})
		a := join(t, broker, hub.Config{Authenticator: userFromQuery})
		b := join(t, broker, hub.Config{Authenticator: userFromQuery})
		here, there := a.connectAs(as("ann")), b.connectAs(as("ann"))
		broker.Break()
		n, err := a.DisconnectUser(t.Context(), "ann", 4500, "")
		if n != 1 || !errors.Is(err, hub.ErrNotPropagated) || !errors.Is(err, hub.ErrUnavailable) {
			t.Errorf("got %d, %v, want one, ErrNotPropagated and ErrUnavailable", n, err)
		}
		here.wantClosed(4500)
		if err := a.DisconnectClient(t.Context(), b.client().ID(), 4500, ""); !errors.Is(err, hub.ErrNotPropagated) {
			t.Errorf("one client: got %v, want ErrNotPropagated", err)
		}
		if n := a.Stats().Backplane.PublishErrors; n != 2 {
			t.Errorf("PublishErrors %d, want 2", n)
		}
		broker.Heal()
		there.wantNothing()
		var gate hubtest.Gate
		a.link.SetFaults(hubtest.BackplaneFaults{Publish: func(ctx context.Context, _ hub.Publication) error { return gate.Wait(ctx) }})
		began := time.Now()
		if _, err := a.DisconnectUser(t.Context(), "ann", 4500, ""); !errors.Is(err, hub.ErrNotPropagated) || time.Since(began) != 5*time.Second {
			t.Errorf("a frozen broker: got %v after %v, want ErrNotPropagated after BackplaneTimeout", err, time.Since(began))
		}
		a.link.SetFaults(hubtest.BackplaneFaults{})
		if _, err := a.DisconnectUser(t.Context(), "ann", 4500, ""); err != nil {
			t.Errorf("again: got %v, want nil", err)
		}
		there.wantClosed(4500)
	})
}

// A client that has come back since is not closed by the copy of an old message.
func TestADisconnectThatComesTwiceCountsOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		broker := hubtest.NewBroker(hubtest.BrokerConfig{})
		a := join(t, broker, hub.Config{Authenticator: userFromQuery})
		b := join(t, broker, hub.Config{Authenticator: userFromQuery})
		var copies []hub.Delivery
		b.link.SetFaults(hubtest.BackplaneFaults{Deliver: func(d hub.Delivery) []hub.Delivery {
			copies = append(copies, d)
			return []hub.Delivery{d}
		}})
		p := b.connectAs(as("ann"))
		if _, err := a.DisconnectUser(t.Context(), "ann", 4400, ""); err != nil {
			t.Fatal(err)
		}
		p.wantClosed(4400)
		again := b.connectAs(as("ann"))
		for _, d := range copies {
			b.link.Deliver(d)
		}
		again.wantNothing()
		if n := b.Stats().Backplane.Duplicates; n != 1 {
			t.Errorf("Duplicates %d, want 1", n)
		}
	})
}
