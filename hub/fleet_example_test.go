package hub_test

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"forge.lthn.ai/core/go-ws/hub"
	"forge.lthn.ai/core/go-ws/hub/hubtest"
)

// exampleUsers takes anybody for who they say they are.
var exampleUsers = hub.AuthenticatorFunc(func(r *http.Request) hub.AuthResult {
	return hub.AuthResult{Valid: true, UserID: r.URL.Query().Get("user")}
})

// A user who is banned is first refused by the Authenticator, and then
// disconnected wherever they are connected already.
func ExampleHub_DisconnectUser() {
	broker := hubtest.NewBroker(hubtest.BrokerConfig{}) // a program takes a backplane of Redis or NATS
	here, _, stopHere := exampleHub(hub.Config{Backplane: broker.Join()})
	defer stopHere()
	_, connect, stopThere := exampleHub(hub.Config{Backplane: broker.Join(), Authenticator: exampleUsers})
	defer stopThere()
	ann := connect("/ws?user=ann")

	// 4500 asks clients not to come back by themselves.
	if _, err := here.DisconnectUser(context.Background(), "ann", 4500, "banned"); err != nil {
		fmt.Println("not all hubs were told, try again:", err)
	}
	ann.print()
	// Output: closed 4500 banned
}

// Is Ann online, on whichever hub?
func ExampleHub_CountUserClients() {
	broker := hubtest.NewBroker(hubtest.BrokerConfig{})
	here, _, stopHere := exampleHub(hub.Config{Backplane: broker.Join()})
	defer stopHere()
	_, connect, stopThere := exampleHub(hub.Config{Backplane: broker.Join(), Authenticator: exampleUsers})
	defer stopThere()
	connect("/ws?user=ann")

	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	count, err := here.CountUserClients(ctx, "ann")
	if err != nil {
		fmt.Println(err)
		return
	}
	switch {
	case count.Clients > 0:
		fmt.Println("online, with clients:", count.Clients)
	case count.Whole():
		fmt.Println("offline")
	default:
		fmt.Printf("not known: %d of %d hubs have answered\n", count.Answered, count.Known)
	}
	// Output: online, with clients: 1
}

// The callback raises an alarm when the other hubs can't be reached, and ends it.
func ExampleConfig_onBackplaneHealth() {
	broker := hubtest.NewBroker(hubtest.BrokerConfig{})
	said := make(chan string)
	_, _, stop := exampleHub(hub.Config{
		Backplane: broker.Join(),
		OnBackplaneHealth: func(err error) {
			if err != nil {
				said <- fmt.Sprint("alarm: ", err)
				return
			}
			said <- "all is well"
		},
	})
	defer stop()
	fmt.Println(<-said)
	broker.Break()
	fmt.Println(<-said)
	broker.Heal()
	fmt.Println(<-said)
	// Output:
	// all is well
	// alarm: hub: the backplane is disrupted: hubtest: the broker is away: hub: unavailable
	// all is well
}
