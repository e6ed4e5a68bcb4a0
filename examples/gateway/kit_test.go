package main

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"forge.lthn.ai/core/go-ws/examples/internal/probe"
)

// TestMain lets the test binary be the gateway, for tests that send signals.
func TestMain(m *testing.M) {
	if os.Getenv("GATEWAY_TEST_RUN_MAIN") != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// gateway is one that runs inside the test.
type gateway struct {
	t     *testing.T
	url   string
	stop  context.CancelFunc
	ended chan error
}

// start runs a gateway on a free port. The test's end stops it.
func start(t *testing.T, args ...string) *gateway {
	t.Helper()
	out := probe.NewOutput()
	return startSaying(t, out, out, args...)
}

// startSaying is start with what the gateway says going to a writer, which
// hands it on to out.
func startSaying(t *testing.T, out *probe.Output, to io.Writer, args ...string) *gateway {
	t.Helper()
	return startBy(t, out, func(ctx context.Context) error { return run(ctx, flags(args), to) })
}

// flags are those of every gateway in these tests, and some more.
func flags(more []string) []string {
	return append([]string{"-addr", "127.0.0.1:0", "-log-level", "error", "-drain-timeout", "100ms"}, more...)
}

func startBy(t *testing.T, out *probe.Output, run func(context.Context) error) *gateway {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	g := &gateway{t: t, stop: stop, ended: make(chan error, 1)}
	over := make(chan struct{})
	go func() {
		defer close(over)
		err := run(ctx)
		out.CloseWithError(err)
		g.ended <- err
	}()
	t.Cleanup(func() {
		stop()
		<-over
	})
	g.url = out.Address(t)
	return g
}

// wantEnded stops the gateway and wants it to end well.
func (g *gateway) wantEnded() {
	g.t.Helper()
	g.stop()
	select {
	case err := <-g.ended:
		if err != nil {
			g.t.Errorf("run: %v", err)
		}
	case <-time.After(probe.Bound):
		g.t.Fatalf("the gateway has not ended after %v", probe.Bound)
	}
}

// refusal is what a gateway says that does not start. One that starts is stopped
// some time, and says nothing.
func refusal(t *testing.T, args ...string) error {
	ctx, stop := context.WithTimeout(t.Context(), probe.Bound)
	defer stop()
	return run(ctx, append([]string{"-addr", "127.0.0.1:0", "-log-level", "error"}, args...), io.Discard)
}

// answered is what a request was answered.
type answered struct {
	status int
	header http.Header
	body   string
}

// code is the error's code, where the answer is one.
func (a answered) code() string {
	var body struct {
		Error struct{ Code, Message string }
	}
	if json.Unmarshal([]byte(a.body), &body) != nil || body.Error.Message == "" {
		return ""
	}
	return body.Error.Code
}

// ask sends a request. Headers come in pairs.
func (g *gateway) ask(method, path, body string, headers ...string) answered {
	g.t.Helper()
	r, err := http.NewRequestWithContext(g.t.Context(), method, g.url+path, strings.NewReader(body))
	if err != nil {
		g.t.Fatal(err)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		if headers[i] == "Host" {
			r.Host = headers[i+1]
		}
		r.Header.Add(headers[i], headers[i+1])
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		g.t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		g.t.Fatal(err)
	}
	return answered{answer.StatusCode, answer.Header, string(text)}
}

// publish posts JSON.
func (g *gateway) publish(path, body string, headers ...string) answered {
	g.t.Helper()
	return g.ask(http.MethodPost, path, body, append([]string{"Content-Type", "application/json"}, headers...)...)
}

func (g *gateway) dial(headers ...string) *probe.Client {
	g.t.Helper()
	return probe.Dial(g.t, g.url+"/ws", headers...)
}
