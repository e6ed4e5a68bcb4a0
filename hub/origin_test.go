package hub_test

import (
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"forge.lthn.ai/core/go-ws/hub"
)

// upgrade is a request for host, from an address, with headers given as pairs.
func upgrade(host, from string, headers ...string) *http.Request {
	r := &http.Request{Method: http.MethodGet, URL: &url.URL{Path: "/ws"}, Host: host, RemoteAddr: from, Header: http.Header{}}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	return r
}

func TestOriginsAreTheSameOnlyWhenSchemeHostAndPortAre(t *testing.T) {
	h := built(t, hub.Config{})
	for _, test := range []struct {
		host, origin string
		tls, want    bool
	}{
		{host: "example.com", origin: "http://example.com", want: true},
		{host: "example.com", origin: "http://example.com:80", want: true},
		{host: "example.com:80", origin: "http://example.com", want: true},
		{host: "example.com:8080", origin: "http://example.com:8080", want: true},
		{host: "EXAMPLE.com", origin: "http://example.COM", want: true},
		{host: "example.com", origin: "HTTP://EXAMPLE.COM", want: true},
		{host: "[::1]:8080", origin: "http://[::1]:8080", want: true},
		{host: "[2001:DB8::1]", origin: "http://[2001:db8::1]:80", want: true},
		{host: "example.com", origin: "https://example.com", tls: true, want: true},
		{host: "example.com", origin: "https://example.com:443", tls: true, want: true},
		{host: "example.com:443", origin: "https://example.com", tls: true, want: true},

		{host: "example.com", origin: "https://example.com"},
		{host: "example.com", origin: "http://example.com", tls: true},
		{host: "example.com", origin: "ws://example.com"},
		{host: "example.com", origin: "http://example.com:8080"},
		{host: "example.com:8080", origin: "http://example.com"},
		{host: "example.com:443", origin: "http://example.com:443", tls: true},
		{host: "example.com", origin: "http://example.com:443", tls: true},
		{host: "example.com", origin: "http://www.example.com"},
		{host: "www.example.com", origin: "http://example.com"},
		{host: "example.com", origin: "http://example.com.evil.org"},
		{host: "example.com", origin: "http://evilexample.com"},
		{host: "example.com", origin: "http://example.com@evil.org"},
		{host: "example.com", origin: "http://example.com:80@evil.org"},
		{host: "[::1]:8080", origin: "http://[::2]:8080"},
		{host: "example.com", origin: "null"},
		{host: "example.com", origin: ""},
		{host: "example.com", origin: "example.com"},
		{host: "example.com", origin: "//example.com"},
		{host: "example.com", origin: "http:///example.com"},
		{host: "example.com", origin: "http://example.com:80x"},
		{host: "example.com", origin: "http://exa mple.com"},
		{host: "", origin: "http://"},
		{host: "", origin: "http://:80"},
	} {
		r := upgrade(test.host, "192.0.2.1:1000", "Origin", test.origin)
		if test.tls {
			r.TLS = &tls.ConnectionState{}
		}
		if got := h.OriginAllowed(r); got != test.want {
			t.Errorf("origin %q at host %q, TLS %v: got allowed %v, want %v", test.origin, test.host, test.tls, got, test.want)
		}
	}
}

func TestARequestWithoutOriginIsNoPages(t *testing.T) {
	h := built(t, hub.Config{})
	if !h.OriginAllowed(upgrade("example.com", "192.0.2.1:1000")) {
		t.Error("no Origin header: got refused, want allowed")
	}
	for _, cfg := range []hub.Config{{}, {AllowedOrigins: []string{"*"}}} {
		h := built(t, cfg)
		r := upgrade("example.com", "192.0.2.1:1000", "Origin", "http://example.com", "Origin", "http://example.com")
		if h.OriginAllowed(r) {
			t.Errorf("two Origin headers with %v: got allowed, want refused", cfg.AllowedOrigins)
		}
	}
}

