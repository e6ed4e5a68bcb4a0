package balancers_test

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"forge.lthn.ai/core/go-ws/examples/tests/internal/child"
)

// gateway is a hub in a process of its own.
type gateway struct {
	*child.Process
	addr string
}

// pair starts two gateways which Redis joins.
func pair(t *testing.T, args ...string) (first, second *gateway) {
	t.Helper()
	_, addr := child.Redis(t)
	args = append([]string{"-addr", "127.0.0.1:0", "-backplane", "redis", "-redis-url", "redis://" + addr, "-trusted-proxies", "127.0.0.1", "-log-level", "warn", "-ready-needs-backplane"}, args...)
	return startGateway(t, args), startGateway(t, args)
}

func startGateway(t *testing.T, args []string) *gateway {
	t.Helper()
	binary, err := gatewayBinary()
	if err != nil {
		t.Fatal(err)
	}
	g := &gateway{Process: child.Start(t, nil, binary, args...)}
	addr, listens := g.Line("listening on http://")
	if !listens {
		t.Fatal("the gateway has ended")
	}
	g.addr = addr
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
