// Cluster runs three hubs that a broker joins, and a page that shows them side
// by side and stops and starts the broker.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	err := run(ctx, os.Args[1:], os.Stdout)
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// hubs is how many there are. The page has a column for each.
const hubs = 3

func run(ctx context.Context, args []string, stdout io.Writer) (err error) {
	fs := flag.NewFlagSet("cluster", flag.ContinueOnError)
	addr := fs.String("addr", "127.0.0.1:8084", "`address` to listen on; port 0 picks a free one")
	if err := fs.Parse(args); err != nil {
		return err
	}
	b, err := startBroker()
	if err != nil {
		return fmt.Errorf("cluster: %w", err)
	}
	defer b.stop()
	var fleet []*member
	for range hubs {
		m, err := newMember(b.url())
		if err != nil {
			return fmt.Errorf("cluster: %w", err)
		}
		fleet = append(fleet, m)
	}
	listener, err := net.Listen("tcp", *addr)
	if err != nil {
		return fmt.Errorf("cluster: %w", err)
	}
	server := &http.Server{Handler: routes(b, fleet), ReadHeaderTimeout: 10 * time.Second, IdleTimeout: time.Minute}
	return serve(ctx, listener, server, fleet, stdout)
}

// serve runs the hubs and the web server until ctx ends or one of them does.
func serve(ctx context.Context, listener net.Listener, server *http.Server, fleet []*member, stdout io.Writer) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error, len(fleet))
	for _, m := range fleet {
		go func() {
			defer stop()
			ended <- m.hub.Run(ctx)
		}()
	}
	served := make(chan error, 1)
	go func() {
		defer stop()
		served <- server.Serve(listener)
	}()
	for _, m := range fleet {
		select {
		case <-m.hub.Started():
		case <-ctx.Done():
		}
	}
	if ctx.Err() == nil {
		fmt.Fprintf(stdout, "listening on http://%s\n", listener.Addr())
	}
	var errs []error
	for range fleet {
		errs = append(errs, <-ended)
	}
	// The server is last: it does not know the connections that the hubs have.
	server.Close()
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("cluster: %w", err)
	}
	return nil
}
