package traffic

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"forge.lthn.ai/core/go-ws/hub"
	"forge.lthn.ai/core/go-ws/hub/hubtest"
	"forge.lthn.ai/core/go-ws/hub/wire"
)

// encode is a message's text.
func encode(s stream, number, padding int) string {
	return fmt.Sprintf("%d %d %d %s", s.publisher, s.channel, number, strings.Repeat("x", padding))
}

func decode(text string) (s stream, number int, err error) {
	_, err = fmt.Sscanf(text, "%d %d %d", &s.publisher, &s.channel, &number)
	return s, number, err
}

// startBare makes the member a backplane and its receiver.
func (m *Member) startBare() error {
	m.publish = func(ctx context.Context, channel, text string) error {
		_, err := m.bp.Publish(ctx, hub.Publication{
			Topic: hub.Topic(wire.ChannelTopic(channel)), ID: "id", Envelope: []byte(text),
		})
		return err
	}
	m.close = func(t testing.TB) {
		if err := m.bp.Close(); err != nil {
			t.Errorf("traffic: member %d: Close: got %v, want nil", m.id, err)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), hang)
	defer cancel()
	if err := m.bp.Start(ctx, (*bareReceiver)(m)); err != nil {
		return fmt.Errorf("start: %w", err)
	}
	var topics []hub.Topic
	for i := range m.run.cfg.Channels {
		topics = append(topics, hub.Topic(wire.ChannelTopic(channelName(i))))
	}
	// The adapter may be on its way to the broker.
	for {
		err := m.bp.Subscribe(ctx, topics...)
		if err == nil {
			return nil
		}
		pause := time.NewTimer(10 * time.Millisecond)
		select {
		case <-pause.C:
		case <-ctx.Done():
			return fmt.Errorf("subscribe: %w", err)
		}
	}
}

// bareReceiver is what a bare backplane calls.
type bareReceiver Member

func (r *bareReceiver) Deliver(d hub.Delivery) {
	channel, _ := wire.TopicChannel(string(d.Topic))
	r.run.delivered(r.sub, channel, string(d.Envelope))
}

func (r *bareReceiver) Disrupted(err error) {
	if err == nil {
		err = errors.New("no reason given")
	}
	r.run.signalled(r.id, err)
}

func (r *bareReceiver) Restored() { r.run.signalled(r.id, nil) }

// startHub makes the member a hub with one client.
func (m *Member) startHub() error {
	transport := hubtest.NewTransport()
	cfg := m.run.cfg.Hub
	cfg.Transport, cfg.Backplane = transport, m.bp
	if cfg.OutboxMessages == 0 {
		cfg.OutboxMessages = 1 << 20
	}
	if cfg.OutboxBytes == 0 {
		cfg.OutboxBytes = 1 << 30
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.DrainSpread == 0 {
		cfg.DrainSpread = -1
	}
	h, err := hub.New(cfg)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	go func() { ran <- h.Run(ctx) }()
	m.hub = h
	m.publish = func(ctx context.Context, channel, text string) error {
		_, err := h.SendToChannel(ctx, channel, hub.Message{Data: text})
		return err
	}
	var client sync.WaitGroup
	m.close = func(t testing.TB) {
		cancel()
		if err := <-ran; err != nil {
			t.Errorf("traffic: member %d: Run: got %v, want nil", m.id, err)
		}
		client.Wait()
	}
	if err := ready(h); err != nil {
		return err
	}
	peer, resp := transport.Dial(h.Handler(), httptest.NewRequest(http.MethodGet, "/ws", nil))
	if peer == nil {
		return fmt.Errorf("dial answered %d %s", resp.Status, resp.Body)
	}
	for i := range m.run.cfg.Channels {
		if err := peer.SendText(fmt.Sprintf(`{"type":"subscribe","data":%q}`, channelName(i))); err != nil {
			return err
		}
	}
	client.Go(func() { m.receive(ctx, peer) })
	return nil
}

// ready waits for the hub. There is nothing to wait on.
func ready(h *hub.Hub) error {
	ask := time.NewTicker(time.Millisecond)
	defer ask.Stop()
	for end := time.Now().Add(hang); ; <-ask.C {
		err := h.Ready()
		if err == nil || time.Now().After(end) {
			return err
		}
	}
}

// receive is the client's side. It must be closed by nobody but the hub's end.
func (m *Member) receive(ctx context.Context, peer *hubtest.Peer) {
	for {
		_, payload, err := peer.Receive(context.Background())
		if err != nil {
			if ctx.Err() == nil {
				m.run.noteStrange(fmt.Sprintf("client of member %d was closed: %v", m.id, err))
			}
			return
		}
		f, err := wire.ParseFrame(payload)
		if err != nil || f.Type == wire.TypeError {
			m.run.noteStrange(fmt.Sprintf("client of member %d got %q, %v", m.id, payload, err))
			continue
		}
		var text string
		if f.Type == wire.TypeEvent && json.Unmarshal(f.Data, &text) == nil {
			m.run.delivered(m.sub, f.Channel, text)
		}
	}
}
