package main

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"forge.lthn.ai/core/go-ws/backplane"
)

func TestPublishReachesTheChannelAndBroadcastEverybody(t *testing.T) {
	g := start(t)
	ann, ben := g.dial(), g.dial()
	ann.Join("news")
	ben.Join("sport")
	answer := g.publish("/publish", `{"channel":"news","data":{"a":[1,"<b>"]},"id":"one"}`)
	if want := `{"id":"one"}` + "\n"; answer.status != http.StatusOK || answer.body != want {
		t.Errorf("publish: got %d %s, want 200 %s", answer.status, answer.body, want)
	}
	if f := ann.Next("event"); f.Channel != "news" || f.Timestamp == "" || !sameJSON(f.Data, `{"a":[1,"<b>"]}`) {
		t.Errorf("got %+v, want the event on news", f)
	}
	answer = g.publish("/broadcast", `{"data":"to all"}`)
	var sent struct{ ID string }
	if err := json.Unmarshal([]byte(answer.body), &sent); err != nil || answer.status != http.StatusOK || sent.ID == "" {
		t.Errorf("broadcast: got %d %s, want 200 and an id", answer.status, answer.body)
	}
	if f := ann.Next("event"); f.Channel != "" || !sameJSON(f.Data, `"to all"`) {
		t.Errorf("got %+v, want the broadcast", f)
	}
	// The channel's message did not come before it.
	if f := ben.Next("event"); !sameJSON(f.Data, `"to all"`) {
		t.Errorf("got %+v, want the broadcast alone", f)
	}
}

func TestAnIDIsDeliveredOnce(t *testing.T) {
	g := start(t)
	ann := g.dial()
	ann.Join("news")
	for range 3 {
		if answer := g.publish("/publish", `{"channel":"news","data":"first","id":"one"}`); answer.status != http.StatusOK {
			t.Fatalf("got %d %s, want 200", answer.status, answer.body)
		}
	}
	g.publish("/publish", `{"channel":"news","data":"second","id":"two"}`)
	for _, want := range []string{`"first"`, `"second"`} {
		if f := ann.Next("event"); !sameJSON(f.Data, want) {
			t.Errorf("got %s, want %s", f.Data, want)
		}
	}
}

func TestEveryJSONValueCanBeData(t *testing.T) {
	g := start(t)
	ann := g.dial()
	ann.Join("news")
	for _, data := range []string{`null`, `true`, `0`, `12345678901234567890`, `""`, `"\u0000é\ud83d\ude00"`, `[]`, `{}`, `{"data":{"data":1}}`} {
		if answer := g.publish("/publish", `{"channel":"news","data":`+data+`}`); answer.status != http.StatusOK {
			t.Errorf("%s: got %d %s, want 200", data, answer.status, answer.body)
			continue
		}
		if f := ann.Next("event"); !sameJSON(f.Data, data) {
			t.Errorf("got data %s, want %s", f.Data, data)
		}
	}
}

func TestRequestsThatAreWrongAreRefusedWithTheReason(t *testing.T) {
	g := start(t, "-max-publish-bytes", "2000")
	for _, c := range []struct {
		name, path, body string
		status           int
		code             string
	}{
		{"nothing", "/publish", ``, 400, "invalid_request"},
		{"no JSON", "/publish", `channel=news`, 400, "invalid_request"},
		{"JSON that is cut off", "/publish", `{"channel":"news","data":`, 400, "invalid_request"},
		{"no object", "/publish", `["news",1]`, 400, "invalid_request"},
		{"null", "/publish", `null`, 400, "invalid_request"},
		{"more behind it", "/publish", `{"channel":"news","data":1} {"channel":"news","data":2}`, 400, "invalid_request"},
		{"garbage behind it", "/publish", `{"channel":"news","data":1}]`, 400, "invalid_request"},
		{"an unknown field", "/publish", `{"channel":"news","data":1,"type":"ping"}`, 400, "invalid_request"},
		{"a field in capitals", "/publish", `{"Channel":"news","data":1}`, 400, "invalid_request"},
		{"no channel", "/publish", `{"data":1}`, 400, "invalid_request"},
		{"no data", "/publish", `{"channel":"news"}`, 400, "invalid_request"},
		{"a channel that is a number", "/publish", `{"channel":5,"data":1}`, 400, "invalid_request"},
		{"a channel that is null", "/publish", `{"channel":null,"data":1}`, 400, "invalid_request"},
		{"an id that is a number", "/publish", `{"channel":"news","data":1,"id":5}`, 400, "invalid_request"},
		{"bytes that are no UTF-8", "/publish", "{\"channel\":\"news\",\"data\":\"\xff\"}", 400, "invalid_request"},
		{"an empty channel", "/publish", `{"channel":"","data":1}`, 400, "invalid_channel"},
		{"a channel of the hub's own", "/publish", `{"channel":"$x","data":1}`, 400, "invalid_channel"},
		{"a channel that is too long", "/publish", `{"channel":"` + strings.Repeat("c", 600) + `","data":1}`, 400, "invalid_channel"},
		{"an id that is too long", "/publish", `{"channel":"news","data":1,"id":"` + strings.Repeat("i", 65) + `"}`, 400, "invalid_message"},
		{"a body that is too large", "/publish", `{"channel":"news","data":"` + strings.Repeat("x", 2000) + `"}`, 413, "too_large"},
		{"a broadcast to a channel", "/broadcast", `{"channel":"news","data":1}`, 400, "invalid_request"},
		{"a broadcast of nothing", "/broadcast", `{}`, 400, "invalid_request"},
	} {
		answer := g.publish(c.path, c.body)
		if answer.status != c.status || answer.code() != c.code {
			t.Errorf("%s: got %d %s, want %d %s", c.name, answer.status, answer.body, c.status, c.code)
		}
		if got := answer.header.Get("Content-Type"); got != "application/json" {
			t.Errorf("%s: got Content-Type %q, want application/json", c.name, got)
		}
	}
	if answer := g.ask(http.MethodGet, "/stats", ""); !strings.Contains(answer.body, `"published":0,`) {
		t.Errorf("something was published all the same: %s", answer.body)
	}
}

