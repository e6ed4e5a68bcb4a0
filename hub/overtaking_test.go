package hub_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"forge.lthn.ai/core/go-ws/hub"
	"forge.lthn.ai/core/go-ws/hub/hubtest"
)

// A publisher that loses its processor between numbering its message and
// handing it to the broker is overtaken by thousands.
func TestAMessageThatManyOvertookIsNotLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broker := hubtest.NewBroker(hubtest.BrokerConfig{})
		from, to := broker.Join(), broker.Join()
		transport := hubtest.NewTransport()
		publisher := inBubble(t, hub.Config{Backplane: from})
		receiver := inBubble(t, hub.Config{Backplane: to, Transport: transport})
		peer := dialled(t, transport, receiver)

		var late hubtest.Gate
		var first atomic.Bool
		from.SetFaults(hubtest.BackplaneFaults{Publish: func(ctx context.Context, p hub.Publication) error {
			if strings.Contains(string(p.Envelope), "slowly") && first.CompareAndSwap(false, true) {
				return late.Wait(ctx)
			}
			return nil
		}})
		send := func(data string) {
			if _, err := publisher.Broadcast(t.Context(), hub.Message{Data: data}); err != nil {
				t.Errorf("broadcast: %v", err)
			}
		}
		send("before")
		done := make(chan struct{})
		go func() {
			defer close(done)
			send("slowly")
		}()
		synctest.Wait()
		for range 1000 {
			send("fast")
		}
		if got := receiver.Stats().Backplane.Missed; got != 1 {
			t.Errorf("before it came: got %d missed, want 1", got)
		}
		late.Open()
		<-done
		synctest.Wait()
		if got := receiver.Stats().Backplane; got.Missed != 0 || got.Duplicates != 0 {
			t.Errorf("after all: got %d missed, %d duplicates; want none", got.Missed, got.Duplicates)
		}
		if got := peer.Stats().Frames; got != 1002 {
			t.Errorf("got %d messages, want 1002", got)
		}
	})
}

func TestOneIDMayGoToSeveralClientsOfAHub(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broker := hubtest.NewBroker(hubtest.BrokerConfig{})
		transport := hubtest.NewTransport()
		here := inBubble(t, hub.Config{Backplane: broker.Join(), Transport: transport})
		there := inBubble(t, hub.Config{Backplane: broker.Join()})
		peers := []*hubtest.Peer{dialled(t, transport, here), dialled(t, transport, here)}
		synctest.Wait()
		for _, publisher := range []*hub.Hub{here, there} {
			for range 2 {
				for c := range here.Clients() {
					if _, err := publisher.SendToClient(t.Context(), c.ID(), hub.Message{ID: publisher.ID(), Data: "x"}); err != nil {
						t.Fatalf("SendToClient: %v", err)
					}
				}
			}
		}
		synctest.Wait()
		for i, p := range peers {
			if got := p.Stats().Frames; got != 2 {
				t.Errorf("client %d, of two ids that were sent twice each: got %d messages, want 2", i, got)
			}
		}
	})
}

func TestAnIDThatReachedNobodyIsNotUsedUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := inBubble(t, hub.Config{})
		for range 2 {
			_, err := h.SendToClient(t.Context(), h.ID()+".gone", hub.Message{ID: "1"})
			if err == nil {
				t.Error("sending to a client that is not there, again too: got nil, want ErrNoClient")
			}
		}
	})
}
