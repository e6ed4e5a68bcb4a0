package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"forge.lthn.ai/core/go-ws/examples/internal/probe"
)

// start runs the program until the test's end, and wants it to end well.
func start(t *testing.T) (url string) {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	out, ended := probe.NewOutput(), make(chan error, 1)
	go func() {
		err := run(ctx, []string{"-addr", "127.0.0.1:0"}, out)
		out.CloseWithError(err)
		ended <- err
	}()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("run: %v", err)
		}
	})
	return out.Address(t)
}

// visitors are one at each hub, on the channel news.
func visitors(t *testing.T, url string) []*probe.Client {
	t.Helper()
	var all []*probe.Client
	for i := range hubs {
		c := probe.Dial(t, fmt.Sprintf("%s/hub/%d/ws", url, i+1))
		c.Send(`{"type":"subscribe","data":"news"}`)
		next(t, c, "subscribed")
		all = append(all, c)
	}
	return all
}

// next reads the next message but those of the hub's health, which come when
// they like.
func next(t *testing.T, c *probe.Client, kind string) probe.Frame {
	t.Helper()
	for {
		f := c.Any()
		if f.Type == kind {
			return f
		}
		if f.Type != "health" {
			t.Fatalf("got %+v, want a message of type %s", f, kind)
		}
	}
}

func post(t *testing.T, url string, headers ...string) (status int, body string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		if headers[i] == "Host" {
			r.Host = headers[i+1]
		}
		r.Header.Set(headers[i], headers[i+1])
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(text)
}

// say publishes at a hub.
func say(from *probe.Client, text string) {
	from.Send(`{"type":"say","channel":"news","id":"` + text + `","data":{"from":1,"text":"` + text + `"}}`)
}

// answered waits for what its sender is answered, which is when the broker has
// what was said, or does not.
func answered(from *probe.Client, text string) string {
	for {
		if f := from.Any(); f.ID == text {
			return f.Type
		}
	}
}

// hears waits for what was said.
func hears(t *testing.T, c *probe.Client, text string) {
	t.Helper()
	if f := next(t, c, "event"); string(f.Data) != `{"from":1,"text":"`+text+`"}` {
		t.Errorf("got %s, want %s", f.Data, text)
	}
}

// health waits until a hub says that its health is this.
func health(c *probe.Client, want bool) {
	for {
		f := c.Next("health")
		if strings.Contains(string(f.Data), fmt.Sprintf(`"healthy":%t`, want)) {
			return
		}
	}
}

// look waits until a hub's figures are these.
func look(t *testing.T, c *probe.Client, what string, good func(figures) bool) {
	t.Helper()
	var last figures
	// A hub takes no more than 100 frames a second for long.
	pause := time.NewTicker(20 * time.Millisecond)
	defer pause.Stop()
	for end := time.Now().Add(probe.Bound); time.Now().Before(end); <-pause.C {
		c.Send(`{"type":"look","id":"look"}`)
		if err := json.Unmarshal(next(t, c, "look").Data, &last); err != nil {
			t.Fatal(err)
		}
		if good(last) {
			return
		}
	}
	t.Fatalf("got %+v, want %s", last, what)
}

func TestThreeHubsAreOneUntilTheBrokerStopsAndAgainWhenItIsBack(t *testing.T) {
	url := start(t)
	all := visitors(t, url)
	everywhere := func(f figures) bool {
		return f.Healthy && f.Hubs == hubs && f.Here == 1 && f.Everywhere == hubs && f.Answered == hubs
	}
	for _, c := range all {
		look(t, c, "3 clients on 3 hubs", everywhere)
	}
	say(all[0], "one")
	for _, c := range all {
		hears(t, c, "one")
	}
	if got := answered(all[0], "one"); got != "reply" {
		t.Errorf("saying something: got %q, want a reply", got)
	}

	if status, body := post(t, url+"/broker/stop"); status != 200 || !strings.Contains(body, `"running":false`) {
		t.Fatalf("stopping the broker: got %d %s", status, body)
	}
	for _, c := range all {
		health(c, false)
		look(t, c, "a hub that is alone", func(f figures) bool {
			return !f.Healthy && f.Everywhere == 1 && f.Answered == 1 && f.Disruptions > 0
		})
	}
	say(all[0], "two")
	if got := answered(all[0], "two"); got != "error" {
		t.Errorf("saying something that others do not get: got %q, want an error", got)
	}

	if status, body := post(t, url+"/broker/start"); status != 200 || !strings.Contains(body, `"running":true`) {
		t.Fatalf("starting the broker: got %d %s", status, body)
	}
	for _, c := range all {
		health(c, true)
	}
	for _, c := range all {
		look(t, c, "3 clients on 3 hubs", everywhere)
	}
	say(all[0], "three")
	for _, c := range all[1:] {
		hears(t, c, "three")
	}
}

func TestWhoIsAloneIsHeardByTheOwnHub(t *testing.T) {
	url := start(t)
	all := visitors(t, url)
	post(t, url+"/broker/stop")
	health(all[0], false)
	say(all[0], "alone")
	hears(t, all[0], "alone")
}

func TestForeignPagesCannotStopTheBroker(t *testing.T) {
	url := start(t)
	for _, headers := range [][]string{
		{"Origin", "https://attacker.example"},
		{"Sec-Fetch-Site", "cross-site"},
		{"Host", "attacker.example"},
		{"Host", "localhost.attacker.example:80"},
	} {
		if status, body := post(t, url+"/broker/stop", headers...); status != 403 {
			t.Errorf("%v: got %d %s, want 403", headers, status, body)
		}
	}
	if _, status := probe.Try(t, url+"/hub/1/ws", "Origin", "https://attacker.example"); status != 403 {
		t.Errorf("connecting: got %d, want 403", status)
	}
	if _, body := post(t, url+"/broker/start"); !strings.Contains(body, `"running":true`) {
		t.Errorf("got %s, want the broker to run still", body)
	}
}

func TestThePageIsServedUnderAStrictPolicy(t *testing.T) {
	url := start(t)
	for path, kind := range map[string]string{"/": "text/html", "/page/app.js": "text/javascript", "/client.js": "text/javascript", "/page/style.css": "text/css"} {
		answer, err := http.Get(url + path)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		policy := answer.Header.Get("Content-Security-Policy")
		if answer.StatusCode != 200 || answer.Header.Get("Content-Type") != kind+"; charset=utf-8" ||
			!strings.HasPrefix(policy, "default-src 'none';") || strings.Contains(policy, "unsafe") {
			t.Errorf("%s: got %d %s under %q", path, answer.StatusCode, answer.Header.Get("Content-Type"), policy)
		}
	}
}