func TestOriginPatternsAllowWhatTheySayAndNoMore(t *testing.T) {
	for _, test := range []struct {
		pattern             string
		allowed, disallowed []string
	}{
		{
			pattern:    "https://example.com",
			allowed:    []string{"https://example.com", "https://example.com:443", "HTTPS://Example.Com"},
			disallowed: []string{"http://example.com", "https://example.com:8443", "https://a.example.com", "https://example.com.evil.org", "null"},
		},
		{
			pattern:    "HTTPS://Example.com:8443",
			allowed:    []string{"https://example.com:8443"},
			disallowed: []string{"https://example.com", "http://example.com:8443"},
		},
		{
			pattern:    "https://*.example.com",
			allowed:    []string{"https://a.example.com", "https://a.b.example.com"},
			disallowed: []string{"https://example.com", "https://evilexample.com", "https://a.example.com.evil.org", "https://a.example.com:444", "http://a.example.com"},
		},
		{
			pattern:    "http://localhost:*",
			allowed:    []string{"http://localhost", "http://localhost:3000", "http://localhost:65535"},
			disallowed: []string{"https://localhost:3000", "http://a.localhost:3000", "http://127.0.0.1:3000"},
		},
		{
			pattern:    "http://[2001:DB8::1]:*",
			allowed:    []string{"http://[2001:db8::1]", "http://[2001:db8::1]:3000"},
			disallowed: []string{"http://[2001:db8::2]:3000"},
		},
		{
			pattern:    "https://[::1]",
			allowed:    []string{"https://[::1]", "https://[::1]:443", "https://[0:0:0:0:0:0:0:1]"},
			disallowed: []string{"https://[::1]:444", "http://[::1]"},
		},
		{
			pattern:    "https://xn--bcher-kva.example",
			allowed:    []string{"https://xn--bcher-kva.example"},
			disallowed: []string{"https://bucher.example"},
		},
		{
			pattern:    "chrome-extension://abcdefghijklmnop",
			allowed:    []string{"chrome-extension://abcdefghijklmnop"},
			disallowed: []string{"chrome-extension://ponmlkjihgfedcba", "https://abcdefghijklmnop"},
		},
		{
			pattern: "*",
			allowed: []string{"https://anything.example:1", "http://[::1]:9", "null", "file://"},
		},
	} {
		h := built(t, hub.Config{AllowedOrigins: []string{"https://other.example", test.pattern}})
		for _, origin := range append(test.allowed, "https://other.example", "http://hub.example") {
			if !h.OriginAllowed(upgrade("hub.example", "192.0.2.1:1000", "Origin", origin)) {
				t.Errorf("pattern %q: got origin %q refused, want allowed", test.pattern, origin)
			}
		}
		for _, origin := range test.disallowed {
			if h.OriginAllowed(upgrade("hub.example", "192.0.2.1:1000", "Origin", origin)) {
				t.Errorf("pattern %q: got origin %q allowed, want refused", test.pattern, origin)
			}
		}
	}
}

func TestOriginPatternsThatMatchNothingAreRefused(t *testing.T) {
	for _, pattern := range []string{
		"", "null", "example.com", "*.example.com", "//example.com", "://example.com", "https://", "https://*", "https://*.",
		"https://*.*.com", "https://a.*.com", "https://example.com/", "https://example.com/chat", "https://example.com?x",
		"https://example.com#x", "https://user@example.com", "https://exa mple.com", "https://example.com:abc",
		"https://example.com:0", "https://example.com:0443", "4://example.com", "https://example.com:65536", "https://example.com:-1", "https://example.com:80*",
		"https://example.com:", "https://example.com:*:80", "https://[::1", "https://::1]", "https://[::g]", "https://1:2:3", "https://::1", "https://[a]:80", "https://[1.2.3.4]",
		"https://[fe80::1%eth0]", "*://example.com", "ht tp://example.com", "https://bücher.example", "https://example.com\n", "https://%65xample.com",
	} {
		_, err := hub.New(hub.Config{Transport: nullTransport{}, AllowedOrigins: []string{"https://fine.example", pattern}})
		if err == nil || !strings.Contains(err.Error(), "Config.AllowedOrigins") {
			t.Errorf("pattern %q: got error %v, want one that names AllowedOrigins", pattern, err)
		}
	}
}

