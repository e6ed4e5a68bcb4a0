package backplane_test

import (
	"context"
	"errors"
	"fmt"

	"forge.lthn.ai/core/go-ws/backplane"
	"forge.lthn.ai/core/go-ws/hub"
)

// printer stands for a hub: it is what a backplane delivers to.
type printer struct{ name string }

func (p printer) Deliver(d hub.Delivery) { fmt.Printf("%s: %s %s\n", p.name, d.Topic, d.Envelope) }
func (p printer) Disrupted(error)        { fmt.Printf("%s: disrupted\n", p.name) }
func (p printer) Restored()              { fmt.Printf("%s: restored\n", p.name) }

// Hubs start and close their member themselves; here a printer does it.
func ExampleNewMemory() {
	ctx := context.Background()
	bus := backplane.NewMemory(backplane.MemoryConfig{})

	one, two := bus.Join(), bus.Join()
	defer one.Close()
	defer two.Close()
	if err := errors.Join(one.Start(ctx, printer{"one"}), two.Start(ctx, printer{"two"})); err != nil {
		fmt.Println(err)
		return
	}
	if err := errors.Join(one.Subscribe(ctx, "c:news"), two.Subscribe(ctx, "c:news")); err != nil {
		fmt.Println(err)
		return
	}
	if _, err := two.Publish(ctx, hub.Publication{Topic: "c:news", ID: "1", Envelope: []byte("hello")}); err != nil {
		fmt.Println(err)
	}
	// Output:
	// one: restored
	// two: restored
	// one: c:news hello
	// two: c:news hello
}

// A broker's outage, seen by one hub.
func ExampleMemory_Break() {
	ctx := context.Background()
	bus := backplane.NewMemory(backplane.MemoryConfig{})
	member := bus.Join()
	defer member.Close()
	if err := member.Start(ctx, printer{"one"}); err != nil {
		fmt.Println(err)
		return
	}

	bus.Break()
	_, err := member.Publish(ctx, hub.Publication{Topic: "c:news", ID: "1"})
	fmt.Println("unavailable:", errors.Is(err, hub.ErrUnavailable))
	bus.Heal()
	// Output:
	// one: restored
	// one: disrupted
	// unavailable: true
	// one: restored
}
