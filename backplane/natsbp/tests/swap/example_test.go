// Package swap shows a program that goes from Redis to NATS.
package swap

import (
	"context"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"go.uber.org/goleak"

	"forge.lthn.ai/core/go-ws/backplane/natsbp"
	"forge.lthn.ai/core/go-ws/backplane/redisbp"
	"forge.lthn.ai/core/go-ws/hub"
	"forge.lthn.ai/core/go-ws/hub/hubtest"
	"forge.lthn.ai/core/go-ws/hub/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var quiet = slog.New(slog.DiscardHandler)

// run is the program: a hub, and a client that says what it hears. It knows of
// the broker what it is given, a hub.Backplane.
func run(ctx context.Context, bp hub.Backplane, do func(h *hub.Hub, client *hubtest.Peer)) error {
	sockets := hubtest.NewTransport() // a program has package transport's
	h, err := hub.New(hub.Config{Transport: sockets, Backplane: bp, Logger: quiet, DrainSpread: -1})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- h.Run(ctx) }()
	for ask := time.Tick(time.Millisecond); h.Ready() != nil; { // a load balancer asks /readyz
		select {
		case err := <-ended:
			cancel()
			return err
		case <-ask:
		}
	}
	client, response := sockets.Dial(h.Handler(), httptest.NewRequest("GET", "/ws", nil))
	if client == nil {
		cancel()
		<-ended
		return fmt.Errorf("refused: %d", response.Status)
	}
	do(h, client)
	cancel()
	return <-ended
}

// heard is the next frame that a client gets.
func heard(client *hubtest.Peer) string {
	_, payload, err := client.Receive(context.Background())
	if err != nil {
		return err.Error()
	}
	f, err := wire.ParseFrame(payload)
	if err != nil {
		return err.Error()
	}
	return fmt.Sprintf("%s on %s: %s", f.Type, f.Channel, f.Data)
}

// On Redis. It is compiled here and not run, since that takes a Redis.
func Example_redis() {
	bp, err := redisbp.New(redisbp.Config{URL: "redis://127.0.0.1:6379"})
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := run(context.Background(), bp, func(h *hub.Hub, client *hubtest.Peer) {
		fmt.Println(heard(client))
	}); err != nil {
		fmt.Println(err)
	}
}

// On NATS: the constructor is another one, and nothing else.
func Example_nats() {
	url, stop, err := embedded()
	if err != nil {
		fmt.Println(err)
		return
	}
	defer stop()

	bp, err := natsbp.New(natsbp.Config{URL: url, Logger: quiet})
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := run(context.Background(), bp, func(h *hub.Hub, client *hubtest.Peer) {
		if err := client.SendText(`{"type":"subscribe","data":"news"}`); err != nil {
			fmt.Println(err)
			return
		}
		heard(client) // that it is subscribed

		// Another hub of the fleet.
		other, err := natsbp.New(natsbp.Config{URL: url, Logger: quiet})
		if err != nil {
			fmt.Println(err)
			return
		}
		if err := run(context.Background(), other, func(h *hub.Hub, _ *hubtest.Peer) {
			if _, err := h.SendToChannel(context.Background(), "news", hub.Message{Data: "hello"}); err != nil {
				fmt.Println(err)
			}
		}); err != nil {
			fmt.Println(err)
		}
		fmt.Println(heard(client))
	}); err != nil {
		fmt.Println(err)
	}
	// Output:
	// event on news: "hello"
}

// embedded runs a NATS server within the process.
func embedded() (url string, stop func(), err error) {
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, NoLog: true, NoSigs: true})
	if err != nil {
		return "", nil, err
	}
	s.Start()
	return s.ClientURL(), func() { s.Shutdown(); s.WaitForShutdown() }, nil
}