func TestMethodAndMediaTypeAreChecked(t *testing.T) {
	g := start(t)
	const body = `{"channel":"news","data":1}`
	for _, path := range []string{"/publish", "/broadcast"} {
		for _, method := range []string{"GET", "PUT", "DELETE", "OPTIONS"} {
			answer := g.ask(method, path, "", "Content-Type", "application/json")
			if answer.status != http.StatusMethodNotAllowed || answer.code() != "method_not_allowed" || answer.header.Get("Allow") != "POST" {
				t.Errorf("%s %s: got %d %s, Allow %q, want 405 and Allow POST", method, path, answer.status, answer.body, answer.header.Get("Allow"))
			}
		}
	}
	if answer := g.ask("POST", "/stats", ""); answer.status != http.StatusMethodNotAllowed || answer.header.Get("Allow") != "GET, HEAD" {
		t.Errorf("POST /stats: got %d, want 405", answer.status)
	}
	for kind, status := range map[string]int{
		"application/json":                   200,
		"Application/JSON; charset=utf-8":    200,
		"":                                   415,
		"text/plain":                         415,
		"application/x-www-form-urlencoded":  415,
		"multipart/form-data; boundary=----": 415,
		"application/json-seq":               415,
	} {
		answer := g.ask("POST", "/publish", body, "Content-Type", kind)
		if answer.status != status || (status == 415) != (answer.code() == "unsupported_media_type") {
			t.Errorf("Content-Type %q: got %d %s, want %d", kind, answer.status, answer.body, status)
		}
	}
}

func TestBodyOfExactlyTheLimitReachesClients(t *testing.T) {
	for _, limit := range []int{1 << 20, 3 << 20} {
		g := start(t, "-max-publish-bytes", fmt.Sprint(limit))
		ann := g.dial()
		ann.Join("news")
		const rest = `{"channel":"news","data":""}`
		text := strings.Repeat("x", limit-len(rest))
		answer := g.publish("/publish", `{"channel":"news","data":"`+text+`"}`)
		if answer.status != http.StatusOK {
			t.Errorf("a body of %d bytes: got %d %.200s, want 200", limit, answer.status, answer.body)
			continue
		}
		if f := ann.Next("event"); string(f.Data) != `"`+text+`"` {
			t.Errorf("a body of %d bytes: got other data, of %d bytes", limit, len(f.Data))
		}
	}
}

// breakable adds a backplane that a test can break to those that -backplane
// knows.
func breakable(t *testing.T) *backplane.Memory {
	bus := backplane.NewMemory(backplane.MemoryConfig{})
	backplanes["breakable"] = func(settings, *slog.Logger) (joint, error) { return joint{Backplane: bus.Join()}, nil }
	t.Cleanup(func() { delete(backplanes, "breakable") })
	return bus
}

func TestPublishWhileTheBackplaneIsAwaySaysSoAndCanBeRepeated(t *testing.T) {
	bus := breakable(t)
	g := start(t, "-backplane", "breakable")
	ann := g.dial()
	ann.Join("news")
	bus.Break()
	answer := g.publish("/publish", `{"channel":"news","data":1,"id":"one"}`)
	if answer.status != http.StatusServiceUnavailable || answer.code() != "not_propagated" || !strings.Contains(answer.body, `"id":"one"`) {
		t.Errorf("got %d %s, want 503 not_propagated with the id", answer.status, answer.body)
	}
	bus.Heal()
	if answer := g.publish("/publish", `{"channel":"news","data":1,"id":"one"}`); answer.status != http.StatusOK {
		t.Errorf("repeated: got %d %s, want 200", answer.status, answer.body)
	}
	g.publish("/publish", `{"channel":"news","data":2}`)
	for _, want := range []string{"1", "2"} {
		if f := ann.Next("event"); string(f.Data) != want {
			t.Errorf("got %s, want %s", f.Data, want)
		}
	}
}

func sameJSON(got json.RawMessage, want string) bool {
	var a, b any
	if json.Unmarshal(got, &a) != nil || json.Unmarshal([]byte(want), &b) != nil {
		return false
	}
	return fmt.Sprintf("%#v", a) == fmt.Sprintf("%#v", b)
}
