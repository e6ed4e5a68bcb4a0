package hub

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

// originPattern is one entry of Config.AllowedOrigins.
type originPattern struct {
	any    bool
	scheme string
	// host without port; subdomains: any name below it.
	host       string
	subdomains bool
	// port, "*" for any.
	port string
}

func parseOrigins(patterns []string) ([]originPattern, error) {
	parsed := make([]originPattern, 0, len(patterns))
	for _, pattern := range patterns {
		p, err := parseOrigin(pattern)
		if err != nil {
			return nil, fmt.Errorf("%q: %w", pattern, err)
		}
		parsed = append(parsed, p)
	}
	return parsed, nil
}

func parseOrigin(pattern string) (originPattern, error) {
	if pattern == "*" {
		return originPattern{any: true}, nil
	}
	scheme, rest, ok := strings.Cut(strings.ToLower(pattern), "://")
	if !ok || !isScheme(scheme) {
		return originPattern{}, errors.New("an origin begins with a scheme, as in https://example.com")
	}
	p := originPattern{scheme: scheme}
	rest, p.subdomains = strings.CutPrefix(rest, "*.")
	p.host = rest
	if host, port, err := net.SplitHostPort(rest); err == nil {
		p.host, p.port = host, port
		if rest[0] == '[' {
			p.host = "[" + host + "]"
		}
		if n, err := strconv.ParseUint(port, 10, 16); port != "*" && (err != nil || n == 0 || port[0] == '0') {
			return originPattern{}, errors.New("a port is a number or *")
		}
	}
	if !isHost(p.host) {
		return originPattern{}, errors.New("an origin is a scheme, a host and perhaps a port, nothing else; " +
			"a name with other letters than ASCII's is written as browsers do, xn--…")
	}
	p.host = canonicalHost(strings.Trim(p.host, "[]"))
	if p.port == "" {
		p.port = defaultPort(scheme)
	}
	return p, nil
}

func isScheme(s string) bool {
	return s != "" && 'a' <= s[0] && s[0] <= 'z' && !strings.ContainsFunc(s, func(r rune) bool {
		return !('a' <= r && r <= 'z' || '0' <= r && r <= '9' || strings.ContainsRune("+-.", r))
	})
}

// isHost reports whether a host can be in an Origin header. A pattern that
// matches nothing would be a mistake that nobody sees.
func isHost(s string) bool {
	if inner, ok := strings.CutPrefix(s, "["); ok {
		a, err := netip.ParseAddr(strings.TrimSuffix(inner, "]"))
		return err == nil && a.Is6() && a.Zone() == "" && strings.HasSuffix(s, "]")
	}
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return r <= ' ' || r > '~' || strings.ContainsRune(":*/?#@[]\\%\"<>^|`{}", r)
	})
}

// canonicalHost is a host without brackets in lower case, an IPv6 address in its
// one form (RFC 5952).
func canonicalHost(host string) string {
	if strings.Contains(host, ":") {
		if a, err := netip.ParseAddr(host); err == nil {
			return a.String()
		}
	}
	return strings.ToLower(host)
}

func (p *originPattern) match(scheme, host, port string) bool {
	switch {
	case p.any:
		return true
	case p.scheme != scheme, p.port != "*" && p.port != port:
		return false
	case p.subdomains:
		return strings.HasSuffix(host, "."+p.host)
	}
	return p.host == host
}

func defaultPort(scheme string) string {
	switch scheme {
	case "http", "ws":
		return "80"
	case "https", "wss":
		return "443"
	}
	return ""
}

// originAllowed reports whether a request may come from the page that it says
// it comes from (RFC 6455, section 10.2). A page's own origin is the scheme,
// host and port of the request: a port or scheme that differs is another
// origin.
func (h *Hub) originAllowed(r *http.Request) bool {
	values := r.Header.Values("Origin")
	if len(values) == 0 {
		return true
	}
	if len(values) > 1 {
		return false
	}
	origin, err := url.Parse(values[0])
	if err != nil || origin.Scheme == "" || origin.Hostname() == "" {
		// "null" among them, which sandboxed pages send.
		return len(h.origins) > 0 && h.anyOrigin()
	}
	scheme, host, port := strings.ToLower(origin.Scheme), canonicalHost(origin.Hostname()), origin.Port()
	if port == "" {
		port = defaultPort(scheme)
	}
	own := &url.URL{Host: r.Host}
	ownScheme := h.requestScheme(r)
	ownPort := own.Port()
	if ownPort == "" {
		ownPort = defaultPort(ownScheme)
	}
	if scheme == ownScheme && host == canonicalHost(own.Hostname()) && port == ownPort {
		return true
	}
	for i := range h.origins {
		if h.origins[i].match(scheme, host, port) {
			return true
		}
	}
	return false
}

func (h *Hub) anyOrigin() bool {
	for i := range h.origins {
		if h.origins[i].any {
			return true
		}
	}
	return false
}

// requestScheme is how the client reached the server, before a trusted proxy
// took TLS off.
func (h *Hub) requestScheme(r *http.Request) string {
	if r.TLS != nil {
		return "https"
	}
	if h.trusted(peerAddress(r)) && strings.EqualFold(r.Header.Get("X-Forwarded-Proto"), "https") {
		return "https"
	}
	return "http"
}

// peerAddress is the address that the request's connection comes from.
func peerAddress(r *http.Request) netip.Addr {
	if ap, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
		return ap.Addr().Unmap()
	}
	// Middleware that sets RemoteAddr often leaves the port away.
	if a, err := netip.ParseAddr(r.RemoteAddr); err == nil {
		return a.Unmap()
	}
	return netip.Addr{}
}

func (h *Hub) trusted(a netip.Addr) bool {
	if !a.IsValid() {
		return false
	}
	for _, p := range h.cfg.TrustedProxies {
		if p.Contains(a.WithZone("")) {
			return true
		}
	}
	return false
}

// clientAddress is the client's address: of the addresses that trusted proxies
// added to X-Forwarded-For the last that is no trusted proxy's.
func (h *Hub) clientAddress(r *http.Request) netip.Addr {
	address := peerAddress(r)
	if !h.trusted(address) {
		return address
	}
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(hops) - 1; i >= 0; i-- {
		hop := strings.TrimSpace(hops[i])
		next, err := netip.ParseAddr(strings.Trim(hop, "[]"))
		if err != nil {
			ap, err := netip.ParseAddrPort(hop)
			if err != nil {
				return address
			}
			next = ap.Addr()
		}
		address = next.Unmap()
		if !h.trusted(address) {
			return address
		}
	}
	return address
}
