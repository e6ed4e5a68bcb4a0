package client_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/http"
	"time"

	"forge.lthn.ai/core/go-ws/client"
	"forge.lthn.ai/core/go-ws/client/clienttest"
	"forge.lthn.ai/core/go-ws/hub/wire"
)

// A first program: it prints what is published on a channel, for ever.
func Example() {
	c, err := client.New(client.ReconnectConfig{URL: "ws://127.0.0.1:8080/ws"})
	if err != nil {
		log.Fatal(err)
	}
	err = c.Subscribe("news", func(_ context.Context, d client.Delivery) {
		fmt.Println(d.Type, string(d.Data), d.Err)
	})
	if err != nil {
		log.Fatal(err)
	}
	log.Fatal(c.Run(context.Background()))
}

func ExampleReconnectingClient_Request() {
	server := clienttest.NewServer(clienttest.Config{})
	defer server.Close()
	c, err := client.New(client.ReconnectConfig{URL: server.URL(), HTTPClient: server.HTTPClient()})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := c.Connect(ctx); err != nil {
		log.Fatal(err)
	}
	answer, err := c.Request(ctx, client.Message{Type: "say", Channel: "lobby", Data: "hi"})
	refusal := (*client.RequestError)(nil)
	switch {
	case errors.As(err, &refusal):
		fmt.Println("refused:", refusal.Code)
	case err != nil:
		fmt.Println("not answered:", err)
	default:
		fmt.Println("answered by a", answer.Type)
	}
	// Output: answered by a reply
}

// New credentials are fetched before each attempt.
func ExampleReconnectConfig_credentials() {
	fetch := func(context.Context) (string, error) { return "token", nil }
	c, err := client.New(client.ReconnectConfig{
		URL: "wss://example.com/ws",
		Credentials: func(ctx context.Context, _ error) (client.Credentials, error) {
			token, err := fetch(ctx)
			return client.Credentials{Header: http.Header{"Authorization": {"Bearer " + token}}}, err
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(c.State())
	// Output: disconnected
}

// A handler that keeps a copy of the server's state loads it when the channel is
// live, so that nothing falls between.
func ExampleReconnectingClient_Subscribe() {
	server := clienttest.NewServer(clienttest.Config{})
	defer server.Close()
	c, err := client.New(client.ReconnectConfig{URL: server.URL(), HTTPClient: server.HTTPClient()})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	handled := make(chan struct{})
	err = c.Subscribe("orders", func(_ context.Context, d client.Delivery) {
		switch {
		case d.Err != nil:
			fmt.Println("refused, or something was left out:", d.Err)
		case d.Type == wire.TypeSubscribed:
			fmt.Println("load the orders now")
		default:
			fmt.Println("changed:", string(d.Data))
		}
		handled <- struct{}{}
	})
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := c.Connect(ctx); err != nil {
		log.Fatal(err)
	}
	<-handled
	if err := server.Subscribed(ctx, "orders"); err != nil {
		log.Fatal(err)
	}
	if err := server.Publish(ctx, wire.Frame{Type: wire.TypeEvent, Channel: "orders", Data: []byte(`{"id":7}`)}); err != nil {
		log.Fatal(err)
	}
	<-handled
	// Output:
	// load the orders now
	// changed: {"id":7}
}
