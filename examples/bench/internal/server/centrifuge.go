//go:build linux

package server

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/centrifugal/centrifuge"
)

const centrifugeModule = "github.com/centrifugal/centrifuge"

var (
	centrifugeDefault = Kind{
		Name: "centrifuge", Module: centrifugeModule, Protocol: "centrifuge",
		About: "Config{}, WebsocketConfig{}, memory broker, JSON protocol",
		Start: func(o Options) (Server, error) {
			return startCentrifuge(o, centrifuge.WebsocketConfig{}, centrifuge.ConnectReply{})
		},
	}
	// What its documents say saves processor time with many messages a
	// connection, and memory with many connections. They leave the delay to
	// the application.
	centrifugeTuned = Kind{
		Name: "tuned", Module: centrifugeModule, Protocol: "centrifuge",
		About: "centrifuge with WriteDelay 10 ms and WriteWithTimer, MaxMessagesInFrame -1, UseWriteBufferPool, ReadBufferSize 1024, ProcessCommandsOffReadLoop",
		Start: func(o Options) (Server, error) {
			return startCentrifuge(o, centrifuge.WebsocketConfig{
				UseWriteBufferPool:         true,
				ReadBufferSize:             1024,
				ProcessCommandsOffReadLoop: true,
			}, centrifuge.ConnectReply{
				WriteDelay:         10 * time.Millisecond,
				WriteWithTimer:     true,
				MaxMessagesInFrame: -1,
			})
		},
	}
)

// centrifugeNode publishes by Node.Publish.
type centrifugeNode struct{ node *centrifuge.Node }

func startCentrifuge(o Options, ws centrifuge.WebsocketConfig, reply centrifuge.ConnectReply) (Server, error) {
	node, err := centrifuge.New(centrifuge.Config{})
	if err != nil {
		return nil, err
	}
	node.OnConnecting(func(context.Context, centrifuge.ConnectEvent) (centrifuge.ConnectReply, error) {
		r := reply
		r.Credentials = &centrifuge.Credentials{}
		return r, nil
	})
	node.OnConnect(func(c *centrifuge.Client) {
		c.OnSubscribe(func(_ centrifuge.SubscribeEvent, answer centrifuge.SubscribeCallback) {
			answer(centrifuge.SubscribeReply{}, nil)
		})
	})
	if err := node.Run(); err != nil {
		return nil, err
	}
	ws.CheckOrigin = func(*http.Request) bool { return true }
	serve(o, false, centrifuge.NewWebsocketHandler(node, ws))
	return centrifugeNode{node}, nil
}

func (s centrifugeNode) Publish(channel int, payload []byte) error {
	data := make([]byte, 0, len(payload)+2)
	data = append(append(append(data, '"'), payload...), '"')
	_, err := s.node.Publish("c"+strconv.Itoa(channel), data)
	return err
}
