package transport

import (
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strings"
)

// handshake is what an upgrade request asks for and gets (RFC 6455, section
// 4.2). The library's own makes a connection of the library's each time.
type handshake struct {
	key         string
	subprotocol string // as the client wrote it
	deflate     bool
}

// shake reads the request. The status is that of the error.
func shake(r *http.Request, offered []string, compression bool) (h handshake, status int, err error) {
	keys := r.Header["Sec-Websocket-Key"]
	switch {
	case r.ProtoMajor != 1:
		return h, http.StatusHTTPVersionNotSupported, fmt.Errorf("WebSocket needs an HTTP/1.1 upgrade, not %s", r.Proto)
	case r.ProtoMinor < 1, !hasToken(r.Header["Connection"], "upgrade"), !hasToken(r.Header["Upgrade"], "websocket"):
		return h, http.StatusUpgradeRequired, errors.New("not a request for an upgrade to WebSocket")
	case r.Method != http.MethodGet:
		return h, http.StatusMethodNotAllowed, fmt.Errorf("an upgrade request's method is GET, not %q", r.Method)
	case r.Header.Get("Sec-Websocket-Version") != "13":
		return h, http.StatusBadRequest, errors.New("only version 13 of WebSocket is supported")
	case len(keys) != 1:
		return h, http.StatusBadRequest, errors.New("an upgrade request has one Sec-WebSocket-Key")
	case r.ContentLength != 0 || len(r.TransferEncoding) > 0:
		// Its bytes would be taken for frames.
		return h, http.StatusBadRequest, errors.New("an upgrade request has no body")
	}
	h.key = trim(keys[0])
	var decoded [18]byte // of 24 digits
	if len(h.key) != base64.StdEncoding.EncodedLen(16) {
		return h, http.StatusBadRequest, errors.New("Sec-WebSocket-Key is not 16 bytes in base64")
	}
	if n, err := base64.StdEncoding.Decode(decoded[:], []byte(h.key)); err != nil || n != 16 {
		return h, http.StatusBadRequest, errors.New("Sec-WebSocket-Key is not 16 bytes in base64")
	}
	for _, p := range offered {
		if t, ok := findToken(r.Header["Sec-Websocket-Protocol"], p); ok {
			h.subprotocol = t
			break
		}
	}
	h.deflate = compression && takesDeflate(r.Header["Sec-Websocket-Extensions"])
	return h, 0, nil
}

func hasToken(lines []string, token string) bool {
	_, ok := findToken(lines, token)
	return ok
}

// findToken looks for an element of a list, without regard to the case of ASCII
// letters. Unicode has others that fold to them, and other spaces, with which a
// proxy in front sees no upgrade.
func findToken(lines []string, token string) (as string, ok bool) {
	for _, line := range lines {
		for one := range strings.SplitSeq(line, ",") {
			if one = trim(one); len(one) == len(token) && strings.EqualFold(one, token) {
				return one, true
			}
		}
	}
	return "", false
}

// trim takes off what may stand around an element (RFC 9110, section 5.6.3).
func trim(s string) string { return strings.Trim(s, " \t") }

// takesDeflate reports whether one of the offers of permessage-deflate can be
// met (RFC 7692, section 7.1). A window of the client's is read whatever its
// size; our own has 32 KiB.
func takesDeflate(lines []string) bool {
	for _, line := range lines {
		for offer := range strings.SplitSeq(line, ",") {
			name, params, _ := strings.Cut(offer, ";")
			if trim(name) == "permessage-deflate" && canMeet(params) {
				return true
			}
		}
	}
	return false
}

// canMeet looks at an offer's parameters. One that is unknown, comes twice or has
// a value that it can't have makes the offer one to decline.
func canMeet(params string) bool {
	seen := make(map[string]bool, 4)
	for p := range strings.SplitSeq(params, ";") {
		name, value, valued := strings.Cut(trim(p), "=")
		if name == "" && !valued {
			continue
		}
		ok := !seen[name]
		seen[name] = true
		switch name {
		case "client_no_context_takeover", "server_no_context_takeover":
			ok = ok && !valued
		case "client_max_window_bits":
			ok = ok && (!valued || isWindow(value))
		case "server_max_window_bits":
			ok = ok && value == "15"
		default:
			ok = false
		}
		if !ok {
			return false
		}
	}
	return true
}

func isWindow(bits string) bool {
	switch bits {
	case "8", "9", "10", "11", "12", "13", "14", "15":
		return true
	}
	return false
}

// deflateAnswer is what both sides then do.
const deflateAnswer = "permessage-deflate; client_no_context_takeover; server_no_context_takeover"

// answer is the response. header has what middleware wants in it.
func (h *handshake) answer(header http.Header) []byte {
	sum := sha1.New()
	sum.Write([]byte(h.key))
	sum.Write([]byte("258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	var digest [sha1.Size]byte
	b := make([]byte, 0, 256)
	b = append(b, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nSec-Websocket-Accept: "...)
	b = base64.StdEncoding.AppendEncode(b, sum.Sum(digest[:0]))
	if h.subprotocol != "" {
		b = append(append(b, "\r\nSec-Websocket-Protocol: "...), h.subprotocol...)
	}
	if h.deflate {
		b = append(b, "\r\nSec-Websocket-Extensions: "+deflateAnswer...)
	}
	b = append(b, "\r\nUpgrade: websocket\r\n"...)
	if len(header) > 0 {
		var others bytes.Buffer
		_ = header.WriteSubset(&others, ours) // a bytes.Buffer takes everything
		b = append(b, others.Bytes()...)
	}
	return append(b, "\r\n"...)
}

// ours are headers that no middleware has a say in.
var ours = map[string]bool{
	"Connection": true, "Upgrade": true, "Content-Length": true, "Transfer-Encoding": true,
	"Sec-Websocket-Accept": true, "Sec-Websocket-Protocol": true, "Sec-Websocket-Extensions": true,
}
