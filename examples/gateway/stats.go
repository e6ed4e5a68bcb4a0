package main

import (
	"cmp"
	"net/http"
	"slices"
	"strings"

	"forge.lthn.ai/core/go-ws/hub"
)

// maxTopChannels bounds the channels that /stats names.
const maxTopChannels = 50

// figures are hub.Stats as JSON.
type figures struct {
	Clients       int                             `json:"clients"`
	Channels      int                             `json:"channels"`
	Subscriptions int                             `json:"subscriptions"`
	Handshakes    int                             `json:"handshakes"`
	Connected     uint64                          `json:"connected"`
	Disconnected  map[hub.DisconnectReason]uint64 `json:"disconnected"`
	Refused       map[hub.RefusalCause]uint64     `json:"refused"`
	Published     uint64                          `json:"published"`
	Received      uint64                          `json:"received"`
	Queued        uint64                          `json:"queued"`
	Delivered     uint64                          `json:"delivered"`
	Flushes       uint64                          `json:"flushes"`
	Dropped       dropped                         `json:"dropped"`
	BytesIn       uint64                          `json:"bytesIn"`
	BytesOut      uint64                          `json:"bytesOut"`
	FramesIn      uint64                          `json:"framesIn"`
	Panics        uint64                          `json:"panics"`
	Backplane     broker                          `json:"backplane"`
	// TopChannels are those with most subscribers on this hub.
	TopChannels []channelFigure `json:"topChannels"`
}

type dropped struct {
	Overflow uint64 `json:"overflow"`
	Replaced uint64 `json:"replaced"`
	Gone     uint64 `json:"gone"`
}

type broker struct {
	Configured     bool   `json:"configured"`
	Healthy        bool   `json:"healthy"`
	Topics         int    `json:"topics"`
	TopicsPending  int    `json:"topicsPending"`
	Disruptions    uint64 `json:"disruptions"`
	PublishErrors  uint64 `json:"publishErrors"`
	Duplicates     uint64 `json:"duplicates"`
	Missed         uint64 `json:"missed"`
	Malformed      uint64 `json:"malformed"`
	Foreign        uint64 `json:"foreign"`
	Hubs           int    `json:"hubs"`
	ControlDropped uint64 `json:"controlDropped"`
}

type channelFigure struct {
	Channel     string `json:"channel"`
	Subscribers int    `json:"subscribers"`
}

// serveStats serves GET /stats.
func serveStats(h *hub.Hub) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		s := h.Stats()
		answer(w, http.StatusOK, figures{
			Clients: s.Clients, Channels: s.Channels, Subscriptions: s.Subscriptions, Handshakes: s.Handshakes,
			Connected: s.Connected, Disconnected: s.Disconnected, Refused: s.Refused,
			Published: s.Published, Received: s.Received,
			Queued: s.Queued, Delivered: s.Delivered, Flushes: s.Flushes, Dropped: dropped(s.Dropped),
			BytesIn: s.BytesIn, BytesOut: s.BytesOut, FramesIn: s.FramesIn, Panics: s.Panics,
			Backplane:   broker(s.Backplane),
			TopChannels: topChannels(h),
		})
	}
}

// topChannels are the channels with most subscribers, the largest first.
func topChannels(h *hub.Hub) []channelFigure {
	top := []channelFigure{}
	for name := range h.Channels() {
		// A channel may be empty by the time it is looked at.
		if n := h.ChannelSubscriberCount(name); n > 0 {
			top = append(top, channelFigure{name, n})
		}
	}
	slices.SortFunc(top, func(a, b channelFigure) int {
		return cmp.Or(cmp.Compare(b.Subscribers, a.Subscribers), strings.Compare(a.Channel, b.Channel))
	})
	return top[:min(len(top), maxTopChannels)]
}
