package natsbp_test

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

	"forge.lthn.ai/core/go-ws/backplane/natsbp"
	"forge.lthn.ai/core/go-ws/hub"
)

// printer stands for a hub: it is what a backplane delivers to.
type printer struct{}

func (printer) Deliver(d hub.Delivery) { fmt.Printf("%s %s\n", d.Topic, d.Envelope) }
func (printer) Disrupted(error)        { fmt.Println("disrupted") }
func (printer) Restored()              { fmt.Println("restored") }

// Hubs start and close their backplane themselves; here a printer does it. No
// server is running where this example is tested, so it shows what a hub sees
// that starts before its broker.
func ExampleNew() {
	bp, err := natsbp.New(natsbp.Config{
		URL:     "nats://127.0.0.1:1",
		Options: []nats.Option{nats.UserInfo("hub", "secret"), nats.Timeout(time.Second)},
		Prefix:  "example",
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer bp.Close()
	ctx := context.Background()
	if err := bp.Start(ctx, printer{}); err != nil {
		fmt.Println(err)
		return
	}
	_, err = bp.Publish(ctx, hub.Publication{Topic: "c:news", ID: "1", Envelope: []byte("hello")})
	fmt.Println(err)
	fmt.Println("connected:", bp.Stats().Connected)
	// Output:
	// natsbp: publish: no server: hub: unavailable
	// connected: false
}

// A connection of the program's own has to keep a backplane's promises: New says
// which setting does not.
func ExampleConfig_conn() {
	nc, err := nats.Connect("nats://127.0.0.1:1",
		nats.MaxReconnects(-1),
		nats.ReconnectBufSize(-1),
		nats.FlusherTimeout(5*time.Second),
		nats.RetryOnFailedConnect(true), // start before the server
	)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer nc.Close()
	bp, err := natsbp.New(natsbp.Config{Conn: nc})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer bp.Close()
	fmt.Println("connected:", bp.Stats().Connected)
	// Output:
	// connected: false
}
