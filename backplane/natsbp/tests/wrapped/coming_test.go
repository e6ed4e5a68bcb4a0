package wrapped

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"forge.lthn.ai/core/go-ws/backplane/natsbp/tests/natstest"
	"forge.lthn.ai/core/go-ws/backplane/tests/netfault"
	"forge.lthn.ai/core/go-ws/backplane/tests/traffic"
	"forge.lthn.ai/core/go-ws/hub"
)

// A hub comes late to a fleet at work. Its network falls silent and comes back;
// then it dies without a word, and another one takes its place. The others lose
// nothing, are told of no disruption, and count right: who is silent is missing
// among the answers, who is dead is forgotten.
func TestAHubThatComesLateFallsSilentOrDiesHarmsNobody(t *testing.T) { onEach(t, comingAndGoing) }

func comingAndGoing(t *testing.T, b *broker) {
	run := traffic.Start(t, traffic.Config{New: b.join, Pace: 4 * time.Millisecond, PublishTimeout: hang})
	fleet := run.Members()[0].Hub()
	all := hub.Count{Clients: 3, Answered: 3, Known: 3}
	gone := hub.Count{Clients: 2, Answered: 2, Known: 2}

	own := natstest.Proxy(t, b.server)
	late := startGateway(t, b.through(t, own))
	guest := late.dial("guest")
	joined := func(h *gateway, c *client, what string) {
		t.Helper()
		wantCount(t, what+": a count by the fleet", fleet.CountClients, all)
		wantCount(t, what+": a count by the hub", h.CountClients, all)
		if _, err := fleet.SendToUser(t.Context(), "guest", hub.Message{Data: what}); err != nil {
			t.Fatalf("%s: SendToUser: got %v, want nil", what, err)
		}
		c.hears(what)
		run.Flow()
	}
	joined(late, guest, "it came late")

	own.Freeze(netfault.Swallow)
	swallows(t, own, 0)
	missed(t, fleet)
	natstest.Eventually(t, "a hub that knows that it is cut off", func() error {
		if late.Stats().Backplane.Healthy {
			return errors.New("healthy")
		}
		return nil
	})
	run.Flow()
	own.Thaw()
	joined(late, guest, "it came back")

	own.Freeze(netfault.Swallow)
	swallows(t, own, own.Stats().Swallowed)
	late.stop()
	wantCount(t, "a count when it is dead", fleet.CountClients, gone)
	run.Flow()
	own.Thaw()
	next := startGateway(t, b.through(t, own))
	joined(next, next.dial("guest"), "another one took its place")
	next.stop()
	wantCount(t, "a count when it has said goodbye", fleet.CountClients, gone)

	for _, m := range run.Members() {
		m.CheckHub()
	}
	report := run.Stop()
	report.Check()
	if lost, failed := len(report.Lost), len(report.Failed); lost+failed > 0 {
		t.Errorf("the fleet: got %d lost and %d failed, want none", lost, failed)
	}
}

// missed waits until the two hubs of a fleet count alone: the third one is among
// those that are known and have not answered, or, where this machine is slow, has
// been silent for so long that it is taken for gone.
func missed(t *testing.T, fleet *hub.Hub) {
	t.Helper()
	natstest.Eventually(t, "a count while a hub is silent", func() error {
		ctx, cancel := context.WithTimeout(context.Background(), countPatience)
		defer cancel()
		got, err := fleet.CountClients(ctx)
		if err == nil && (got.Clients != 2 || got.Answered != 2 || got.Known < 2 || got.Known > 3) {
			err = fmt.Errorf("%+v", got)
		}
		if err == nil {
			t.Logf("a count while a hub is silent: %+v", got)
		}
		return err
	})
}

// swallows waits until a silent network has lost something.
func swallows(t *testing.T, p *netfault.Proxy, before int64) {
	t.Helper()
	ctx, cancel := within()
	defer cancel()
	if err := p.Wait(ctx, func(s netfault.Stats) bool { return s.Swallowed > before }); err != nil {
		t.Fatalf("nothing was lost: %v", err)
	}
}
