package tests_test

import (
	"net/http"
	"testing"
	"time"
)

// answers waits until a request is answered with a status.
func (p *program) answers(path string, want int) {
	p.t.Helper()
	for end := time.Now().Add(bound); ; {
		answer, err := http.Get(p.url + path)
		if err != nil {
			p.t.Fatal(err)
		}
		answer.Body.Close()
		if answer.StatusCode == want {
			return
		}
		if time.Now().After(end) {
			p.t.Fatalf("GET %s: got %d, want %d", path, answer.StatusCode, want)
		}
	}
}

// messagesCross posts to each gateway what a browser at the other has to show:
// to a channel, and to everybody.
func messagesCross(t *testing.T, first, second *program) {
	t.Helper()
	b := startBrowser(t)
	first.answers("/readyz", 200)
	second.answers("/readyz", 200)
	ann, ben := visit(b, first, "Ann", desktop, "light"), visit(b, second, "Ben", desktop, "dark")
	ann.join("news")
	ben.join("news")

	first.post("/publish", `{"channel":"news","data":"from the first"}`)
	ben.hears("from the first")
	ann.hears("from the first")
	second.post("/publish", `{"channel":"news","data":"from the second"}`)
	ann.hears("from the second")
	ben.hears("from the second")
	ann.say("hello Ben")
	ben.hears("hello Ben")

	ben.click("#rooms li:first-child button")
	first.post("/broadcast", `{"data":"to all of you"}`)
	ben.hears("to all of you")
	ann.noComplaints()
	ben.noComplaints()
}

func TestAMessagePostedToOneGatewayReachesABrowserOnTheOtherThroughNATS(t *testing.T) {
	binary := build(t, "gateway")
	first := start(t, binary, "-addr", "127.0.0.1:0", "-backplane", "nats", "-ready-needs-backplane")
	url, ok := first.Line("another gateway joins with -backplane nats -nats-url ")
	if !ok {
		t.Fatal("it does not say how another gateway joins")
	}
	second := start(t, binary, "-addr", "127.0.0.1:0", "-backplane", "nats", "-nats-url", url, "-ready-needs-backplane")
	messagesCross(t, first, second)

	// The server was the first one's.
	first.stop()
	second.answers("/readyz", 503)
	second.stop()
}
