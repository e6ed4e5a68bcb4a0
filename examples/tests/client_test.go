package tests_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"sync"
	"testing"
)

// site is a page that has the JavaScript client and nothing else, and the way
// from it to a hub, which may change and be cut.
type site struct {
	*httptest.Server

	mu     sync.Mutex
	hub    *url.URL // nil: nobody is there
	tokens []string // what each attempt to connect has shown
	ways   map[int]context.CancelFunc
}

func newSite(t *testing.T) *site {
	s := &site{ways: make(map[int]context.CancelFunc)}
	mux := http.NewServeMux()
	mux.HandleFunc("/client.js", func(w http.ResponseWriter, r *http.Request) {
		http.ServeFile(w, r, "../internal/clientjs/client.js")
	})
	mux.HandleFunc("/{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Write([]byte(`<!doctype html><title>client</title><link rel="icon" href="data:,">
			<script type="module">import { Client } from "./client.js"; window.Client = Client;</script>`))
	})
	mux.HandleFunc("/ws", func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		hub := s.hub
		way, end := context.WithCancel(r.Context())
		defer end()
		n := len(s.tokens)
		s.ways[n] = end
		s.tokens = append(s.tokens, r.URL.Query().Get("token"))
		s.mu.Unlock()
		defer func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			delete(s.ways, n)
		}()
		if hub == nil {
			http.Error(w, "no hub", http.StatusBadGateway)
			return
		}
		(&httputil.ReverseProxy{
			Rewrite: func(r *httputil.ProxyRequest) {
				r.SetURL(hub)
				r.Out.Host = r.In.Host // the page's origin is the hub's own
			},
			ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) },
		}).ServeHTTP(w, r.WithContext(way))
	})
	s.Server = httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s
}

// lead leads to a gateway from now on, or with nil to nobody.
func (s *site) lead(p *program) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hub = nil
	if p != nil {
		s.hub = &url.URL{Scheme: "http", Host: p.host()}
	}
}

// cut ends every connection between the page and the hub.
func (s *site) cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, end := range s.ways {
		end()
	}
}

func (s *site) shown() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.tokens)
}

// client opens the site's page and makes a client there. What it hears, how
// often it was subscribed, the states it was in and the errors are in seen.
func (s *site) client(b *browser, options string) *page {
	b.t.Helper()
	p := b.newPage("client", desktop, "light")
	p.open(s.URL)
	p.eval(nil, `() => {
		window.seen = { heard: [], subscribed: 0, states: [], errors: [] };
		window.client = new Client({ url: "ws", ...`+options+` });
		client.on("statechange", ({ state }) => seen.states.push(state));
		client.on("error", ({ code }) => seen.errors.push(code));
		client.subscribe("news", ({ data }) => seen.heard.push(data), { onSubscribed: () => seen.subscribed++ });
	}`, nil)
	return p
}

func (p *page) subscribedTimes(n int) {
	p.b.t.Helper()
	p.wait(`n => seen.subscribed === n`, n)
}

func (p *page) heard(n int) {
	p.b.t.Helper()
	p.wait(`n => seen.heard.length >= n`, n)
	var got []int
	p.eval(&got, `() => seen.heard`, nil)
	want := make([]int, n)
	for i := range want {
		want[i] = i
	}
	if !slices.Equal(got, want) {
		p.b.t.Fatalf("heard: got %v, want %v", got, want)
	}
}

func TestAPageStaysLiveWhileItsGatewayIsRestartedTenTimes(t *testing.T) {
	binary := build(t, "gateway")
	gateway := start(t, binary, "-addr", "127.0.0.1:0", "-drain-spread", "500ms")
	s := newSite(t)
	s.lead(gateway)
	b := startBrowser(t)
	ann := s.client(b, `{ initialBackoff: 50, maxBackoff: 500 }`)
	ann.subscribedTimes(1)
	for i := range 10 {
		gateway.post("/publish", fmt.Sprintf(`{"channel":"news","data":%d}`, i))
		ann.heard(i + 1)
		s.lead(nil)
		if i%2 == 1 {
			s.cut() // as a crash does; otherwise the page gets a hint when to come back
		}
		gateway.stop()
		ann.wait(`() => client.state !== "connected"`, nil)
		gateway = start(t, binary, "-addr", "127.0.0.1:0", "-drain-spread", "500ms")
		s.lead(gateway)
		ann.subscribedTimes(i + 2)
	}
	gateway.post("/publish", `{"channel":"news","data":10}`)
	ann.heard(11)
	if got := gateway.stats().Clients; got != 1 {
		t.Errorf("clients of the last gateway: got %d, want 1", got)
	}
	ann.noComplaints()
}

func TestAPageIsBackAtOnceWhenItsNetworkIs(t *testing.T) {
	gateway := start(t, build(t, "gateway"), "-addr", "127.0.0.1:0")
	s := newSite(t)
	s.lead(gateway)
	b := startBrowser(t)
	// By itself it would come back after an hour.
	ann := s.client(b, `{ initialBackoff: 3_600_000, maxBackoff: 3_600_000, jitter: false }`)
	ann.subscribedTimes(1)
	for i, back := range []string{"online", "visible"} {
		if back == "online" {
			b.do(nil, ann.key, "offline", true)
			ann.wait(`() => !navigator.onLine`, nil)
		}
		s.cut()
		ann.wait(`() => client.state === "disconnected"`, nil)
		if back == "online" {
			b.do(nil, ann.key, "offline", false)
		} else {
			ann.eval(nil, `() => { document.dispatchEvent(new Event("visibilitychange")) }`, nil)
		}
		ann.subscribedTimes(i + 2)
	}
	gateway.post("/publish", `{"channel":"news","data":0}`)
	ann.heard(1)
	ann.noComplaints()
}

func TestAPageWithRefusedCredentialsAsksForNewOnes(t *testing.T) {
	gateway := start(t, build(t, "gateway"), "-addr", "127.0.0.1:0", "-api-keys", "sesame=ann", "-publish-key", "quill")
	s := newSite(t)
	s.lead(gateway)
	b := startBrowser(t)
	ann := s.client(b, `{ initialBackoff: 50, maxBackoff: 500, getToken: async () => ["stale", "wrong", "sesame"][window.asked = (window.asked ?? -1) + 1] }`)
	ann.subscribedTimes(1)
	if got, want := s.shown(), []string{"stale", "wrong", "sesame"}; !slices.Equal(got, want) {
		t.Errorf("tokens: got %q, want %q", got, want)
	}
	var got []string
	ann.eval(&got, `() => seen.errors`, nil)
	if want := []string{"unreachable", "unreachable"}; !slices.Equal(got, want) {
		t.Errorf("errors: got %q, want %q", got, want)
	}
	ann.noComplaints()
}
