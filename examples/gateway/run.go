package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"

	"forge.lthn.ai/core/go-ws/hub"
	"forge.lthn.ai/core/go-ws/transport"
)

const (
	// headerTime is how long a connection may take to send a request's header:
	// one that never does is closed and keeps nobody else out.
	headerTime = 10 * time.Second
	// requestTime bounds reading a request and writing its answer. It does not
	// bound a WebSocket connection, which the hub takes over.
	requestTime = 30 * time.Second
	idleTime    = 60 * time.Second
	maxHeader   = 16 << 10
	// lastRequests is how long plain requests have to end once the hub has.
	lastRequests = time.Second
)

// run is the gateway, from reading its flags to its end. It returns nil when
// ctx has ended and all clients are gone.
func run(ctx context.Context, args []string, stdout io.Writer) error {
	s, err := parse(args)
	if err != nil {
		return err
	}
	return play(ctx, s, headerTime, stdout)
}

// play is run with flags that have been read.
func play(ctx context.Context, s settings, header time.Duration, stdout io.Writer) error {
	logger := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: s.logLevel.Level}))
	plane, err := backplanes[s.backplane](s, logger)
	if err != nil {
		return fmt.Errorf("gateway: -backplane %s: %w", s.backplane, err)
	}
	if plane.close != nil {
		defer plane.close()
	}
	sockets, err := transport.New(transport.Config{})
	if err != nil {
		return fmt.Errorf("gateway: %w", err)
	}
	h, err := hub.New(s.hubConfig(sockets, plane.Backplane, logger))
	if err != nil {
		return fmt.Errorf("gateway: %w", err)
	}
	listener, err := net.Listen("tcp", s.addr)
	if err != nil {
		return fmt.Errorf("gateway: -addr: %w", err)
	}
	if plane.note != "" {
		fmt.Fprintln(stdout, plane.note)
	}
	return serve(ctx, listener, h, newServer(routes(s, h), header, logger), stdout)
}

func newServer(handler http.Handler, header time.Duration, logger *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: header,
		ReadTimeout:       requestTime,
		WriteTimeout:      requestTime,
		IdleTimeout:       idleTime,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(logger.Handler(), slog.LevelDebug),
	}
}

// serve runs hub and server until ctx ends. The server outlives the hub, so
// that /readyz tells a load balancer of the drain while it lasts.
func serve(ctx context.Context, listener net.Listener, h *hub.Hub, server *http.Server, stdout io.Writer) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	hubEnded, serverEnded := make(chan error, 1), make(chan error, 1)
	go func() {
		hubEnded <- h.Run(ctx)
		cancel()
	}()
	go func() {
		serverEnded <- server.Serve(listener)
		cancel()
	}()
	select {
	case <-h.Started():
		fmt.Fprintf(stdout, "listening on http://%s\n", listener.Addr())
	case <-ctx.Done():
	}
	hubErr := <-hubEnded
	last, done := context.WithTimeout(context.Background(), lastRequests)
	defer done()
	if server.Shutdown(last) != nil {
		// Somebody keeps a connection that sends no request: cut it.
		server.Close()
	}
	serverErr := <-serverEnded
	if errors.Is(serverErr, http.ErrServerClosed) {
		serverErr = nil
	}
	if err := errors.Join(hubErr, serverErr); err != nil {
		return fmt.Errorf("gateway: %w", err)
	}
	return nil
}
