package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"forge.lthn.ai/core/go-ws/examples/internal/probe"
	"forge.lthn.ai/core/go-ws/hub"
)

func TestAStoppingGatewayIsNotReadyAndTellsItsClientsToComeBack(t *testing.T) {
	g := start(t, "-drain-timeout", "60s", "-drain-spread", "2s")
	if answer := g.ask("GET", "/readyz", ""); answer.status != 200 || !strings.Contains(answer.body, `"status":"ready"`) {
		t.Errorf("/readyz: got %d %s, want 200", answer.status, answer.body)
	}
	ann := g.dial()
	ann.Join("news")
	g.publish("/publish", `{"channel":"news","data":"the last words"}`)
	g.stop()
	if f := ann.Next("event"); string(f.Data) != `"the last words"` {
		t.Errorf("got %s, want the last words", f.Data)
	}
	// Ann has not answered the close yet, so the gateway still drains.
	code, reason := ann.CloseFrame()
	var hint struct {
		Reason           string
		ReconnectAfterMs *int
	}
	if err := json.Unmarshal([]byte(reason), &hint); err != nil || code != 1012 || hint.Reason != "restart" || hint.ReconnectAfterMs == nil {
		t.Errorf("close: got %d %q, want 1012 with a hint", code, reason)
	}
	for path, want := range map[string]int{"/readyz": 503, "/ws": 503, "/healthz": 200, "/stats": 200} {
		if answer := g.ask("GET", path, ""); answer.status != want {
			t.Errorf("%s while draining: got %d %s, want %d", path, answer.status, answer.body, want)
		}
	}
	ann.AnswerClose()
	if err := <-g.ended; err != nil {
		t.Errorf("run: %v", err)
	}
}

func TestReadinessFollowsTheBackplaneOnlyWhenAsked(t *testing.T) {
	for _, needs := range []bool{false, true} {
		bus := breakable(t)
		args := []string{"-backplane", "breakable"}
		want := 200
		if needs {
			args, want = append(args, "-ready-needs-backplane"), 503
		}
		g := start(t, args...)
		if answer := g.ask("GET", "/readyz", ""); answer.status != 200 {
			t.Errorf("needs %t, backplane there: got %d %s, want 200", needs, answer.status, answer.body)
		}
		bus.Break()
		if answer := g.ask("GET", "/readyz", ""); answer.status != want {
			t.Errorf("needs %t, backplane away: got %d %s, want %d", needs, answer.status, answer.body, want)
		}
		if answer := g.ask("GET", "/healthz", ""); answer.status != 200 || !strings.Contains(answer.body, `"backplane":{"configured":true,"healthy":false}`) {
			t.Errorf("/healthz, backplane away: got %d %s, want 200 and an unhealthy backplane", answer.status, answer.body)
		}
		bus.Heal()
		if answer := g.ask("GET", "/readyz", ""); answer.status != 200 {
			t.Errorf("needs %t, backplane back: got %d %s, want 200", needs, answer.status, answer.body)
		}
	}
}

func TestStatsCountWhatWasSent(t *testing.T) {
	g := start(t)
	ann, ben := g.dial(), g.dial()
	ann.Join("news")
	ben.Join("news")
	ben.Join("sport")
	g.publish("/publish", `{"channel":"news","data":1}`)
	g.publish("/publish", `{"channel":"nobody","data":1}`)
	ann.Next("event")
	ben.Next("event")
	// A message is counted just after the client has got it.
	var s figures
	for end := time.Now().Add(probe.Bound); s.Delivered < 5 && time.Now().Before(end); {
		if err := json.Unmarshal([]byte(g.ask("GET", "/stats", "").body), &s); err != nil {
			t.Fatal(err)
		}
	}
	if s.Clients != 2 || s.Channels != 2 || s.Subscriptions != 3 || s.Published != 2 || s.Delivered != 3+2 || s.FramesIn != 3 || !s.Backplane.Healthy {
		t.Errorf("got %+v, want 2 clients, 2 channels, 3 subscriptions, 2 published, 5 delivered, 3 frames in", s)
	}
	if len(s.TopChannels) != 2 || s.TopChannels[0] != (channelFigure{"news", 2}) || s.TopChannels[1] != (channelFigure{"sport", 1}) {
		t.Errorf("top channels: got %v, want news 2 and sport 1", s.TopChannels)
	}
}

