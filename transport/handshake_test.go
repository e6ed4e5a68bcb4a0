package transport_test

import (
	"bufio"
	"bytes"
	"net/http"
	"strings"
	"testing"

	"forge.lthn.ai/core/go-ws/transport"
)

const upgradeRequest = "GET /ws HTTP/1.1\r\nHost: h\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n" +
	"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"

// The example of RFC 6455, section 1.3.
func TestTheHandshakeIsTheStandards(t *testing.T) {
	r := readRequest(t, upgradeRequest+"Sec-WebSocket-Protocol: chat, other\r\n\r\n")
	subprotocol, deflate, answer, _, err := transport.Shake(r, []string{"other", "chat"}, true)
	if err != nil {
		t.Fatal(err)
	}
	if subprotocol != "other" || deflate {
		t.Errorf("got subprotocol %q, compression %t; want other, false", subprotocol, deflate)
	}
	if want := "Sec-Websocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"; !strings.Contains(string(answer), want) {
		t.Errorf("got %q, want %q in it", answer, want)
	}
}

// U+017F and U+212A fold to "s" and "k", U+00A0 is a space to some: none of them
// is for HTTP, and a proxy in front that sees no upgrade would take what follows
// for requests.
func TestAnUpgradeIsAskedForInASCII(t *testing.T) {
	for _, token := range []string{"web\u017focket", "websoc\u212aet", "websocket\u00a0", "\u0085websocket", "websocket\u2003"} {
		request := strings.Replace(upgradeRequest, "Upgrade: websocket", "Upgrade: "+token, 1)
		if _, _, _, status, err := transport.Shake(readRequest(t, request+"\r\n"), nil, false); err == nil || status != http.StatusUpgradeRequired {
			t.Errorf("Upgrade: %q: got %v, status %d, want 426", token, err, status)
		}
	}
	for _, offer := range []string{"go-w\u017f", "\u00a0go-ws"} {
		r := readRequest(t, upgradeRequest+"Sec-WebSocket-Protocol: "+offer+"\r\n\r\n")
		if got, _, _, _, err := transport.Shake(r, []string{"go-ws"}, false); err != nil || got != "" {
			t.Errorf("subprotocol %q: got %q, %v, want none", offer, got, err)
		}
	}
	r := readRequest(t, strings.Replace(upgradeRequest, "Upgrade: websocket", "Upgrade: h2c,\t WEBSocket ", 1)+"\r\n")
	if _, _, _, _, err := transport.Shake(r, nil, false); err != nil {
		t.Errorf("in another case, in a list: got %v, want an upgrade", err)
	}
}

// RFC 7692, section 7: what is unknown, doubled or out of bounds makes an offer
// one to decline, and the next one counts.
func TestOffersOfCompressionThatCantBeMetAreDeclined(t *testing.T) {
	for offer, want := range map[string]bool{
		"permessage-deflate": true,
		"permessage-deflate; client_max_window_bits; client_no_context_takeover; server_no_context_takeover": true,
		"permessage-deflate;client_max_window_bits=8;server_max_window_bits=15":                              true,
		"x-other, permessage-deflate; client_max_window_bits=15":                                             true,

		"permessage-deflate; client_max_window_bits=99":                                       false,
		"permessage-deflate; client_max_window_bits=7":                                        false,
		"permessage-deflate; client_max_window_bits=08":                                       false,
		"permessage-deflate; client_max_window_bits=":                                         false,
		"permessage-deflate; client_max_window_bits; client_max_window_bits":                  false,
		"permessage-deflate; client_max_window_bits=9; client_max_window_bits=10":             false,
		"permessage-deflate; server_no_context_takeover; server_no_context_takeover":          false,
		"permessage-deflate; server_no_context_takeover=1":                                    false,
		"permessage-deflate; server_max_window_bits":                                          false,
		"permessage-deflate; server_max_window_bits=10":                                       false,
		"permessage-deflate; mystery":                                                         false,
		"permessage-deflate; =":                                                               false,
		"permessage-deflate; client_max_window_bits=99, permessage-deflate":                   true,
		"permessage-deflate; server_max_window_bits=9, permessage-deflate; client_max_window": false,
	} {
		r := readRequest(t, upgradeRequest+"Sec-WebSocket-Extensions: "+offer+"\r\n\r\n")
		if _, got, _, _, err := transport.Shake(r, nil, true); err != nil || got != want {
			t.Errorf("%s: got %t, %v, want %t", offer, got, err, want)
		}
	}
}

func readRequest(t *testing.T, text string) *http.Request {
	t.Helper()
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(text)))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// Whatever a stranger asks for, the answer is one that an HTTP client reads, and
// an upgrade only to what was offered.
func FuzzHandshake(f *testing.F) {
	for _, more := range []string{
		"", "Sec-WebSocket-Protocol: go-ws.v1.json\r\n", "Sec-WebSocket-Protocol: GO-WS.V1.JSON,\r\n",
		"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits, x-other\r\n",
		"Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=9, permessage-deflate\r\n",
		"Content-Length: 1\r\n", "Sec-WebSocket-Key: again\r\n", "Sec-WebSocket-Extensions: ;;,,=\r\n",
	} {
		f.Add([]byte(upgradeRequest + more + "\r\n"))
	}
	f.Fuzz(func(t *testing.T, request []byte) {
		r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(request)))
		if err != nil {
			return
		}
		subprotocol, deflate, answer, status, err := transport.Shake(r, []string{"go-ws.v1.json"}, true)
		if err != nil {
			if status < 400 || status > 599 || len(answer) > 0 {
				t.Fatalf("refused by %v: got status %d and %q", err, status, answer)
			}
			return
		}
		response, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(answer)), r)
		if err != nil {
			t.Fatalf("answer %q: %v", answer, err)
		}
		if response.StatusCode != http.StatusSwitchingProtocols {
			t.Fatalf("got status %d", response.StatusCode)
		}
		asked := strings.ToLower(strings.Join(r.Header.Values("Sec-WebSocket-Protocol"), ","))
		if got := response.Header.Get("Sec-WebSocket-Protocol"); got != subprotocol ||
			got != "" && (!strings.EqualFold(got, "go-ws.v1.json") || !strings.Contains(asked, "go-ws.v1.json")) {
			t.Fatalf("got subprotocol %q (%q), asked for %q", got, subprotocol, asked)
		}
		if got := response.Header.Get("Sec-WebSocket-Extensions") != ""; got != deflate ||
			got && !strings.Contains(strings.Join(r.Header.Values("Sec-WebSocket-Extensions"), ","), "permessage-deflate") {
			t.Fatalf("got compression %t (%t), asked for %q", got, deflate, r.Header.Values("Sec-WebSocket-Extensions"))
		}
	})
}
