package natstest

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"forge.lthn.ai/core/go-ws/backplane/tests/netfault"
)

// Hang is when a test gives up waiting.
const Hang = time.Minute

// Start runs a server on 127.0.0.1 until the test ends, on a port of its own
// choice unless o has one. A server that was stopped can be started again on its
// port: see FreePort.
func Start(t testing.TB, o server.Options) *server.Server {
	t.Helper()
	o.Host, o.NoLog, o.NoSigs = "127.0.0.1", true, true
	o.AuthTimeout = Hang.Seconds() // a client that waits for a core is none to throw out
	if o.Port == 0 && !o.DontListen {
		o.Port = FreePort(t)
	}
	s, err := server.NewServer(&o)
	if err != nil {
		t.Fatalf("natstest: %v", err)
	}
	s.Start()
	t.Cleanup(func() { Stop(s) })
	if !s.ReadyForConnections(Hang) {
		t.Fatalf("natstest: the server on port %d is not ready for connections after %v", o.Port, Hang)
	}
	return s
}

// Stop stops a server and waits until nothing of it runs. It may be called more
// than once.
func Stop(s *server.Server) {
	s.Shutdown()
	s.WaitForShutdown()
}

// Addr is where clients reach a server, as host:port.
func Addr(s *server.Server) string { return s.Addr().String() }

// Port is the port that clients reach a server on.
func Port(s *server.Server) int { return s.Addr().(*net.TCPAddr).Port }

// URL names servers as natsbp.Config.URL does. An address may have credentials
// before it, as in user:password@host:port.
func URL(addresses ...string) string {
	urls := make([]string, len(addresses))
	for i, a := range addresses {
		urls[i] = "nats://" + a
	}
	return strings.Join(urls, ",")
}

// NoServer is an address where nobody listens.
const NoServer = "127.0.0.1:1"

// FreePort is a port where nobody listens now, out of those that the kernel
// gives to nobody who does not ask for them: while a server is away no
// connection of another program takes its port.
func FreePort(t testing.TB) int {
	t.Helper()
	const lowest = 10_000
	given := 32_768 // Linux's default
	if text, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range"); err == nil {
		if _, err := fmt.Sscan(string(text), &given); err != nil || given <= lowest {
			t.Fatalf("natstest: no ports below those that the kernel gives away: %q, %v", text, err)
		}
	}
	for range 1000 {
		port := lowest + rand.N(given-lowest)
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			continue // somebody has it
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		return port
	}
	t.Fatal("natstest: got no port, want a free one")
	return 0
}

// Proxy stands before an address until the test ends.
func Proxy(t testing.TB, target string) *netfault.Proxy {
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

// Goroutine tells the goroutines of servers and proxies, by their stack, from an
// adapter's.
func Goroutine(stack string) bool {
	return strings.Contains(stack, "nats-server/") || strings.Contains(stack, "/netfault.")
}

// Eventually waits for what nothing tells of: until the condition returns nil.
func Eventually(t testing.TB, what string, condition func() error) {
	t.Helper()
	pause := time.NewTicker(5 * time.Millisecond)
	defer pause.Stop()
	for end := time.Now().Add(Hang); ; <-pause.C {
		err := condition()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("got %v after %v, want %s", err, Hang, what)
		}
	}
}
