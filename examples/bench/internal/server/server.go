//go:build linux

// Package server has the servers that are measured, one file each: this
// repository's hub, others, and the floors below which no server can be.
package server

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"runtime/debug"
	"slices"
	"strings"
)

// Server is one that runs and has clients on channels.
type Server interface {
	// Publish sends a payload to all clients of a channel, whose name is "c"
	// and the number. The payload is the server's from then on.
	Publish(channel int, payload []byte) error
}

// Flusher is a Server that gathers what it publishes until Flush, which is
// called after each burst. Only a floor can know when a burst is over.
type Flusher interface {
	Flush() error
}

// Options are what a scenario asks of a server.
type Options struct {
	Listener net.Listener
	// Certificate is for those that speak TLS.
	Certificate tls.Certificate
	// Waiting is the most messages that may wait for one connection. Where a
	// server's own limit is lower, it is set to that.
	Waiting int
	// Bare makes floors send the payload alone, not in a frame of the hub's
	// protocol.
	Bare bool
}

// Kind is a server that can be started.
type Kind struct {
	Name string
	// About names what is measured and how it is configured.
	About string
	// Module is where its version is looked up; empty for the floors.
	Module string
	// Protocol that its clients speak.
	Protocol string
	// TLS, Deflate: what its clients ask for.
	TLS, Deflate bool
	Start        func(Options) (Server, error)
}

// Kinds are all servers, in the order in which they are measured.
var Kinds = []Kind{
	floor1, floorN, ours, oursTLS, oursDeflate,
	centrifugeDefault, centrifugeTuned, lxzan, gorilla, nhooyr,
	floor1TLS, floorNTLS,
}

// Find returns the kind of a name.
func Find(name string) (Kind, error) {
	i := slices.IndexFunc(Kinds, func(k Kind) bool { return k.Name == name })
	if i < 0 {
		return Kind{}, fmt.Errorf("server: there is no %q", name)
	}
	return Kinds[i], nil
}

// Version is the version of a module in this program.
func Version(module string) string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	for _, m := range info.Deps {
		if m.Path == module {
			if m.Replace != nil || m.Version == "(devel)" {
				return "this repository"
			}
			return m.Version
		}
	}
	return "unknown"
}

// serve answers requests on the options' listener for as long as the process
// lives.
func serve(o Options, secure bool, h http.Handler) {
	s := &http.Server{Handler: h}
	if secure {
		s.TLSConfig = &tls.Config{Certificates: []tls.Certificate{o.Certificate}}
		go s.ServeTLS(o.Listener, "", "")
		return
	}
	go s.Serve(o.Listener)
}

// channelNumbers reads what a client of the small hubs says to join: the names
// of channels with spaces between.
func channelNumbers(text string) (channels []int, err error) {
	for name := range strings.FieldsSeq(text) {
		var n int
		if _, err := fmt.Sscanf(name, "c%d", &n); err != nil {
			return nil, fmt.Errorf("server: joining %q: %w", name, err)
		}
		channels = append(channels, n)
	}
	return channels, nil
}

// joined answers such a client.
const joined = "joined"