func TestLimitsReachTheHub(t *testing.T) {
	for _, c := range []struct {
		args []string
		want int
	}{
		{[]string{"-max-clients", "1"}, 503},
		{[]string{"-max-clients-per-address", "1"}, 429},
		{[]string{"-max-clients-per-user", "1", "-api-keys", "sesame=ann"}, 429},
	} {
		g := start(t, c.args...)
		probe.Dial(t, g.url+"/ws?token=sesame")
		if _, got := probe.Try(t, g.url+"/ws?token=sesame"); got != c.want {
			t.Errorf("%q: the second client got %d, want %d", c.args, got, c.want)
		}
	}
	g := start(t, "-max-subscriptions", "1", "-max-message-bytes", "100")
	ann := g.dial()
	ann.Join("one")
	ann.Send(`{"type":"subscribe","data":"two"}`)
	if f := ann.Next("error"); !strings.Contains(string(f.Data), "too_many_subscriptions") {
		t.Errorf("got %s, want too_many_subscriptions", f.Data)
	}
	ann.Send(`{"type":"subscribe","data":"` + strings.Repeat("x", 200) + `"}`)
	if code, _ := ann.Closed(); code != 1009 {
		t.Errorf("a message that is too large: got close code %d, want 1009", code)
	}
	g = start(t, "-trusted-proxies", "127.0.0.1", "-max-clients-per-address", "1")
	g.dial("X-Forwarded-For", "192.0.2.1")
	if _, got := probe.Try(t, g.url+"/ws", "X-Forwarded-For", "192.0.2.2"); got != 101 {
		t.Errorf("another client behind the proxy: got %d, want 101", got)
	}
	if _, got := probe.Try(t, g.url+"/ws", "X-Forwarded-For", "192.0.2.1"); got != 429 {
		t.Errorf("the same client behind the proxy: got %d, want 429", got)
	}
}

// TestUnfinishedConnectionsKeepNobodyOut opens a thousand connections of which
// half say nothing and half begin a request that they never end. The gateway has
// all the patience with them, so that whoever waits for them hangs.
func TestUnfinishedConnectionsKeepNobodyOut(t *testing.T) {
	s, err := parse(flags(nil))
	if err != nil {
		t.Fatal(err)
	}
	out := probe.NewOutput()
	g := startBy(t, out, func(ctx context.Context) error { return play(ctx, s, time.Hour, out) })
	var last net.Conn
	for i := range 1000 {
		conn, err := net.DialTimeout("tcp", strings.TrimPrefix(g.url, "http://"), probe.Bound)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		if i%2 == 0 {
			if _, err := conn.Write([]byte("GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n")); err != nil {
				t.Fatal(err)
			}
		}
		last = conn
	}
	g.dial().Join("news")
	// Nor do they hold up the end, and none is left behind.
	g.wantEnded()
	last.SetReadDeadline(time.Now().Add(probe.Bound))
	if _, err := last.Read(make([]byte, 1)); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("a connection that sent nothing is still open")
	}
}

func TestPageIsServedUnderAStrictPolicy(t *testing.T) {
	g := start(t)
	for path, kind := range map[string]string{
		"/":                   "text/html; charset=utf-8",
		"/page/app.js":        "text/javascript; charset=utf-8",
		"/page/connection.js": "text/javascript; charset=utf-8",
		"/client.js":          "text/javascript; charset=utf-8",
		"/page/style.css":     "text/css; charset=utf-8",
		"/page/icon.svg":      "image/svg+xml",
	} {
		answer := g.ask("GET", path, "")
		if answer.status != 200 || answer.header.Get("Content-Type") != kind {
			t.Errorf("%s: got %d %s, want 200 %s", path, answer.status, answer.header.Get("Content-Type"), kind)
		}
		policy := answer.header.Get("Content-Security-Policy")
		if !strings.HasPrefix(policy, "default-src 'none';") || strings.Contains(policy, "unsafe") || strings.Contains(policy, "*") {
			t.Errorf("%s: got policy %q", path, policy)
		}
		if strings.Contains(strings.ReplaceAll(answer.body, "http://www.w3.org/2000/svg", ""), "//www") || strings.Contains(answer.body, "innerHTML") {
			t.Errorf("%s names a foreign host, or writes HTML", path)
		}
	}
	for _, path := range []string{"/page/", "/page", "/page/page.html", "/page/nosuch.js", "/page/../main.go", "/index.html", "/nosuch"} {
		if answer := g.ask("GET", path, ""); answer.status != http.StatusNotFound || answer.code() != "not_found" {
			t.Errorf("%s: got %d %.80s, want 404", path, answer.status, answer.body)
		}
	}
}

// unstartable is a backplane that can't start as it is configured.
type unstartable struct{ hub.Backplane }

func (unstartable) Start(context.Context, hub.BackplaneReceiver) error {
	return errors.New("no such broker")
}

func TestABackplaneThatCannotStartIsAnError(t *testing.T) {
	bus := breakable(t)
	backplanes["breakable"] = func(settings, *slog.Logger) (joint, error) {
		return joint{Backplane: unstartable{bus.Join()}}, nil
	}
	err := run(t.Context(), []string{"-addr", "127.0.0.1:0", "-backplane", "breakable", "-log-level", "error"}, io.Discard)
	if err == nil || !strings.Contains(err.Error(), "no such broker") {
		t.Errorf("got %v, want the backplane's error", err)
	}
}

func TestAHeaderThatIsTooLargeIsRefused(t *testing.T) {
	g := start(t)
	if answer := g.ask("GET", "/healthz", "", "X-Large", strings.Repeat("x", 2*maxHeader)); answer.status != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("got %d, want 431", answer.status)
	}
}

func TestAnAddressInUseIsAnError(t *testing.T) {
	g := start(t)
	err := run(t.Context(), []string{"-addr", strings.TrimPrefix(g.url, "http://")}, probe.NewOutput())
	if err == nil || !strings.Contains(err.Error(), "-addr") {
		t.Errorf("got %v, want an error that names -addr", err)
	}
}
