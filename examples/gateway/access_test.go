package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"forge.lthn.ai/core/go-ws/examples/internal/probe"
)

const body = `{"channel":"news","data":1}`

func TestPublishKeyIsAskedFor(t *testing.T) {
	g := start(t, "-publish-key", "quill")
	for header, status := range map[string]int{
		"Bearer quill":          200,
		"bearer quill":          200,
		"":                      401,
		"Bearer":                401,
		"Bearer ":               401,
		"Bearer Quill":          401,
		"Bearer quil":           401,
		"Bearer quillquill":     401,
		"Basic quill":           401,
		"quill":                 401,
		"Bearer quill, another": 401,
	} {
		for _, path := range []string{"/publish", "/stats"} {
			method, text := http.MethodPost, body
			if path == "/stats" {
				method, text = http.MethodGet, ""
			}
			answer := g.ask(method, path, text, "Content-Type", "application/json", "Authorization", header)
			if answer.status != status {
				t.Errorf("%s with %q: got %d %s, want %d", path, header, answer.status, answer.body, status)
			}
			if status == 401 && (answer.code() != "unauthorized" || !strings.HasPrefix(answer.header.Get("WWW-Authenticate"), "Bearer")) {
				t.Errorf("%s with %q: got %s and WWW-Authenticate %q", path, header, answer.body, answer.header.Get("WWW-Authenticate"))
			}
		}
	}
	if answer := g.publish("/broadcast", `{"data":1}`); answer.status != 401 {
		t.Errorf("/broadcast without the key: got %d, want 401", answer.status)
	}
	if answer := g.publish("/publish?publish-key=quill&token=quill", body); answer.status != 401 {
		t.Errorf("/publish with the key in the address: got %d, want 401", answer.status)
	}
}

// asked has the access rule judge a request without a network between, since
// the peer of a real one here is always this machine.
func asked(key, peer, host string, headers ...string) int {
	r := httptest.NewRequest(http.MethodPost, "http://"+host+"/publish", strings.NewReader(body))
	r.RemoteAddr = peer
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	access{key: key}.only(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(200) })(w, r)
	return w.Code
}

func TestWithoutAKeyOnlyTheMachineItselfIsServed(t *testing.T) {
	const here, at = "127.0.0.1:5000", "127.0.0.1:8080"
	for _, c := range []struct {
		name, peer, host string
		headers          []string
		want             int
	}{
		{"this machine", here, at, nil, 200},
		{"this machine by name", here, "localhost:8080", nil, 200},
		{"this machine by name, no port", here, "LOCALHOST", nil, 200},
		{"this machine by IPv6", "[::1]:5000", "[::1]:8080", nil, 200},
		{"this machine by mapped IPv6", "[::ffff:127.0.0.1]:5000", at, nil, 200},
		{"another loop-back address", "127.8.8.8:5000", at, nil, 200},
		{"another machine", "192.0.2.7:5000", at, nil, 403},
		{"another machine by IPv6", "[2001:db8::7]:5000", at, nil, 403},
		{"no address at all", "@", at, nil, 403},
		{"a rebound name", here, "attacker.example:8080", nil, 403},
		{"a rebound name like ours", here, "localhost.attacker.example", nil, 403},
		{"an address of the network", here, "192.0.2.7:8080", nil, 403},
		{"a proxy for another machine", here, at, []string{"X-Forwarded-For", "192.0.2.7"}, 403},
		{"a proxy for another machine that lies", here, at, []string{"X-Forwarded-For", "127.0.0.1, 192.0.2.7"}, 403},
		{"a proxy with two headers", here, at, []string{"X-Forwarded-For", "127.0.0.1", "X-Forwarded-For", "192.0.2.7"}, 403},
		{"a proxy that says garbage", here, at, []string{"X-Forwarded-For", "unknown"}, 403},
		{"a proxy that says nothing", here, at, []string{"X-Forwarded-For", ""}, 403},
		{"a proxy with X-Real-IP", here, at, []string{"X-Real-IP", "192.0.2.7"}, 403},
		{"a proxy with Forwarded", here, at, []string{"Forwarded", `for="[2001:db8::7]:4711";proto=http`}, 403},
		{"a chain of proxies with Forwarded", here, at, []string{"Forwarded", "for=127.0.0.1, for=192.0.2.7"}, 403},
		{"a proxy with Forwarded and no address", here, at, []string{"Forwarded", "for=_hidden"}, 403},
		{"a proxy with Forwarded and spaces", here, at, []string{"Forwarded", "for = 192.0.2.7"}, 403},
		{"a proxy with Forwarded and no for", here, at, []string{"Forwarded", "proto=https;host=public.example"}, 403},
		{"a proxy that says only that it is one", here, at, []string{"Via", "1.1 edge"}, 403},
		{"a proxy that says only how", here, at, []string{"X-Forwarded-Proto", "https"}, 403},
		{"a proxy for a foreign name", here, at, []string{"X-Forwarded-Host", "chat.example.com"}, 403},
		{"a proxy for this machine", here, at, []string{"X-Forwarded-For", "127.0.0.1", "X-Forwarded-Host", "localhost:9000", "Forwarded", "for=127.0.0.1"}, 200},
	} {
		if got := asked("", c.peer, c.host, c.headers...); got != c.want {
			t.Errorf("%s: got %d, want %d", c.name, got, c.want)
		}
	}
	// With a key it does not matter where a request comes from.
	if got := asked("quill", "192.0.2.7:5000", "chat.example.com", "Authorization", "Bearer quill", "X-Forwarded-For", "192.0.2.9"); got != 200 {
		t.Errorf("another machine with the key: got %d, want 200", got)
	}
}

