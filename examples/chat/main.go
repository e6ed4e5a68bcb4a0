// Chat is the smallest useful program: a page, a hub, and one callback that hands on what clients say.
package main

import (
	"context"
	_ "embed"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"time"

	"forge.lthn.ai/core/go-ws/examples/internal/clientjs"
	"forge.lthn.ai/core/go-ws/hub"
	"forge.lthn.ai/core/go-ws/hub/wire"
	"forge.lthn.ai/core/go-ws/transport"
)

//go:embed page.html
var page []byte

func main() {
	ctx, _ := signal.NotifyContext(context.Background(), os.Interrupt)
	listener, err := net.Listen("tcp", append(os.Args[1:], "127.0.0.1:8081")[0])
	if err == nil {
		err = run(ctx, listener)
	}
	if err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, listener net.Listener) error {
	var h *hub.Hub
	say := func(ctx context.Context, c *hub.Client, f wire.Frame) (*hub.Message, error) {
		if f.Type != "say" {
			return nil, &hub.RequestError{Code: wire.ErrorUnknownType, Message: "the only type is say"}
		} else if !slices.Contains(c.Subscriptions(), f.Channel) {
			return nil, &hub.RequestError{Code: wire.ErrorForbidden, Message: "join the channel first"}
		}
		_, err := h.SendToChannel(ctx, f.Channel, hub.Message{Data: f.Data})
		return nil, err
	}
	sockets, err := transport.New(transport.Config{})
	if err == nil {
		h, err = hub.New(hub.Config{Transport: sockets, OnMessage: say})
	}
	if err != nil {
		return err
	}
	mux, ended := clientjs.Mux(page), make(chan error, 2)
	mux.Handle("/ws", h.Handler())
	go func() { ended <- (&http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}).Serve(listener) }()
	go func() { ended <- h.Run(ctx) }()
	os.Stdout.WriteString("listening on http://" + listener.Addr().String() + "\n")
	return <-ended
}
