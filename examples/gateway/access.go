package main

import (
	"crypto/sha256"
	"crypto/subtle"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
)

// access decides who may publish and see figures. With a key: who presents it.
// Without: programs on this machine, and the gateway's own page there. Pages of
// other origins never may, key or not: what a visitor's browser can reach is
// not for every page that it shows.
type access struct {
	key string
}

// only serves next to whom access is granted.
func (a access) only(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if p := a.refuse(r); p != nil {
			p.write(w)
			return
		}
		next(w, r)
	}
}

func (a access) refuse(r *http.Request) *problem {
	switch {
	case fromForeignPage(r):
		return &problem{status: http.StatusForbidden, code: "foreign_origin", message: "pages of other origins may not use this"}
	case a.key != "" && !presents(r, a.key):
		return &problem{status: http.StatusUnauthorized, code: "unauthorized", message: "the publish key is needed, as Authorization: Bearer KEY"}
	case a.key == "" && !local(r):
		return &problem{status: http.StatusForbidden, code: "local_only", message: "without a publish key this serves the gateway's own machine only; start the gateway with -publish-key"}
	}
	return nil
}

// fromForeignPage tells by what a browser adds and a page can't forge.
// Programs that are no browsers add neither header.
func fromForeignPage(r *http.Request) bool {
	switch r.Header.Get("Sec-Fetch-Site") {
	case "", "same-origin", "none":
	default:
		return true
	}
	switch origins := r.Header.Values("Origin"); len(origins) {
	case 0:
		return false
	case 1:
		// The scheme is not compared: behind a proxy that ends TLS the gateway
		// can't know it. Where it differs, a browser says so in Sec-Fetch-Site.
		origin, err := url.Parse(origins[0])
		return err != nil || origin.Host == "" || !strings.EqualFold(origin.Host, r.Host)
	default:
		return true
	}
}

// presents compares in constant time; hashing first hides the key's length.
func presents(r *http.Request, key string) bool {
	scheme, given, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	want, got := sha256.Sum256([]byte(key)), sha256.Sum256([]byte(strings.TrimSpace(given)))
	return subtle.ConstantTimeCompare(want[:], got[:]) == 1 && strings.EqualFold(scheme, "Bearer")
}

// local reports whether a request came from this machine. The peer alone does
// not tell: a proxy may stand here for somebody else, and a page may have made
// its own name resolve to this machine (DNS rebinding), which then is the Host.
func local(r *http.Request) bool {
	return loopback(r.RemoteAddr) && localName(r.Host) && !forwardedFromElsewhere(r.Header)
}

func loopback(hostport string) bool {
	host := hostport
	if h, _, err := net.SplitHostPort(hostport); err == nil {
		host = h
	}
	address, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil && address.Unmap().IsLoopback()
}

func localName(hostport string) bool {
	host := hostport
	if h, _, err := net.SplitHostPort(hostport); err == nil {
		host = h
	}
	return strings.EqualFold(host, "localhost") || loopback(hostport)
}

// unrebound refuses connections of a page that has made its own name resolve to
// this machine: to the hub it looks like the gateway's own page. Where everyone
// may connect, a visitor's browser must not be the way in for every page that it
// shows. A page can't add a proxy's headers, so what has some came by a proxy.
func unrebound(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Origin") != "" && loopback(r.RemoteAddr) && !localName(r.Host) && !forwardedFromElsewhere(r.Header) {
			(&problem{status: http.StatusForbidden, code: "foreign_host", message: "without -api-keys, pages connect to this machine by localhost or its address, or through a proxy that sets X-Forwarded-For"}).write(w)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// forwardedFromElsewhere reads what proxies say of where a request came from.
// Anything but a loop-back address is elsewhere, names and garbage too, and so
// is what only says that there was a proxy.
func forwardedFromElsewhere(h http.Header) bool {
	for _, name := range []string{"Via", "X-Forwarded-Proto", "X-Forwarded-Server", "X-Client-Ip", "True-Client-Ip", "Cf-Connecting-Ip"} {
		if len(h.Values(name)) > 0 {
			return true
		}
	}
	for _, name := range []string{"X-Forwarded-For", "X-Real-Ip"} {
		for _, list := range h.Values(name) {
			for address := range strings.SplitSeq(list, ",") {
				if !loopback(strings.TrimSpace(address)) {
					return true
				}
			}
		}
	}
	for _, name := range []string{"X-Forwarded-Host", "X-Original-Host"} {
		for _, host := range h.Values(name) {
			if !localName(strings.TrimSpace(host)) {
				return true
			}
		}
	}
	// RFC 7239: for=192.0.2.60;proto=http, for="[2001:db8::1]:47011"
	for _, list := range h.Values("Forwarded") {
		said := false
		for pair := range strings.FieldsFuncSeq(list, func(c rune) bool { return c == ',' || c == ';' }) {
			key, value, _ := strings.Cut(pair, "=")
			if !strings.EqualFold(strings.TrimSpace(key), "for") {
				continue
			}
			if said = true; !loopback(strings.Trim(strings.TrimSpace(value), `"`)) {
				return true
			}
		}
		if !said {
			return true
		}
	}
	return false
}
