package balancers_test

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"
)

// gateway is a hub in a process of its own.
type gateway struct {
	*process
	addr string
}

// pair starts two gateways which Redis joins.
func pair(t *testing.T, args ...string) (first, second *gateway) {
	t.Helper()
	redis := onFreePort(t, func(port string) (string, bool) {
		p := launch(t, nil, "redis-server", "--port", port, "--bind", "127.0.0.1", "--dir", t.TempDir(), "--save", "", "--appendonly", "no")
		_, ready := p.says(t, "Ready to accept connections")
		return "redis://127.0.0.1:" + port, ready
	})
	args = append([]string{"-addr", "127.0.0.1:0", "-backplane", "redis", "-redis-url", redis, "-trusted-proxies", "127.0.0.1", "-log-level", "warn", "-ready-needs-backplane"}, args...)
	return startGateway(t, args), startGateway(t, args)
}

func startGateway(t *testing.T, args []string) *gateway {
	t.Helper()
	binary, err := gatewayBinary()
	if err != nil {
		t.Fatal(err)
	}
	g := &gateway{process: launch(t, nil, binary, args...)}
	const word = "listening on http://"
	said, ok := g.says(t, word)
	for ok && !strings.Contains(said[strings.Index(said, word):], "\n") {
		said, ok = g.says(t, "\n")
	}
	if !ok {
		t.Fatalf("the gateway has ended: %s", said)
	}
	_, rest, _ := strings.Cut(said, word)
	g.addr, _, _ = strings.Cut(rest, "\n")
	g.ready(t)
	return g
}

// ready waits until the gateway has its broker.
func (g *gateway) ready(t *testing.T) {
	t.Helper()
	hung := time.After(bound)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		answer, err := http.Get("http://" + g.addr + "/readyz")
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if answer.StatusCode == http.StatusOK {
			return
		}
		select {
		case <-tick.C:
		case <-hung:
			t.Fatalf("/readyz of %s: got %d for %v, want 200", g.addr, answer.StatusCode, bound)
		}
	}
}

// connected is how many clients have ever connected here.
func (g *gateway) connected(t *testing.T) int {
	t.Helper()
	answer, err := http.Get("http://" + g.addr + "/stats")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	var figures struct{ Connected int }
	if err := json.NewDecoder(answer.Body).Decode(&figures); err != nil {
		t.Fatal(err)
	}
	return figures.Connected
}

func (g *gateway) publish(t *testing.T, channel, text string) {
	t.Helper()
	body, err := json.Marshal(map[string]string{"channel": channel, "data": text})
	if err != nil {
		t.Fatal(err)
	}
	answer, err := http.Post("http://"+g.addr+"/publish", "application/json", strings.NewReader(string(body)))
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if said, _ := io.ReadAll(answer.Body); answer.StatusCode != http.StatusOK {
		t.Fatalf("POST /publish: got %d %s, want 200", answer.StatusCode, said)
	}
}

// stop ends the gateway as a service manager does.
func (g *gateway) stop(t *testing.T) {
	t.Helper()
	if err := g.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
}
