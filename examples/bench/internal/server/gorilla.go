//go:build linux

package server

import (
	"net/http"
	"time"

	"github.com/gorilla/websocket"
)

var gorilla = Kind{
	Name: "gorilla", Module: "github.com/gorilla/websocket", Protocol: "lines",
	About: "a hub as in its chat example: one goroutine with maps of clients, each client a buffered channel of 256 messages (more where the burst is longer), a reading and a writing goroutine; what waits is joined into one frame by newlines",
	Start: startGorilla,
}

type gorillaClient struct {
	conn *websocket.Conn
	send chan []byte
}

type gorillaJoin struct {
	client   *gorillaClient
	channels []int
}

type gorillaMessage struct {
	channel int
	payload []byte
}

// gorillaHub is one goroutine that owns all maps.
type gorillaHub struct {
	joins    chan gorillaJoin
	leaves   chan *gorillaClient
	messages chan gorillaMessage
}

const (
	gorillaPing  = 54 * time.Second
	gorillaPong  = 60 * time.Second
	gorillaWrite = 10 * time.Second
)

func startGorilla(o Options) (Server, error) {
	h := &gorillaHub{make(chan gorillaJoin), make(chan *gorillaClient), make(chan gorillaMessage)}
	go h.run()
	upgrader := websocket.Upgrader{ReadBufferSize: 1024, WriteBufferSize: 1024}
	serve(o, false, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		c := &gorillaClient{conn, make(chan []byte, max(256, o.Waiting))}
		go c.write()
		go c.read(h)
	}))
	return h, nil
}

func (h *gorillaHub) run() {
	channels := map[int]map[*gorillaClient]bool{}
	clients := map[*gorillaClient]bool{}
	leave := func(c *gorillaClient) {
		if !clients[c] {
			return
		}
		delete(clients, c)
		for _, in := range channels {
			delete(in, c)
		}
		close(c.send)
	}
	for {
		select {
		case j := <-h.joins:
			clients[j.client] = true
			for _, ch := range j.channels {
				if channels[ch] == nil {
					channels[ch] = map[*gorillaClient]bool{}
				}
				channels[ch][j.client] = true
			}
			j.client.send <- []byte(joined)
		case c := <-h.leaves:
			leave(c)
		case m := <-h.messages:
			for c := range channels[m.channel] {
				select {
				case c.send <- m.payload:
				default: // it is too slow
					leave(c)
				}
			}
		}
	}
}

func (c *gorillaClient) read(h *gorillaHub) {
	defer func() {
		h.leaves <- c
		c.conn.Close()
	}()
	c.conn.SetReadLimit(32768)
	alive := func(string) error { return c.conn.SetReadDeadline(time.Now().Add(gorillaPong)) }
	_ = alive("")
	c.conn.SetPongHandler(alive)
	for {
		_, text, err := c.conn.ReadMessage()
		if err != nil {
			return
		}
		channels, err := channelNumbers(string(text))
		if err != nil {
			return
		}
		h.joins <- gorillaJoin{c, channels}
	}
}

func (c *gorillaClient) write() {
	ticker := time.NewTicker(gorillaPing)
	defer func() {
		ticker.Stop()
		c.conn.Close()
	}()
	for {
		select {
		case m, ok := <-c.send:
			if c.conn.SetWriteDeadline(time.Now().Add(gorillaWrite)) != nil || !ok || c.writeAll(m) != nil {
				return
			}
		case <-ticker.C:
			if c.conn.WriteControl(websocket.PingMessage, nil, time.Now().Add(gorillaWrite)) != nil {
				return
			}
		}
	}
}

// writeAll writes a message and all that wait behind it.
func (c *gorillaClient) writeAll(m []byte) error {
	w, err := c.conn.NextWriter(websocket.TextMessage)
	if err != nil {
		return err
	}
	if _, err := w.Write(m); err != nil {
		return err
	}
	for range len(c.send) {
		if _, err := w.Write([]byte("\n")); err != nil {
			return err
		}
		if _, err := w.Write(<-c.send); err != nil {
			return err
		}
	}
	return w.Close()
}

func (h *gorillaHub) Publish(channel int, payload []byte) error {
	h.messages <- gorillaMessage{channel, payload}
	return nil
}