// nullTransport is there, and no more.
type nullTransport struct{ hub.Transport }

func TestForwardedProtoIsBelievedFromTrustedProxiesAlone(t *testing.T) {
	trusting := hub.Config{TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}}
	for _, test := range []struct {
		from, proto, origin string
		want                bool
	}{
		{"10.1.2.3:99", "https", "https://example.com", true},
		{"10.1.2.3:99", "HTTPS", "https://example.com:443", true},
		{"[::ffff:10.1.2.3]:99", "https", "https://example.com", true},
		{"[fd00::1]:99", "https", "https://example.com", true},
		{"10.1.2.3:99", "https", "http://example.com", false},
		{"10.1.2.3:99", "http", "http://example.com", true},
		{"10.1.2.3:99", "ftp", "ftp://example.com", false},
		{"192.0.2.1:99", "https", "https://example.com", false},
		{"192.0.2.1:99", "https", "http://example.com", true},
		{"@", "https", "https://example.com", false},
	} {
		h := built(t, trusting)
		r := upgrade("example.com", test.from, "Origin", test.origin, "X-Forwarded-Proto", test.proto)
		if got := h.OriginAllowed(r); got != test.want {
			t.Errorf("origin %s, by %s which says %s: got allowed %v, want %v", test.origin, test.from, test.proto, got, test.want)
		}
	}
}

// referenceOrigin says what a page's own origin is in another way than the hub.
func referenceOrigin(origin, host string) bool {
	canonical := func(s string) (string, bool) {
		u, err := url.Parse(s)
		if err != nil || u.Host == "" || u.Scheme == "" {
			return "", false
		}
		port := u.Port()
		if port == "" {
			port = map[string]string{"http": "80", "https": "443", "ws": "80", "wss": "443"}[strings.ToLower(u.Scheme)]
		}
		host := u.Hostname()
		if a, err := netip.ParseAddr(host); err == nil && a.Is6() {
			host = a.StringExpanded()
		}
		return strings.ToLower(u.Scheme + "\x00" + host + "\x00" + port), true
	}
	a, ok := canonical(origin)
	b, ok2 := canonical("http://" + host)
	return ok && ok2 && a == b
}

func FuzzOrigin(f *testing.F) {
	for _, seed := range [][3]string{
		{"http://example.com", "example.com", "https://*.example.com"}, {"null", "example.com", "*"},
		{"https://[::1]:8080", "[::1]:8080", "http://localhost:*"}, {"http://a@b", "b", "https://[::1]:8443"},
		{"http://%41", "a", "://"}, {"http://a:80", "a", "a"},
	} {
		f.Add(seed[0], seed[1], seed[2])
	}
	plain, open := built(f, hub.Config{}), built(f, hub.Config{AllowedOrigins: []string{"*"}})
	f.Fuzz(func(t *testing.T, origin, host, pattern string) {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Host = host
		r.Header.Set("Origin", origin)
		own := plain.OriginAllowed(r)
		if own && !referenceOrigin(origin, host) {
			t.Errorf("origin %q at %q: got allowed, want refused", origin, host)
		}
		if !open.OriginAllowed(r) {
			t.Errorf("origin %q with *: got refused, want allowed", origin)
		}
		h, err := hub.New(hub.Config{Transport: nullTransport{}, AllowedOrigins: []string{pattern}})
		if err != nil {
			return
		}
		if own && !h.OriginAllowed(r) {
			t.Errorf("origin %q at %q with pattern %q: got refused, want allowed: it is the page's own", origin, host, pattern)
		}
		// A pattern without a star allows the origin that it spells.
		if !strings.Contains(pattern, "*") {
			r.Header.Set("Origin", pattern)
			if !h.OriginAllowed(r) {
				t.Errorf("origin and pattern %q: got refused, want allowed", pattern)
			}
			r.Header.Set("Origin", pattern+".evil.example")
			if h.OriginAllowed(r) && !plain.OriginAllowed(r) {
				t.Errorf("pattern %q: got its name with more behind it allowed, want refused", pattern)
			}
		}
	})
}
