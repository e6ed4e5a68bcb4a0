package hub

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"time"
	"unicode/utf8"

	"forge.lthn.ai/core/go-ws/hub/wire"
)

// receiver is the hub as its backplane sees it.
type receiver Hub

// Deliver takes one publication from the backplane to this hub's clients.
func (r *receiver) Deliver(d Delivery) {
	h := (*Hub)(r)
	t := h.interest.find(d.Topic)
	if t == nil {
		// Left a moment ago.
		return
	}
	e, err := wire.ParseEnvelope(d.Envelope)
	if errors.Is(err, wire.ErrNoEnvelope) {
		e, err = h.foreign(d)
	}
	if err != nil {
		h.malformed(d.Topic, err)
		return
	}
	if e.Source == h.id {
		// This hub's clients had it when it was published.
		if e.Control {
			h.fleet.echoed()
		}
		return
	}
	fresh, missed := t.sources.check(e.Source, e.Sequence)
	h.count.missed.Add(uint64(missed)) // below zero it wraps around to a subtraction
	if fresh && e.Idempotent {
		fresh = h.recent.add(recentScope(d.Topic, e.Target), e.MessageID, time.Now())
	}
	if !fresh {
		h.count.duplicates.Add(1)
		return
	}
	if e.Control {
		if err := h.fleet.receive(d.Topic, &e); err != nil {
			h.malformed(d.Topic, err)
		}
		return
	}
	h.deliverReceived(d.Topic, &e)
}

func (h *Hub) deliverReceived(t Topic, e *wire.Envelope) {
	p := publication{id: e.MessageID, key: e.Key, payload: e.Payload}
	switch name, channel := wire.TopicChannel(string(t)); {
	case channel:
		p.to = address{kind: toChannel, name: name}
	case t == wire.TopicBroadcast:
		p.to = address{kind: toAll}
	case e.Target != "" && t != wire.TopicControl:
		p.to = address{kind: toClient, name: e.Target, hub: h.id}
	default:
		user, ok := wire.TopicUser(string(t))
		if !ok {
			h.malformed(t, errors.New("no receiver"))
			return
		}
		p.to = address{kind: toUser, name: user}
	}
	if !bytes.HasPrefix(p.payload, []byte("{")) || !utf8.Valid(p.payload) {
		// Enough to keep from clients what never was a frame, as a control
		// message that has lost its mark. More would cost each message too much.
		h.malformed(t, errors.New("payload is no JSON object in UTF-8"))
		return
	}
	frame, err := h.prepare(p.payload)
	if err != nil {
		h.malformed(t, err)
		return
	}
	p.frame = frame
	h.count.received.Add(1)
	// A client that has gone meanwhile is nobody's error here.
	clients, _ := h.deliverLocal(&p)
	if observe := h.cfg.Observer.Received; observe != nil {
		ctx := context.Background()
		if extract := h.cfg.ExtractTrace; extract != nil && e.Trace != "" {
			ctx = extract(ctx, e.Trace)
		}
		observe(ctx, ReceiveObservation{Topic: t, ID: e.MessageID, Bytes: len(e.Payload), Clients: clients})
	}
}

// foreign reads what a program that is no hub published: a frame as plain JSON.
// The channel is the topic's, whatever the frame says.
func (h *Hub) foreign(d Delivery) (wire.Envelope, error) {
	f, err := wire.ParseFrame(d.Envelope)
	if err != nil {
		return wire.Envelope{}, err
	}
	if d.Topic == wire.TopicControl || strings.HasPrefix(string(d.Topic), wire.HubTopic("")) || !publishable(f.Type) {
		return wire.Envelope{}, errors.New("not for programs to publish")
	}
	f.Channel, _ = wire.TopicChannel(string(d.Topic))
	id := f.ID
	f.ID = ""
	f.Timestamp = time.Now()
	h.count.foreign.Add(1)
	return wire.Envelope{MessageID: id, Idempotent: id != "", Payload: wire.AppendFrame(nil, &f)}, nil
}

// publishable reports whether a type may be published by a program that is no
// hub: all but those with which a hub itself speaks to a client.
func publishable(t wire.Type) bool {
	return sendable(t) && t != wire.TypeReply
}

func (h *Hub) malformed(t Topic, err error) {
	h.count.malformed.Add(1)
	h.cfg.Logger.Debug("publication dropped", slog.String("topic", string(t)), slog.Any("error", err))
}

// Disrupted takes the backplane's word that publications may be missing.
func (r *receiver) Disrupted(err error) {
	h := (*Hub)(r)
	h.count.disruptions.Add(1)
	h.interest.setDisrupted(err)
	h.cfg.Logger.Warn("backplane disrupted", slog.Any("error", err))
}

// Restored takes the backplane's word that every subscription is live.
func (r *receiver) Restored() {
	h := (*Hub)(r)
	if h.interest.setRestored() {
		h.cfg.Logger.Info("backplane connected")
	} else {
		h.cfg.Logger.Info("backplane restored")
	}
}
