package tests

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gorilla/websocket"

	"forge.lthn.ai/core/go-ws/hub"
	"forge.lthn.ai/core/go-ws/hub/wire"
)

// TestGorillaSpeaksToAHubByTheProtocolAlone has a client that shares no code with this
// repository hold the conversation of docs/protocol.md: subscribe, a message,
// unsubscribe, and the hub's close.
func TestGorillaSpeaksToAHubByTheProtocolAlone(t *testing.T) {
	s := serve(t, hub.Config{})
	conn, resp, err := websocket.DefaultDialer.Dial("ws://"+s.addr+"/ws", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if got := resp.Header.Get("Sec-WebSocket-Protocol"); got != "" {
		t.Errorf("subprotocol: got %q, want none", got)
	}
	say := func(text string) {
		t.Helper()
		if err := conn.WriteMessage(websocket.TextMessage, []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	hear := func() (f wire.Frame) {
		t.Helper()
		if err := conn.ReadJSON(&f); err != nil {
			t.Fatal(err)
		}
		return f
	}
	say(`{"type":"subscribe","data":"news","id":"1"}`)
	if f := hear(); f.Type != wire.TypeSubscribed || f.Channel != "news" || f.ID != "1" {
		t.Errorf("got %+v, want subscribed", f)
	}
	s.publish(t, "news", "hello")
	if f := hear(); f.Type != wire.TypeEvent || f.Channel != "news" || string(f.Data) != `"hello"` || f.Timestamp.IsZero() {
		t.Errorf("got %+v, want the event", f)
	}
	say(`{"type":"unsubscribe","data":"news"}`)
	if f := hear(); f.Type != wire.TypeUnsubscribed || f.Channel != "news" {
		t.Errorf("got %+v, want unsubscribed", f)
	}
	go s.stop()
	_, _, err = conn.ReadMessage()
	if !websocket.IsCloseError(err, websocket.CloseServiceRestart) {
		t.Errorf("got %v, want the code 1012", err)
	}
}

// program runs a client in another language, which is given the hub's URL, prints
// READY when it is subscribed, and the text of the first message.
func program(t *testing.T, cmd *exec.Cmd, s *server) {
	t.Helper()
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := make(chan string, 100)
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 4096)
		var text string
		for {
			n, err := out.Read(buf)
			text += string(buf[:n])
			for {
				line, rest, ok := strings.Cut(text, "\n")
				if !ok {
					break
				}
				lines <- line
				text = rest
			}
			if err != nil {
				return
			}
		}
	}()
	defer func() {
		_ = cmd.Process.Kill() // it may have ended
		<-done
		_ = cmd.Wait()
		if t.Failed() {
			t.Log(stderr.String())
		}
	}()
	want := func(want string) {
		t.Helper()
		if got := take(t, want, lines); got != want {
			t.Fatalf("got %q, want %q", got, want)
		}
	}
	want("subscribed news 1")
	s.publish(t, "news", "grüße")
	want("event news grüße")
	want("unsubscribed news 2")
	go s.stop()
	want("closed 1012 restart")
}

// TestAPlainCommandLineClientSpeaksToAHub runs a script of the standard library
// of Python, which makes and reads the frames by hand.
func TestAPlainCommandLineClientSpeaksToAHub(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Fatal("python3 is missing: scripts/deps installs it")
	}
	s := serve(t, hub.Config{})
	program(t, exec.Command(python, "testdata/plain.py", s.addr), s)
}

// TestWsOfNpmSpeaksToAHub runs a script on the package ws.
func TestWsOfNpmSpeaksToAHub(t *testing.T) {
	node, err := exec.LookPath("node")
	if err != nil {
		t.Fatal("node is missing: scripts/deps installs it")
	}
	if _, err := os.Stat(filepath.FromSlash("node_modules/ws/package.json")); err != nil {
		t.Fatalf("%v: scripts/deps runs npm ci here", err)
	}
	s := serve(t, hub.Config{})
	program(t, exec.Command(node, "testdata/ws.mjs", "ws://"+s.addr+"/ws"), s)
}
