package main

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"forge.lthn.ai/core/go-ws/examples/bench/internal/control"
)

// The child processes are this test, started once more.
func TestMain(m *testing.M) {
	if role := os.Getenv(control.Child); role != "" {
		exit(runChild(role))
	}
	os.Exit(m.Run())
}

// Every message must reach every hub, and nothing be lost, or run returns an error.
func TestEveryBrokerEndToEnd(t *testing.T) {
	for _, broker := range []string{"redis", "nats"} {
		t.Run(broker, func(t *testing.T) {
			var out bytes.Buffer
			if err := run([]string{"-broker", broker, "-during", "100ms", "-channels", "50"}, &out, t.Output()); err != nil {
				t.Fatal(err)
			}
			for _, p := range paces {
				if got, want := strings.Count(out.String(), p.about), 2; got != want {
					t.Errorf("lines for %q: got %d, want %d in\n%s", p.about, got, want, out.String())
				}
			}
		})
	}
}

func TestAnUnknownBrokerIsRefused(t *testing.T) {
	if err := run([]string{"-broker", "none"}, t.Output(), t.Output()); err == nil {
		t.Error("-broker none: got no error, want one")
	}
}
