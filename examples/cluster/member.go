package main

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"forge.lthn.ai/core/go-ws/backplane/natsbp"
	"forge.lthn.ai/core/go-ws/hub"
	"forge.lthn.ai/core/go-ws/hub/wire"
	"forge.lthn.ai/core/go-ws/transport"
)

// The page's frames: it says something to a channel, and looks at its hub. The
// hub tells of its health by itself too.
const (
	typeSay    = "say"
	typeLook   = "look"
	typeHealth = "health"
)

// member is one hub of the fleet.
type member struct {
	hub *hub.Hub
}

// newMember makes a hub that meets the others at the broker. This is all that a
// hub needs to be one of many: a Backplane.
func newMember(brokerURL string) (*member, error) {
	quiet := slog.New(slog.DiscardHandler) // the page shows the broker going and coming
	plane, err := natsbp.New(natsbp.Config{URL: brokerURL, Logger: quiet})
	if err != nil {
		return nil, err
	}
	sockets, err := transport.New(transport.Config{})
	if err != nil {
		return nil, err
	}
	m := &member{}
	m.hub, err = hub.New(hub.Config{
		Transport:         sockets,
		Backplane:         plane,
		OnMessage:         m.take,
		OnBackplaneHealth: m.tellHealth,
		DrainTimeout:      2 * time.Second,
		DrainSpread:       -1,
		Logger:            quiet,
	})
	return m, err
}

// take answers the page.
func (m *member) take(ctx context.Context, c *hub.Client, f wire.Frame) (*hub.Message, error) {
	switch {
	case f.Type == typeLook:
		return &hub.Message{Type: typeLook, Data: m.look(ctx)}, nil
	case f.Type != typeSay:
		return nil, &hub.RequestError{Code: wire.ErrorUnknownType, Message: "the types are say and look"}
	case !slices.Contains(c.Subscriptions(), f.Channel):
		return nil, &hub.RequestError{Code: wire.ErrorForbidden, Message: "join the channel first"}
	}
	_, err := m.hub.SendToChannel(ctx, f.Channel, hub.Message{Data: f.Data})
	if errors.Is(err, hub.ErrNotPropagated) {
		return nil, &hub.RequestError{Code: wire.ErrorUnavailable, Message: "only the clients of this hub got it"}
	}
	return nil, err
}

// figures are what a hub knows of itself and of the fleet.
type figures struct {
	Healthy     bool   `json:"healthy"`
	Hubs        int    `json:"hubs"`        // that are known to live
	Here        int    `json:"here"`        // clients of this hub
	Everywhere  int    `json:"everywhere"`  // clients of all hubs that have answered
	Answered    int    `json:"answered"`    // hubs that have answered
	Received    uint64 `json:"received"`    // publications from other hubs
	Disruptions uint64 `json:"disruptions"` // times that publications may have been lost
}

// look counts over all hubs. Without the broker it says what this hub knows.
func (m *member) look(ctx context.Context) figures {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	count, err := m.hub.CountClients(ctx)
	if err != nil {
		count = hub.Count{Clients: m.hub.ClientCount(), Answered: 1}
	}
	s := m.hub.Stats()
	return figures{
		Healthy: s.Backplane.Healthy, Hubs: s.Backplane.Hubs,
		Here: s.Clients, Everywhere: count.Clients, Answered: count.Answered,
		Received: s.Received, Disruptions: s.Backplane.Disruptions,
	}
}

// tellHealth tells this hub's own clients when it loses the broker or has it back.
func (m *member) tellHealth(why error) {
	health := struct {
		Healthy bool   `json:"healthy"`
		Why     string `json:"why,omitempty"`
	}{Healthy: why == nil}
	if why != nil {
		health.Why = why.Error()
	}
	for c := range m.hub.Clients() {
		// One that has just gone needs to be told nothing.
		_, _ = m.hub.SendToClient(context.Background(), c.ID(), hub.Message{Type: typeHealth, Data: health})
	}
}
