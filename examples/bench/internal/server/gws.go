//go:build linux

package server

import (
	"net/http"
	"sync"

	"github.com/lxzan/gws"
)

var lxzan = Kind{
	Name: "gws", Module: "github.com/lxzan/gws", Protocol: "lines",
	About: "ServerOption{}, a Broadcaster for each message, clients in a map by channel",
	Start: startGWS,
}

// gwsHub keeps the clients of each channel and broadcasts as the library's own
// examples do.
type gwsHub struct {
	gws.BuiltinEventHandler
	mu       sync.RWMutex
	channels map[int]map[*gws.Conn]struct{}
}

func startGWS(o Options) (Server, error) {
	h := &gwsHub{channels: map[int]map[*gws.Conn]struct{}{}}
	upgrader := gws.NewUpgrader(h, &gws.ServerOption{})
	serve(o, false, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c, err := upgrader.Upgrade(w, r); err == nil {
			// So that the request's memory can go.
			go c.ReadLoop()
		}
	}))
	return h, nil
}

// OnMessage joins channels.
func (h *gwsHub) OnMessage(c *gws.Conn, m *gws.Message) {
	defer m.Close()
	channels, err := channelNumbers(string(m.Bytes()))
	if err != nil {
		c.WriteClose(1008, nil)
		return
	}
	h.mu.Lock()
	for _, ch := range channels {
		if h.channels[ch] == nil {
			h.channels[ch] = map[*gws.Conn]struct{}{}
		}
		h.channels[ch][c] = struct{}{}
	}
	h.mu.Unlock()
	_ = c.WriteMessage(gws.OpcodeText, []byte(joined))
}

// OnClose leaves them.
func (h *gwsHub) OnClose(c *gws.Conn, _ error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, clients := range h.channels {
		delete(clients, c)
	}
}

func (h *gwsHub) Publish(channel int, payload []byte) error {
	b := gws.NewBroadcaster(gws.OpcodeText, payload)
	h.mu.RLock()
	defer h.mu.RUnlock()
	for c := range h.channels[channel] {
		_ = b.Broadcast(c) // one that is closed
	}
	return b.Close()
}
