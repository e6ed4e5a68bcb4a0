package tests_test

import (
	"bufio"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
	"time"
)

// closing is what a scripted hub does with a connection: it sends a close
// frame, or breaks off where the code is zero.
type closing struct {
	code   uint16
	reason string
	when   <-chan struct{} // nil is at once
}

// scriptedHub serves the gateway's page, and ends each connection as the next
// line of a script says. Once the script is over connections stay.
type scriptedHub struct {
	*httptest.Server
	came chan time.Time // when each connection came
}

func newScriptedHub(t *testing.T, script ...closing) *scriptedHub {
	h := &scriptedHub{came: make(chan time.Time, 100)}
	lines := make(chan closing, len(script))
	for _, line := range script {
		lines <- line
	}
	over := make(chan struct{})
	mux := http.NewServeMux()
	mux.Handle("/page/", http.StripPrefix("/page/", http.FileServer(http.Dir("../gateway/page"))))
	mux.HandleFunc("/{$}", func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, "../gateway/page/page.html") })
	mux.HandleFunc("/client.js", func(w http.ResponseWriter, r *http.Request) {
		http.ServeFile(w, r, "../internal/clientjs/client.js")
	})
	mux.HandleFunc("/stats", func(w http.ResponseWriter, _ *http.Request) {
		w.Write([]byte(`{"clients":0,"channels":0,"published":0,"delivered":0,"topChannels":[]}`))
	})
	mux.HandleFunc("/ws", func(w http.ResponseWriter, r *http.Request) {
		conn, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		h.came <- time.Now()
		acceptWebSocket(rw.Writer, r.Header.Get("Sec-WebSocket-Key"))
		select {
		case line := <-lines:
			if line.when != nil {
				select {
				case <-line.when:
				case <-over:
					return
				}
			}
			if line.code != 0 {
				payload := append(binary.BigEndian.AppendUint16(nil, line.code), line.reason...)
				rw.Write(append([]byte{0x88, byte(len(payload))}, payload...))
				rw.Flush()
				// A server closes its end when the client has answered; until
				// then the browser waits.
				conn.SetReadDeadline(time.Now().Add(bound))
				awaitClose(rw.Reader)
			}
		default:
			<-over
		}
	})
	h.Server = httptest.NewServer(mux)
	t.Cleanup(func() {
		close(over)
		h.Close()
	})
	return h
}

func acceptWebSocket(w *bufio.Writer, key string) {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	w.WriteString("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Protocol: go-ws.v1.json\r\nSec-WebSocket-Accept: " +
		base64.StdEncoding.EncodeToString(sum[:]) + "\r\n\r\n")
	w.Flush()
}

// awaitClose reads the client's frames up to its close frame. They are short.
func awaitClose(r *bufio.Reader) {
	var head [6]byte // opcode, length, mask
	for {
		if _, err := io.ReadFull(r, head[:]); err != nil {
			return
		}
		if _, err := r.Discard(int(head[1] & 0x7f)); err != nil || head[0]&0x0f == 8 {
			return
		}
	}
}

// next waits for a connection.
func (h *scriptedHub) next(t *testing.T) time.Time {
	t.Helper()
	select {
	case at := <-h.came:
		return at
	case <-time.After(bound):
		t.Fatal("the page does not connect")
		return time.Time{}
	}
}

func TestPageWaitsAsLongAsARestartingHubAsks(t *testing.T) {
	b := startBrowser(t)
	const hint = 2500 * time.Millisecond
	now := make(chan struct{})
	h := newScriptedHub(t, closing{1012, `{"reason":"restart","reconnectAfterMs":` + strconv.Itoa(int(hint.Milliseconds())) + `}`, now})
	ann := b.newPage("ann", desktop, "light")
	ann.open(h.URL)
	h.next(t)
	// What the page says meanwhile is gone when it has connected again.
	ann.eval(nil, `() => {
		const text = document.querySelector("#state-text");
		window.said = [];
		new MutationObserver(() => window.said.push(text.textContent)).observe(text, { childList: true, characterData: true, subtree: true });
	}`, nil)
	closed := time.Now()
	close(now)
	// Without the hint it would be back within a second.
	if waited := h.next(t).Sub(closed); waited < hint {
		t.Errorf("the page came back after %v, want not before %v", waited, hint)
	}
	ann.waitText("#state-text", "Connected")
	ann.wait(`() => window.said.some(text => /^Reconnecting in/.test(text))`, nil)
	ann.noComplaints()
}

func TestPageComesBackAfterLosses(t *testing.T) {
	b := startBrowser(t)
	h := newScriptedHub(t, closing{}, closing{code: 1012, reason: "no hint"}, closing{code: 4002}, closing{code: 1011})
	ann := b.newPage("ann", desktop, "light")
	ann.open(h.URL)
	for range 5 {
		h.next(t)
	}
	ann.waitText("#state-text", "Connected")
	ann.noComplaints()
}

func TestPageStaysAwayWhenComingBackIsInVain(t *testing.T) {
	b := startBrowser(t)
	h := newScriptedHub(t, closing{code: 1008, reason: "not you"}, closing{code: 4500})
	ann := b.newPage("ann", desktop, "light")
	ann.open(h.URL)
	for range 2 {
		h.next(t)
		ann.waitText("#state-text", "Disconnected")
		ann.click("#retry")
	}
	h.next(t)
	ann.waitText("#state-text", "Connected")
	select {
	case <-h.came:
		t.Error("the page came back by itself")
	default:
	}
	ann.noComplaints()
}
