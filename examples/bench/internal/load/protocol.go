package load

import (
	"bytes"
	"fmt"
	"strings"
)

// protocol is how a server is spoken to: what a client says to join channels,
// and what it looks for in the answers.
type protocol struct {
	// join returns the text messages that join the channels.
	join func(channels []int) []string
	// joined stands once for each answer that is waited for, answers of them.
	joined  string
	answers func(channels int) int
	// ping is what a server says in a message of its own to see whether the
	// client lives, and is answered with itself. Empty: it has none.
	ping string
}

// Name is a channel's name.
func Name(channel int) string { return fmt.Sprintf("c%d", channel) }

var protocols = map[string]protocol{
	// The hub of this repository.
	"hub": {
		join: func(channels []int) (say []string) {
			for _, c := range channels {
				say = append(say, fmt.Sprintf(`{"type":"subscribe","data":%q}`, Name(c)))
			}
			return say
		},
		joined:  `"type":"subscribed"`,
		answers: func(channels int) int { return channels },
	},
	// centrifuge's JSON protocol: commands and replies are lines, several may
	// share a message.
	"centrifuge": {
		join: func(channels []int) []string {
			lines := []string{`{"id":1,"connect":{}}`}
			for i, c := range channels {
				lines = append(lines, fmt.Sprintf(`{"id":%d,"subscribe":{"channel":%q}}`, i+2, Name(c)))
			}
			return []string{strings.Join(lines, "\n")}
		},
		joined:  `"subscribe":{`,
		answers: func(channels int) int { return channels },
		ping:    "{}",
	},
	// What the small hubs on libraries without a protocol of their own speak.
	"lines": {
		join: func(channels []int) []string {
			names := make([]string, len(channels))
			for i, c := range channels {
				names[i] = Name(c)
			}
			return []string{strings.Join(names, " ")}
		},
		joined:  "joined",
		answers: func(int) int { return 1 },
	},
}

// handshake is the upgrade request.
func handshake(addr string, deflate bool) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "GET / HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", addr)
	if deflate {
		b.WriteString("Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover\r\n")
	}
	b.WriteString("\r\n")
	return b.Bytes()
}

// upgraded reads the answer to the handshake and says how many bytes it took,
// none while it is not whole.
func upgraded(b []byte, deflate bool) (n int, err error) {
	end := bytes.Index(b, []byte("\r\n\r\n"))
	if end < 0 {
		return 0, nil
	}
	head := strings.ToLower(string(b[:end]))
	switch {
	case !strings.HasPrefix(head, "http/1.1 101 "):
		return 0, fmt.Errorf("load: the server refused: %q", b[:end])
	case !strings.Contains(head, strings.ToLower("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")):
		return 0, fmt.Errorf("load: the server's key is wrong: %q", b[:end])
	case deflate != strings.Contains(head, "permessage-deflate"):
		return 0, fmt.Errorf("load: permessage-deflate is not as asked for: %q", b[:end])
	}
	return end + 4, nil
}
