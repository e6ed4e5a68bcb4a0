//go:build linux

package server

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"time"

	"forge.lthn.ai/core/go-ws/hub"
	"forge.lthn.ai/core/go-ws/transport"
)

const ourModule = "forge.lthn.ai/core/go-ws/hub"

var (
	ours = Kind{
		Name: "ours", Module: ourModule, Protocol: "hub",
		About: "hub.New(hub.Config{Transport: t}), t from transport.New(transport.Config{}), on net/http",
		Start: func(o Options) (Server, error) { return startOurs(o, transport.Config{}, false) },
	}
	oursTLS = Kind{
		Name: "ours-tls", Module: ourModule, Protocol: "hub", TLS: true,
		About: "the same behind http.Server.ServeTLS",
		Start: func(o Options) (Server, error) { return startOurs(o, transport.Config{}, true) },
	}
	oursDeflate = Kind{
		Name: "ours-deflate", Module: ourModule, Protocol: "hub", Deflate: true,
		About: "the same with transport.Config{Compression: true}, all clients ask for permessage-deflate",
		Start: func(o Options) (Server, error) {
			return startOurs(o, transport.Config{Compression: true}, false)
		},
	}
)

// ourHub publishes by Hub.SendToChannel.
type ourHub struct{ hub *hub.Hub }

func startOurs(o Options, c transport.Config, secure bool) (Server, error) {
	t, err := transport.New(c)
	if err != nil {
		return nil, err
	}
	// OutboxMessages is 4,096 when it is not set.
	config := hub.Config{Transport: t}
	if o.Waiting > 4096 {
		config.OutboxMessages = o.Waiting
	}
	h, err := hub.New(config)
	if err != nil {
		return nil, err
	}
	go func() {
		if err := h.Run(context.Background()); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}()
	for h.Ready() != nil {
		time.Sleep(time.Millisecond)
	}
	serve(o, secure, h.Handler())
	return ourHub{h}, nil
}

func (s ourHub) Publish(channel int, payload []byte) error {
	data := make(json.RawMessage, 0, len(payload)+2)
	data = append(append(append(data, '"'), payload...), '"')
	_, err := s.hub.SendToChannel(context.Background(), "c"+strconv.Itoa(channel), hub.Message{Data: data})
	return err
}
