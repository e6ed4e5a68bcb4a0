// Customauth shows an Authenticator of one's own: clients are admitted by JSON
// Web Tokens. The JWT library is this program's alone; package hub knows none.
package main

import (
	"context"
	_ "embed"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"forge.lthn.ai/core/go-ws/hub"
	"forge.lthn.ai/core/go-ws/hub/wire"
	"forge.lthn.ai/core/go-ws/transport"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// run is the program. It returns nil when ctx has ended and all clients are
// gone.
func run(ctx context.Context, args []string, stdout io.Writer) error {
	fs := flag.NewFlagSet("customauth", flag.ContinueOnError)
	addr := fs.String("addr", "127.0.0.1:8083", "`address` to listen on; port 0 picks a free one")
	lifetime := fs.Duration("lifetime", time.Minute, "how long a token is good for")
	if err := fs.Parse(args); err != nil {
		return err
	}
	tokens := newTokens(*lifetime)
	h, err := newHub(tokens)
	if err != nil {
		return fmt.Errorf("customauth: %w", err)
	}
	listener, err := net.Listen("tcp", *addr)
	if err != nil {
		return fmt.Errorf("customauth: %w", err)
	}
	server := &http.Server{
		Handler:           routes(h, tokens),
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       30 * time.Second,
		IdleTimeout:       time.Minute,
	}
	defer server.Close()
	ended := make(chan error, 2)
	go func() { ended <- h.Run(ctx) }()
	go func() { ended <- server.Serve(listener) }()
	select {
	case <-h.Started():
	case <-ctx.Done():
	}
	fmt.Fprintf(stdout, "listening on http://%s\n", listener.Addr())
	if err := <-ended; err != nil {
		return fmt.Errorf("customauth: %w", err)
	}
	return nil
}

// newHub makes a hub on which everybody speaks under the name that is in their
// token, whatever they claim in a message.
func newHub(tokens *tokens) (h *hub.Hub, err error) {
	sockets, err := transport.New(transport.Config{})
	if err != nil {
		return nil, err
	}
	h, err = hub.New(hub.Config{
		Transport:     sockets,
		Authenticator: tokens,
		OnAuthFailure: func(r *http.Request, result hub.AuthResult) {
			// Strangers can cause this, so it is no warning.
			slog.Debug("customauth: refused", "from", r.RemoteAddr, "error", result.Error)
		},
		OnMessage: func(ctx context.Context, c *hub.Client, f wire.Frame) (*hub.Message, error) {
			if f.Type != "say" {
				return nil, &hub.RequestError{Code: wire.ErrorUnknownType, Message: "the only type is say"}
			}
			_, err := h.SendToChannel(ctx, "lobby", hub.Message{Data: map[string]any{"from": c.UserID(), "text": f.Data}})
			return nil, err
		},
	})
	return h, err
}
