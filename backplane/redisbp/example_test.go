package redisbp_test

import (
	"context"
	"errors"
	"fmt"
	"os"

	"forge.lthn.ai/core/go-ws/backplane/redisbp"
	"forge.lthn.ai/core/go-ws/hub"
	"github.com/redis/go-redis/v9"
)

// printer stands for a hub: it is what a backplane delivers to.
type printer struct{}

func (printer) Deliver(d hub.Delivery) { fmt.Printf("%s: %s\n", d.Topic, d.Envelope) }
func (printer) Disrupted(err error)    { fmt.Println("disrupted:", err) }
func (printer) Restored()              { fmt.Println("restored") }

// A hub starts and closes its backplane itself:
//
//	h, err := hub.New(hub.Config{Transport: sockets, Backplane: bp})
//
// Here a printer does it. The example needs a server, so it is not run.
func ExampleNew() {
	bp, err := redisbp.New(redisbp.Config{URL: "redis://localhost:6379"})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return
	}
	defer bp.Close()

	ctx := context.Background()
	if err := bp.Start(ctx, printer{}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return
	}
	if err := bp.Subscribe(ctx, "c:news"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return
	}
	if _, err := bp.Publish(ctx, hub.Publication{Topic: "c:news", ID: "1", Envelope: []byte("hello")}); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
}

// A Cluster, and a master that Sentinels watch, are named by URLs too.
func ExampleConfig() {
	for _, url := range []string{
		"rediss://app:secret@redis.example.com:6380",
		"redis://:secret@node1:6379?cluster=true&addr=node2:6379&addr=node3:6379",
		"redis://:secret@sentinel1:26379?master_name=main&addr=sentinel2:26379",
	} {
		bp, err := redisbp.New(redisbp.Config{URL: url, Prefix: "chat"})
		if err != nil {
			fmt.Println(err)
			continue
		}
		fmt.Println("ready, not connected:", bp.Close() == nil)
	}
	// Output:
	// ready, not connected: true
	// ready, not connected: true
	// ready, not connected: true
}

// A client of the program's own has to be set so that the promises hold; New
// says what is missing.
func ExampleNew_ownClient() {
	client := redis.NewClient(&redis.Options{
		Addr:                  "localhost:6379",
		MaxRetries:            -1, // a publication is sent once
		ContextTimeoutEnabled: true,
	})
	defer client.Close() // the backplane does not

	bp, err := redisbp.New(redisbp.Config{Client: client})
	fmt.Println(errors.Join(err, bp.Close()))

	_, err = redisbp.New(redisbp.Config{Client: redis.NewClient(&redis.Options{Addr: "localhost:6379"})})
	fmt.Println(err != nil)
	// Output:
	// <nil>
	// true
}
