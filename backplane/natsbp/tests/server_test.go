package tests

import (
	"fmt"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"forge.lthn.ai/core/go-ws/backplane/tests/netfault"
)

// hang is when a test gives up waiting.
const hang = time.Minute

// startServer runs a server within the test's process, on a port of its own
// choice unless o has one, until the test ends.
func startServer(t testing.TB, o server.Options) *server.Server {
	t.Helper()
	o.Host, o.NoLog, o.NoSigs = "127.0.0.1", true, true
	if o.Port == 0 {
		o.Port = server.RANDOM_PORT
	}
	s, err := server.NewServer(&o)
	if err != nil {
		t.Fatalf("nats-server: %v", err)
	}
	s.Start()
	if !s.ReadyForConnections(hang) {
		t.Fatal("nats-server: not ready for connections")
	}
	t.Cleanup(func() { stopServer(s) })
	return s
}

func stopServer(s *server.Server) {
	s.Shutdown()
	s.WaitForShutdown()
}

// address is where clients reach a server.
func address(s *server.Server) string { return s.Addr().String() }

func port(s *server.Server) int { return s.Addr().(*net.TCPAddr).Port }

// node is a server of a cluster. Clients reach it, and are told of it, by its
// proxy.
type node struct {
	*server.Server
	proxy *netfault.Proxy
}

// startCluster runs three servers that are joined by routes, and waits until
// each sees the others.
func startCluster(t testing.TB, with func(server.Options) server.Options) []node {
	t.Helper()
	var all []node
	var routes []*url.URL
	for i := range 3 {
		p := startProxy(t, "")
		s := startServer(t, with(server.Options{
			ServerName:      fmt.Sprintf("node-%d", i),
			ClientAdvertise: p.Addr(),
			Cluster:         server.ClusterOpts{Name: "test", Host: "127.0.0.1", Port: server.RANDOM_PORT},
			Routes:          routes,
		}))
		p.SetTarget(address(s))
		all = append(all, node{s, p})
		routes = append(routes, &url.URL{Scheme: "nats-route", Host: s.ClusterAddr().String()})
	}
	eventually(t, "three servers that see each other", func() bool {
		for _, n := range all {
			if len(peers(n.Server)) < 2 {
				return false
			}
		}
		return true
	})
	return all
}

// peers are the servers that one has routes to.
func peers(s *server.Server) map[string]bool {
	names := make(map[string]bool)
	routes, err := s.Routez(nil)
	if err != nil {
		return names
	}
	for _, r := range routes.Routes {
		names[r.RemoteName] = true
	}
	return names
}

// eventually waits for what nothing tells of.
func eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	pause := time.NewTicker(5 * time.Millisecond)
	defer pause.Stop()
	for end := time.Now().Add(hang); !condition(); <-pause.C {
		if time.Now().After(end) {
			t.Fatalf("got nothing for %v, want %s", hang, what)
		}
	}
}

// startProxy stands before an address until the test ends.
func startProxy(t testing.TB, target string) *netfault.Proxy {
	t.Helper()
	p, err := netfault.Listen(target)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Errorf("closing the proxy: %v", err)
		}
	})
	return p
}

func urlOf(addresses ...string) string {
	urls := make([]string, len(addresses))
	for i, a := range addresses {
		urls[i] = "nats://" + a
	}
	return strings.Join(urls, ",")
}
