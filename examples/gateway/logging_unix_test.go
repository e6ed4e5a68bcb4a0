//go:build unix

package main

import (
	"bytes"
	"log/slog"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"forge.lthn.ai/core/go-ws/examples/internal/natsserver"
	"forge.lthn.ai/core/go-ws/examples/internal/probe"
)

// logged is what a gateway logs from its start to its end, between which it has
// had its backplane.
func logged(t *testing.T, args ...string) string {
	t.Helper()
	log := &bytes.Buffer{}
	cmd, wait, url := spawnLogging(t, log, append(args, "-log-level", "info", "-ready-needs-backplane", "-drain-timeout", "100ms")...)
	hung := time.After(probe.Bound)
	for status := 0; status != http.StatusOK; {
		answer, err := http.Get(url + "/readyz")
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		select {
		case <-hung:
			t.Fatalf("/readyz: got %d for %v, want 200", answer.StatusCode, probe.Bound)
		case <-time.After(5 * time.Millisecond):
			status = answer.StatusCode
		}
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := wait(); err != nil {
		t.Fatalf("got %v, want exit code 0", err)
	}
	return log.String()
}

func TestAGatewayThatIsAloneLogsNoConnection(t *testing.T) {
	if got := logged(t); strings.Contains(got, "backplane") || !strings.Contains(got, "hub draining") {
		t.Errorf("-backplane memory: got %q, want the drain and no word of a backplane", got)
	}
	server, err := natsserver.Start(natsserver.Config{Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	if got := logged(t, "-backplane", "nats", "-nats-url", "nats://"+server.Addr()); !strings.Contains(got, "backplane connected") {
		t.Errorf("-backplane nats: got %q, want it to say that the backplane is connected", got)
	}
}

func TestLoggersDerivedFromALonelyOneAreLonely(t *testing.T) {
	log := &bytes.Buffer{}
	logger := slog.New(lonely{slog.NewTextHandler(log, nil)}).With("hub", "one").WithGroup("more")
	logger.Info("backplane connected")
	logger.Info("hub draining")
	if got := log.String(); strings.Contains(got, "backplane") || !strings.Contains(got, "hub draining") {
		t.Errorf("got %q, want the drain alone", got)
	}
}
