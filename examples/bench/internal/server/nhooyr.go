//go:build linux

package server

import (
	"context"
	"net/http"
	"sync"
	"time"

	"nhooyr.io/websocket"
)

var nhooyr = Kind{
	Name: "nhooyr", Module: "nhooyr.io/websocket", Protocol: "lines",
	About: "the least hub: a locked map of clients by channel, each client a buffered channel of 256 messages (more where the burst is longer), a reading goroutine, and one that calls Write with a timeout for each message",
	Start: startNhooyr,
}

type nhooyrClient struct {
	conn *websocket.Conn
	send chan []byte
}

type nhooyrHub struct {
	waiting  int
	mu       sync.RWMutex
	channels map[int]map[*nhooyrClient]struct{}
}

func startNhooyr(o Options) (Server, error) {
	h := &nhooyrHub{waiting: max(256, o.Waiting), channels: map[int]map[*nhooyrClient]struct{}{}}
	serve(o, false, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		c := &nhooyrClient{conn, make(chan []byte, h.waiting)}
		// So that the request's memory can go.
		go h.read(c)
		go c.write()
	}))
	return h, nil
}

func (h *nhooyrHub) read(c *nhooyrClient) {
	defer c.conn.CloseNow()
	defer h.leave(c)
	for {
		_, text, err := c.conn.Read(context.Background())
		if err != nil {
			return
		}
		channels, err := channelNumbers(string(text))
		if err != nil {
			return
		}
		h.mu.Lock()
		for _, ch := range channels {
			if h.channels[ch] == nil {
				h.channels[ch] = map[*nhooyrClient]struct{}{}
			}
			h.channels[ch][c] = struct{}{}
		}
		h.mu.Unlock()
		c.send <- []byte(joined)
	}
}

// leave also ends the writing goroutine. Nobody sends once it is off the maps.
func (h *nhooyrHub) leave(c *nhooyrClient) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, clients := range h.channels {
		delete(clients, c)
	}
	close(c.send)
}

func (c *nhooyrClient) write() {
	for m := range c.send {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		err := c.conn.Write(ctx, websocket.MessageText, m)
		cancel()
		if err != nil {
			_ = c.conn.CloseNow()
			return
		}
	}
}

func (h *nhooyrHub) Publish(channel int, payload []byte) error {
	h.mu.RLock()
	defer h.mu.RUnlock()
	for c := range h.channels[channel] {
		select {
		case c.send <- payload:
		default: // it is too slow
			go c.conn.CloseNow()
		}
	}
	return nil
}
