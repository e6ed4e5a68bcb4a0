package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"forge.lthn.ai/core/go-ws/examples/internal/natsserver"
	"forge.lthn.ai/core/go-ws/examples/internal/probe"
)

// invitation is what a gateway with a NATS server of its own says to others,
// and the rest of what it says.
func invitation(t *testing.T, args ...string) (url string, g *gateway) {
	t.Helper()
	out, said := probe.NewOutput(), &strings.Builder{}
	g = startSaying(t, out, io.MultiWriter(said, out), args...)
	_, rest, ok := strings.Cut(said.String(), "another gateway joins with -backplane nats -nats-url ")
	if !ok {
		t.Fatalf("got %q, want it to say how another gateway joins", said)
	}
	url, _, _ = strings.Cut(rest, "\n")
	return url, g
}

// crosses posts to one gateway and wants it at a client of the other.
func crosses(t *testing.T, from, to *gateway) {
	t.Helper()
	ann := to.dial()
	ann.Join("news")
	if answer := from.publish("/publish", `{"channel":"news","data":"hello"}`); answer.status != 200 {
		t.Fatalf("/publish: got %d %s, want 200", answer.status, answer.body)
	}
	if f := ann.Next("event"); string(f.Data) != `"hello"` {
		t.Errorf("got %s, want hello", f.Data)
	}
}

func TestTwoGatewaysMeetAtTheNATSServerOfOne(t *testing.T) {
	url, first := invitation(t, "-backplane", "nats")
	if !strings.HasPrefix(url, "nats://127.0.0.1:") {
		t.Fatalf("got %q, want an address of this machine alone", url)
	}
	second := start(t, "-backplane", "nats", "-nats-url", url)
	crosses(t, first, second)
	crosses(t, second, first)
}

func TestATokenLetsOtherMachinesJoinAndIsNotSaid(t *testing.T) {
	const token = "feather"
	said, first := invitation(t, "-backplane", "nats", "-nats-listen", "0.0.0.0:0", "-nats-token", token)
	if strings.Contains(said, token) || !strings.HasPrefix(said, "nats://TOKEN@") {
		t.Fatalf("got %q, want an address with TOKEN for the token", said)
	}
	address, _, _ := strings.Cut(strings.TrimPrefix(said, "nats://TOKEN@"), ",")
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	for _, wrong := range []string{"", "plume@"} {
		err := refusal(t, "-backplane", "nats", "-nats-url", "nats://"+wrong+"127.0.0.1:"+port)
		if err == nil {
			t.Errorf("joining with the token %q: got no error", wrong)
		} else if strings.Contains(err.Error(), "plume") {
			t.Errorf("got %v, want an error without what was given for the token", err)
		}
	}
	second := start(t, "-backplane", "nats", "-nats-url", "nats://"+token+"@127.0.0.1:"+port)
	crosses(t, first, second)
}

func TestTheOwnNATSServerTakesTheLargestPublish(t *testing.T) {
	const limit = 3 << 20
	url, first := invitation(t, "-backplane", "nats", "-max-publish-bytes", fmt.Sprint(limit))
	second := start(t, "-backplane", "nats", "-max-publish-bytes", fmt.Sprint(limit), "-nats-url", url)
	ann := second.dial()
	ann.Join("news")
	const rest = `{"channel":"news","data":""}`
	body := `{"channel":"news","data":"` + strings.Repeat("x", limit-len(rest)) + `"}`
	if answer := first.publish("/publish", body); answer.status != 200 {
		t.Fatalf("got %d %s, want 200", answer.status, answer.body)
	}
	ann.Next("event")
}

func TestMessageLargerThanTheBrokerTakesIsTooLarge(t *testing.T) {
	server, err := natsserver.Start(natsserver.Config{Listen: "127.0.0.1:0", MaxPayload: 64 << 10})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	g := start(t, "-backplane", "nats", "-nats-url", "nats://"+server.Addr())
	answer := g.publish("/publish", `{"channel":"news","data":"`+strings.Repeat("x", 64<<10)+`"}`)
	if answer.status != 413 || answer.code() != "too_large" {
		t.Errorf("got %d %.200s, want 413 too_large", answer.status, answer.body)
	}
}

func TestAPortThatIsTakenIsAnError(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	err = refusal(t, "-backplane", "nats", "-nats-listen", taken.Addr().String())
	if err == nil || !strings.Contains(err.Error(), "-nats-listen") || !strings.Contains(err.Error(), "in use") {
		t.Errorf("got %v, want an error that says that the address is in use", err)
	}
}

func TestTheOwnNATSServerEndsWithTheGateway(t *testing.T) {
	url, g := invitation(t, "-backplane", "nats")
	conn, err := net.DialTimeout("tcp", strings.TrimPrefix(url, "nats://"), probe.Bound)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	g.wantEnded()
	// The port is free then, and anybody may have it: this connection cannot be
	// mistaken.
	conn.SetReadDeadline(time.Now().Add(probe.Bound))
	if _, err := io.Copy(io.Discard, conn); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a connection to the server: got %v, want it closed", err)
	}
}

func TestErrorsDoNotShowPasswords(t *testing.T) {
	for _, url := range []string{
		"redis://ann:sesame@127.0.0.1:port/0", "redis://ann:sesame@127.0.0.1:1/x", "http://ann:sesame@127.0.0.1", "ann:sesame@127.0.0.1",
		"redis://ann:ses ame@127.0.0.1", "redis://ann:sesame%zz@127.0.0.1", "redis://ann:sesame@[::1", "redis://127.0.0.1?password=sesame",
	} {
		err := refusal(t, "-backplane", "redis", "-redis-url", url)
		if err == nil || strings.Contains(err.Error(), "ame") && strings.Contains(err.Error(), "ses") {
			t.Errorf("%s: got %v, want an error without the password", url, err)
		}
	}
	for _, url := range []string{
		"nats://ann:sesame@127.0.0.1:port", "http://ann:sesame@127.0.0.1", "nats://ann:ses ame@127.0.0.1", "nats://ann:sesame%zz@127.0.0.1", "nats://ann:sesame@[::1",
	} {
		err := refusal(t, "-backplane", "nats", "-nats-url", url)
		if err == nil || strings.Contains(err.Error(), "ame") && strings.Contains(err.Error(), "ses") {
			t.Errorf("%s: got %v, want an error without the password", url, err)
		}
	}
}
