package clienttest_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"forge.lthn.ai/core/go-ws/client"
	"forge.lthn.ai/core/go-ws/client/clienttest"
	"forge.lthn.ai/core/go-ws/hub/wire"
)

// The hub tells the client when to come back, which it does: the four minutes are
// below MaxServerDelay. Within synctest.Test(t, func(t *testing.T) { … }) they take
// no time.
func Example() {
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
	for _, after := range []string{"1", "240000"} {
		conn, err := server.Accepted(ctx)
		if err != nil {
			log.Fatal(err)
		}
		if err := conn.Close(wire.CloseServiceRestart, `{"reconnectAfterMs":`+after+`}`); err != nil {
			log.Fatal(err)
		}
	}
	fmt.Println(len(server.Attempts()), "attempts")
	// Output: 2 attempts
}
