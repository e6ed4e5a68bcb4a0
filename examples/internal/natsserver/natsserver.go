// Package natsserver runs a NATS server inside the process, so that an example
// with many hubs needs nothing installed.
package natsserver

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// maxPayload is the largest that NATS advises.
const maxPayload = 64 << 20

// Config says where a server listens and whom it lets in.
type Config struct {
	// Listen is host:port; port 0 picks a free one.
	Listen string
	// Token is what clients must have. Without, everybody who reaches the server
	// may read and write, so that Listen must be a loop-back address.
	Token string
	// MaxPayload is the largest message, in bytes, at most 64 MiB. Default 1 MiB.
	MaxPayload int
	// Logger hears of what goes wrong. Default slog.Default.
	Logger *slog.Logger
}

// Server is one that runs. Stop ends it.
type Server struct {
	server *server.Server
}

// Start starts a server and returns once clients may connect.
func Start(cfg Config) (*Server, error) {
	host, port, err := address(cfg)
	if err != nil {
		return nil, err
	}
	if port == 0 {
		port = server.RANDOM_PORT
	}
	s, err := server.NewServer(&server.Options{
		Host: host, Port: port, Authorization: cfg.Token,
		MaxPayload: int32(min(cfg.MaxPayload, maxPayload)),
		NoSigs:     true,
	})
	if err != nil {
		return nil, fmt.Errorf("nats-server: %w", err)
	}
	log := &log{to: cfg.Logger}
	if log.to == nil {
		log.to = slog.Default()
	}
	s.SetLogger(log, false, false)
	s.Start()
	if log.fatal != nil || !s.ReadyForConnections(10*time.Second) {
		s.Shutdown()
		return nil, errors.Join(log.fatal, errors.New("nats-server: it does not start"))
	}
	return &Server{s}, nil
}

func address(cfg Config) (host string, port int, err error) {
	host, portText, err := net.SplitHostPort(cfg.Listen)
	if err != nil {
		return "", 0, err
	}
	if port, err = strconv.Atoi(portText); err != nil || port < 0 || port > 65535 {
		return "", 0, fmt.Errorf("%q is no port", portText)
	}
	ip, err := netip.ParseAddr(host)
	if cfg.Token == "" && host != "localhost" && (err != nil || !ip.IsLoopback()) {
		return "", 0, fmt.Errorf("%q can be reached from other machines: that needs a token", cfg.Listen)
	}
	if host == "" {
		host = "0.0.0.0"
	}
	return host, port, nil
}

// Addr is host:port where the server listens, with the port that it has got.
func (s *Server) Addr() string { return s.server.Addr().String() }

// Stop ends the server and waits for its end. Its clients lose their connections.
func (s *Server) Stop() {
	s.server.Shutdown()
	s.server.WaitForShutdown()
}

// log hands on what matters. NATS says there that it can't listen, and nowhere
// else; it does so before Start returns.
type log struct {
	to    *slog.Logger
	fatal error
}

func (l *log) Fatalf(format string, args ...any) {
	l.fatal = fmt.Errorf("nats-server: "+format, args...)
}
func (l *log) Errorf(format string, args ...any) {
	l.to.Error("nats-server: " + fmt.Sprintf(format, args...))
}
func (l *log) Warnf(format string, args ...any) {
	l.to.Warn("nats-server: " + fmt.Sprintf(format, args...))
}
func (*log) Noticef(string, ...any) {}
func (*log) Debugf(string, ...any)  {}
func (*log) Tracef(string, ...any)  {}
