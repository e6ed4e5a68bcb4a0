package main

import (
	"context"
	_ "embed"
	"encoding/json"
	"log"
	"net"
	"net/http"
	"time"

	"forge.lthn.ai/core/go-ws/examples/internal/clientjs"
	"forge.lthn.ai/core/go-ws/hub"
	"forge.lthn.ai/core/go-ws/hub/wire"
	"forge.lthn.ai/core/go-ws/transport"
)

//go:embed page.html
var page []byte

// contentPolicy: the page is one file, so its script and its style are inline,
// and its script imports the client.
const contentPolicy = "default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'unsafe-inline'; connect-src 'self'; base-uri 'none'; frame-ancestors 'none'"

// stage is a hub with its web server, and the process that they show.
type stage struct {
	hub      *hub.Hub
	id       string
	listener net.Listener
	server   *http.Server
	stop     context.CancelFunc
	ended    chan error // what Hub.Run returned
}

func newStage(addr, id string) (*stage, error) {
	sockets, err := transport.New(transport.Config{})
	if err != nil {
		return nil, err
	}
	s := &stage{id: id, ended: make(chan error, 1)}
	s.hub, err = hub.New(hub.Config{
		Transport: sockets,
		OnSubscribe: func(_ context.Context, _ *hub.Client, channel string) error {
			if channel != s.channel() {
				return &hub.RequestError{Code: wire.ErrorForbidden, Message: "there is only " + s.channel()}
			}
			return nil
		},
		DrainTimeout: 5 * time.Second,
		DrainSpread:  -1,
	})
	if err != nil {
		return nil, err
	}
	if s.listener, err = net.Listen("tcp", addr); err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("/ws", s.hub.Handler())
	mux.HandleFunc("GET /process", s.serveID)
	mux.HandleFunc("GET "+clientjs.Path, clientjs.Serve)
	mux.HandleFunc("GET /{$}", servePage)
	s.server = &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: time.Minute}
	ctx, stop := context.WithCancel(context.Background())
	s.stop = stop
	go func() { s.ended <- s.hub.Run(ctx) }()
	<-s.hub.Started()
	go func() {
		if err := s.server.Serve(s.listener); err != http.ErrServerClosed {
			log.Print("process: ", err)
		}
	}()
	return s, nil
}

func (s *stage) channel() string { return "process:" + s.id }

// awaitAudience waits until somebody is subscribed to the process's channel.
func (s *stage) awaitAudience(ctx context.Context) bool {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for s.hub.ChannelSubscriberCount(s.channel()) == 0 {
		select {
		case <-ctx.Done():
			return false
		case <-tick.C:
		}
	}
	return true
}

// close lets the clients have what waits for them, and ends.
func (s *stage) close() {
	s.stop()
	if err := <-s.ended; err != nil {
		log.Print("process: ", err)
	}
	s.server.Close()
}

// serveID tells the page what to subscribe to.
func (s *stage) serveID(w http.ResponseWriter, _ *http.Request) {
	body, err := json.Marshal(map[string]string{"id": s.id, "channel": s.channel()})
	if err != nil {
		http.Error(w, "no id", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Write(body)
}

func servePage(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", contentPolicy)
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Write(page)
}