func TestPagesOfForeignOriginsAreRefusedKeyOrNot(t *testing.T) {
	for _, c := range []struct {
		name    string
		headers []string
		want    int
	}{
		{"no page", nil, 200},
		{"the gateway's page", []string{"Origin", "http://127.0.0.1:8080", "Sec-Fetch-Site", "same-origin"}, 200},
		{"the gateway's page in an old browser", []string{"Origin", "http://127.0.0.1:8080"}, 200},
		{"the address bar", []string{"Sec-Fetch-Site", "none"}, 200},
		{"a foreign page", []string{"Origin", "https://attacker.example", "Sec-Fetch-Site", "cross-site"}, 403},
		{"a foreign page in an old browser", []string{"Origin", "https://attacker.example"}, 403},
		{"another port's page", []string{"Origin", "http://127.0.0.1:9090"}, 403},
		{"another port's page that sends no Origin", []string{"Sec-Fetch-Site", "same-site"}, 403},
		{"a page without an origin", []string{"Origin", "null"}, 403},
		{"two origins", []string{"Origin", "http://127.0.0.1:8080", "Origin", "https://attacker.example"}, 403},
		{"a foreign page that sends no Origin", []string{"Sec-Fetch-Site", "cross-site"}, 403},
		{"an origin that is none", []string{"Origin", "http://%zz"}, 403},
	} {
		for _, key := range []string{"", "quill"} {
			headers := append([]string{"Authorization", "Bearer quill"}, c.headers...)
			if got := asked(key, "127.0.0.1:5000", "127.0.0.1:8080", headers...); got != c.want {
				t.Errorf("%s, key %q: got %d, want %d", c.name, key, got, c.want)
			}
		}
	}
}

func TestForeignPagesGetTheReason(t *testing.T) {
	g := start(t)
	for _, path := range []string{"/publish", "/broadcast"} {
		if answer := g.publish(path, body, "Origin", "https://attacker.example"); answer.status != 403 || answer.code() != "foreign_origin" {
			t.Errorf("%s: got %d %s, want 403 foreign_origin", path, answer.status, answer.body)
		}
	}
	if answer := g.ask("GET", "/stats", "", "Sec-Fetch-Site", "cross-site"); answer.status != 403 || answer.code() != "foreign_origin" {
		t.Errorf("/stats: got %d %s, want 403 foreign_origin", answer.status, answer.body)
	}
	if answer := g.publish("/publish", body, "Host", "attacker.example"); answer.status != 403 || answer.code() != "local_only" {
		t.Errorf("rebound name: got %d %s, want 403 local_only", answer.status, answer.body)
	}
}

func TestAPageThatReboundItsNameMayNotConnect(t *testing.T) {
	const here = "127.0.0.1:5000"
	for _, c := range []struct {
		name, peer, host, origin string
		headers                  []string
		want                     int
	}{
		{"a rebound name", here, "attacker.example:8080", "http://attacker.example:8080", nil, 403},
		{"a program that sends no Origin", here, "attacker.example:8080", "", nil, 200},
		{"through a proxy on this machine", here, "chat.example", "https://chat.example", []string{"X-Forwarded-For", "192.0.2.1"}, 200},
		{"by name", here, "localhost:8080", "http://localhost:8080", nil, 200},
		{"from another machine", "192.0.2.7:5000", "chat.example", "http://chat.example", nil, 200},
	} {
		r := httptest.NewRequest(http.MethodGet, "/ws", nil)
		r.RemoteAddr, r.Host = c.peer, c.host
		if c.origin != "" {
			r.Header.Set("Origin", c.origin)
		}
		for i := 0; i < len(c.headers); i += 2 {
			r.Header.Add(c.headers[i], c.headers[i+1])
		}
		w := httptest.NewRecorder()
		unrebound(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})).ServeHTTP(w, r)
		if w.Code != c.want {
			t.Errorf("%s: got %d, want %d", c.name, w.Code, c.want)
		}
	}
	g := start(t)
	if _, got := probe.Try(t, g.url+"/ws", "Origin", g.url); got != 101 {
		t.Errorf("the gateway's own page: got %d, want 101", got)
	}
}

func TestAPIKeysDecideWhoConnects(t *testing.T) {
	g := start(t, "-api-keys", "sesame=ann,oath=ben")
	for _, c := range []struct {
		query   string
		headers []string
		want    int
	}{
		{"", nil, 401},
		{"", []string{"Authorization", "Bearer sesame"}, 101},
		{"", []string{"Authorization", "Bearer wrong"}, 401},
		{"?token=oath", nil, 101},
		{"?token=wrong", nil, 401},
		{"?token=", nil, 401},
		{"?key=oath", nil, 401},
	} {
		if _, got := probe.Try(t, g.url+"/ws"+c.query, c.headers...); got != c.want {
			t.Errorf("/ws%s %q: got %d, want %d", c.query, c.headers, got, c.want)
		}
	}
}

func TestAPIKeysGiveNoRightToPublish(t *testing.T) {
	g := start(t, "-api-keys", "sesame=ann", "-publish-key", "quill")
	if answer := g.publish("/publish", body, "Authorization", "Bearer sesame"); answer.status != 401 {
		t.Errorf("got %d, want 401", answer.status)
	}
}

func TestOriginsOfConnectionsAreChecked(t *testing.T) {
	g := start(t, "-allowed-origins", "https://*.example.com")
	for origin, want := range map[string]int{
		g.url:                         101,
		"https://chat.example.com":    101,
		"https://attacker.example":    403,
		"http://chat.example.com":     403,
		"https://chat.example.com:81": 403,
	} {
		if _, got := probe.Try(t, g.url+"/ws", "Origin", origin); got != want {
			t.Errorf("origin %s: got %d, want %d", origin, got, want)
		}
	}
}
