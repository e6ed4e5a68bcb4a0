package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	err := run(untilSignal(), os.Args[1:], os.Stdout)
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// untilSignal returns a context that ends with the first signal to stop. A
// second one ends the process at once, with the exit code that shells give it.
func untilSignal() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	// Room for both, so that none is lost however soon the second follows.
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-signals
		cancel()
		code := 1
		if s, ok := (<-signals).(syscall.Signal); ok {
			code = 128 + int(s)
		}
		os.Exit(code)
	}()
	return ctx
}
