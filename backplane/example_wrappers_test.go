package backplane_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"

	"forge.lthn.ai/core/go-ws/backplane"
	"forge.lthn.ai/core/go-ws/hub"
)

// The second step of a move: a hub that is on both brokers, beside one that is
// still on the old one and hears it.
func ExampleNewDual() {
	ctx := context.Background()
	old := backplane.NewMemory(backplane.MemoryConfig{}) // for Redis, say
	next := backplane.NewMemory(backplane.MemoryConfig{})

	moving, err := backplane.NewDual(backplane.DualConfig{From: old.Join(), To: next.Join()})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer moving.Close()
	waiting := old.Join()
	defer waiting.Close()
	if err := errors.Join(moving.Start(ctx, printer{"moving"}), waiting.Start(ctx, printer{"waiting"})); err != nil {
		fmt.Println(err)
		return
	}
	if err := errors.Join(moving.Subscribe(ctx, "c:news"), waiting.Subscribe(ctx, "c:news")); err != nil {
		fmt.Println(err)
		return
	}
	for _, bp := range []hub.Backplane{moving, waiting} {
		if _, err := bp.Publish(ctx, hub.Publication{Topic: "c:news", ID: "1", Envelope: []byte("hello")}); err != nil {
			fmt.Println(err)
		}
	}
	// Unordered output:
	// moving: restored
	// waiting: restored
	// moving: c:news hello
	// waiting: c:news hello
	// moving: c:news hello
	// waiting: c:news hello
}

// Who has the key reads; whoever has not, drops.
func ExampleNewEncrypted() {
	ctx := context.Background()
	bus := backplane.NewMemory(backplane.MemoryConfig{})
	key := make(backplane.Key, backplane.KeySize) // from where secrets are kept
	if _, err := rand.Read(key); err != nil {
		fmt.Println(err)
		return
	}
	cfg := backplane.EncryptedConfig{Keys: []backplane.Key{key}}
	one, err := backplane.NewEncrypted(bus.Join(), cfg)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer one.Close()
	plain := bus.Join()
	defer plain.Close()
	if err := errors.Join(one.Start(ctx, printer{"one"}), plain.Start(ctx, printer{"plain"})); err != nil {
		fmt.Println(err)
		return
	}
	if err := one.Subscribe(ctx, "c:news"); err != nil {
		fmt.Println(err)
		return
	}
	for _, bp := range []hub.Backplane{one, plain} {
		if _, err := bp.Publish(ctx, hub.Publication{Topic: "c:news", ID: "1", Envelope: []byte("hello")}); err != nil {
			fmt.Println(err)
		}
	}
	fmt.Println("refused:", one.Stats().Refused.NotEncrypted)
	fmt.Println(key)
	// Output:
	// one: restored
	// plain: restored
	// one: c:news hello
	// refused: 1
	// [key]
}
