package hub_test

import (
	"net/netip"
	"strings"
	"testing"

	"forge.lthn.ai/core/go-ws/hub"
)

var proxies = []netip.Prefix{
	netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8"), netip.MustParsePrefix("fe80::/10"),
}

func TestTheClientsAddressIsTheLastThatNoTrustedProxyHas(t *testing.T) {
	for _, test := range []struct {
		name, from string
		forwarded  []string
		want       string
	}{
		{"no proxy", "192.0.2.1:99", nil, "192.0.2.1"},
		{"an IPv6 client", "[2001:db8::1]:99", nil, "2001:db8::1"},
		{"a mapped client", "[::ffff:192.0.2.1]:99", nil, "192.0.2.1"},
		{"a client with a zone", "[fe80::1%eth0]:99", nil, "fe80::1%eth0"},
		{"no port", "192.0.2.1", nil, "192.0.2.1"},
		{"a Unix socket", "@", nil, ""},
		{"nothing at all", "", nil, ""},
		{"an untrusted proxy", "192.0.2.1:99", []string{"198.51.100.7"}, "192.0.2.1"},
		{"a Unix socket is not trusted", "@", []string{"198.51.100.7"}, ""},
		{"a proxy that says nothing", "10.0.0.1:99", nil, "10.0.0.1"},
		{"one hop", "10.0.0.1:99", []string{"198.51.100.7"}, "198.51.100.7"},
		{"an IPv6 proxy", "[fd00::1]:99", []string{"198.51.100.7"}, "198.51.100.7"},
		{"a proxy with a zone", "[fe80::9%eth0]:99", []string{"198.51.100.7"}, "198.51.100.7"},
		{"a mapped proxy", "[::ffff:10.0.0.1]:99", []string{"198.51.100.7"}, "198.51.100.7"},
		{"several hops", "10.0.0.1:99", []string{"198.51.100.7, 10.0.0.3,10.0.0.2"}, "198.51.100.7"},
		{"several headers", "10.0.0.1:99", []string{"198.51.100.7", "10.0.0.3, 10.0.0.2"}, "198.51.100.7"},
		{"a spoofed left end", "10.0.0.1:99", []string{"203.0.113.5, 198.51.100.7"}, "198.51.100.7"},
		{"a spoofed proxy at the left end", "10.0.0.1:99", []string{"10.9.9.9, 198.51.100.7, 10.0.0.2"}, "198.51.100.7"},
		{"a spoofed header", "10.0.0.1:99", []string{"203.0.113.5", "198.51.100.7"}, "198.51.100.7"},
		{"garbage at the left end", "10.0.0.1:99", []string{"<script>, 198.51.100.7"}, "198.51.100.7"},
		{"garbage from the client", "10.0.0.1:99", []string{"unknown, 10.0.0.2"}, "10.0.0.2"},
		{"garbage alone", "10.0.0.1:99", []string{"unknown"}, "10.0.0.1"},
		{"an empty hop", "10.0.0.1:99", []string{"203.0.113.5,"}, "10.0.0.1"},
		{"all are proxies", "10.0.0.1:99", []string{"10.0.0.3, 10.0.0.2"}, "10.0.0.3"},
		{"a port", "10.0.0.1:99", []string{"198.51.100.7:4711"}, "198.51.100.7"},
		{"IPv6", "10.0.0.1:99", []string{"2001:db8::7"}, "2001:db8::7"},
		{"IPv6 in brackets", "10.0.0.1:99", []string{"[2001:db8::7]"}, "2001:db8::7"},
		{"IPv6 with a port", "10.0.0.1:99", []string{"[2001:db8::7]:4711"}, "2001:db8::7"},
		{"a mapped hop", "10.0.0.1:99", []string{"::ffff:198.51.100.7"}, "198.51.100.7"},
		{"a mapped proxy among the hops", "10.0.0.1:99", []string{"198.51.100.7, ::ffff:10.0.0.2"}, "198.51.100.7"},
		{"a proxy with a zone among the hops", "10.0.0.1:99", []string{"198.51.100.7, fe80::9%eth0"}, "198.51.100.7"},
	} {
		h := built(t, hub.Config{TrustedProxies: proxies})
		r := upgrade("example.com", test.from)
		for _, f := range test.forwarded {
			r.Header.Add("X-Forwarded-For", f)
		}
		want, _ := netip.ParseAddr(test.want)
		if got := h.ClientAddress(r); got != want {
			t.Errorf("%s: got %v, want %v", test.name, got, want)
		}
	}
}

func TestForwardedForIsNotReadWithoutTrustedProxies(t *testing.T) {
	h := built(t, hub.Config{})
	for _, from := range []string{"127.0.0.1:99", "[::1]:99", "10.0.0.1:99"} {
		r := upgrade("example.com", from, "X-Forwarded-For", "198.51.100.7")
		if got, want := h.ClientAddress(r), netip.MustParseAddrPort(from).Addr(); got != want {
			t.Errorf("from %s: got %v, want %v", from, got, want)
		}
	}
}

func FuzzForwardedFor(f *testing.F) {
	for _, seed := range [][2]string{
		{"10.0.0.1:99", "198.51.100.7, 10.0.0.2"}, {"192.0.2.1:99", "198.51.100.7"}, {"[fd00::1%x]:1", "[::1]:80, fe80::1%eth0"},
		{"@", ",,,"}, {"10.0.0.1", "::ffff:10.0.0.1%z"}, {"10.0.0.1:0", "[[10.0.0.1]]"},
	} {
		f.Add(seed[0], seed[1])
	}
	h, alone := built(f, hub.Config{TrustedProxies: proxies}), built(f, hub.Config{})
	f.Fuzz(func(t *testing.T, from, forwarded string) {
		r := upgrade("example.com", from)
		peer := alone.ClientAddress(r)
		r.Header.Set("X-Forwarded-For", forwarded)
		got := h.ClientAddress(r)
		if got.Is4In6() {
			t.Errorf("by %q of %q: got %v, want it unmapped", from, forwarded, got)
		}
		if alone.ClientAddress(r) != peer {
			t.Errorf("by %q of %q: got the header believed without trusted proxies", from, forwarded)
		}
		trusted := false
		for _, p := range proxies {
			trusted = trusted || p.Contains(peer.WithZone(""))
		}
		if !trusted && got != peer {
			t.Errorf("by %q of %q: got %v, want %v: the peer is not trusted", from, forwarded, got, peer)
		}
		if trusted && !got.IsValid() {
			t.Errorf("by %q of %q: got no address, want at least the peer's", from, forwarded)
		}
		// Whatever a client puts in front changes nothing once its own address
		// stands behind it.
		r.Header.Set("X-Forwarded-For", forwarded+", 198.51.100.7")
		want := peer
		if trusted {
			want = netip.MustParseAddr("198.51.100.7")
		}
		if got := h.ClientAddress(r); got != want {
			t.Errorf("by %q of %q: got %v, want %v", from, r.Header["X-Forwarded-For"], got, want)
		}
		r.Header["X-Forwarded-For"] = append(strings.Split(forwarded, ","), "198.51.100.7")
		if got := h.ClientAddress(r); got != want {
			t.Errorf("by %q of %q: got %v, want %v", from, r.Header["X-Forwarded-For"], got, want)
		}
	})
}
