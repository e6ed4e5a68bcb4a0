package system_test

import (
	"bytes"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"forge.lthn.ai/core/go-ws/hub"
	"forge.lthn.ai/core/go-ws/hub/wire"
)

// undisturbed is a client that must notice nothing of what others do. The
// function that it returns checks that.
func (s *server) undisturbed() func() {
	s.t.Helper()
	c := s.on("calm")
	n := 0
	return func() {
		s.t.Helper()
		n++
		s.send("calm", n)
		c.want(hub.TypeEvent, fmt.Sprint(n))
		c.send(`{"type":"ping"}`)
		c.want(hub.TypePong, "")
	}
}

func TestBadFramesOverSocketsAreAnswered(t *testing.T) {
	s := serve(t, hub.Config{})
	calm := s.undisturbed()
	c := s.connect()
	for _, bad := range []string{"", "rubbish", "[1]", `{"type":`, `{"type":7}`, `{"type":"subscribe","data":7}`} {
		c.send(bad)
		c.wantError(wire.ErrorInvalidFrame)
	}
	c.send(`{"type":"launch"}`)
	c.wantError(wire.ErrorUnknownType)
	if err := c.WriteMessage(websocket.BinaryMessage, bytes.Repeat([]byte{0xFF, 0, 0xB7}, 1000)); err != nil {
		t.Fatal(err)
	}
	c.wantError(wire.ErrorUnsupported)
	c.send(`{"type":"ping"}`)
	c.want(hub.TypePong, "")
	calm()
}

func TestATenMegabyteMessageIsRefused(t *testing.T) {
	s := serve(t, hub.Config{})
	calm := s.undisturbed()
	c := s.connect()
	// The server stops reading in the middle: the write may fail.
	_ = c.WriteMessage(websocket.TextMessage, bytes.Repeat([]byte("x"), 10<<20))
	c.wantClosed(wire.CloseTooBig)
	s.await("it is counted", func() bool { return s.Stats().Refused[hub.RefusedTooBig] == 1 })
	calm()
}

func TestTextThatIsNotUTF8IsRefused(t *testing.T) {
	s := serve(t, hub.Config{})
	calm := s.undisturbed()
	c := s.connect()
	c.send("{\"type\":\"ping\",\"id\":\"\xff\"}")
	c.wantClosed(wire.CloseInvalidData)
	calm()
}

func TestAHundredThousandSubscribesOverSockets(t *testing.T) {
	s := serve(t, hub.Config{})
	calm := s.undisturbed()
	c := s.connect()
	var writer sync.WaitGroup
	writer.Go(func() {
		for i := range 100_000 {
			if c.WriteMessage(websocket.TextMessage, fmt.Appendf(nil, `{"type":"subscribe","data":"c%d"}`, i)) != nil {
				return
			}
		}
	})
	c.wantClosed(wire.CloseRateLimited)
	writer.Wait()
	s.await("it is cleaned up", func() bool { return s.ClientCount() == 1 && s.ChannelCount() == 1 })
	calm()
}

func TestASlowReaderIsDisconnectedAlone(t *testing.T) {
	s := serve(t, hub.Config{WriteTimeout: 2 * time.Second})
	calm := s.undisturbed()
	s.on("flood")
	payload := strings.Repeat("x", 100_000)
	for s.ClientCount() == 2 {
		s.send("flood", payload)
		calm()
	}
	s.await("it is counted", func() bool { return s.Stats().Disconnected[hub.DisconnectedSlow] == 1 })
	// Either its outbox was full, or nothing was written to it for too long.
	if dropped := s.Stats().Dropped; dropped.Overflow+dropped.Gone == 0 {
		t.Errorf("Dropped %+v, want what it missed", dropped)
	}
	calm()
}

// swallow passes bytes on to a server until it is told to swallow them, in both
// directions, with no FIN and no RST: a peer that has lost its network.
type swallow struct {
	mu    sync.Mutex
	quiet bool
}

func (p *swallow) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.quiet = true
}

func (p *swallow) copy(to, from net.Conn) {
	buf := make([]byte, 4096)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		p.mu.Lock()
		if !p.quiet {
			_, err = to.Write(buf[:n])
		}
		p.mu.Unlock()
		if err != nil {
			return
		}
	}
}

func TestAHalfOpenSocketIsNoticed(t *testing.T) {
	s := serve(t, hub.Config{HeartbeatInterval: 300 * time.Millisecond, PongTimeout: 2 * time.Second, WriteTimeout: 2 * time.Second})
	proxy := &swallow{}
	near, far := net.Pipe()
	up := s.tcp()
	var copies sync.WaitGroup
	copies.Go(func() { proxy.copy(up, far) })
	copies.Go(func() { proxy.copy(far, up) })
	defer copies.Wait()
	defer up.Close()
	defer far.Close()
	dialer := websocket.Dialer{NetDial: func(string, string) (net.Conn, error) { return near, nil }}
	conn, _, err := dialer.Dial("ws://half.open/", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	pinged := make(chan struct{}, 1)
	answer := conn.PingHandler()
	conn.SetPingHandler(func(data string) error {
		select {
		case pinged <- struct{}{}:
		default:
		}
		return answer(data)
	})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			if _, _, err := conn.ReadMessage(); err != nil {
				return
			}
		}
	}()
	// Nothing is sent to it but pings, and nothing comes from it but pongs. On a
	// machine that stands still it may be taken for silent before it is.
	select {
	case <-pinged:
	case <-ended:
	case <-time.After(hang):
		t.Fatal("it was not pinged")
	}
	proxy.stop()
	s.await("the silent one is gone", func() bool {
		return s.ClientCount() == 0 && s.Stats().Disconnected[hub.DisconnectedSilent] == 1
	})
	conn.Close()
	<-ended
}

func TestAThousandHandshakesThatNeverFinishKeepNobodyOut(t *testing.T) {
	s := serve(t, hub.Config{})
	calm := s.undisturbed()
	for i := range 1000 {
		nc := s.tcp()
		part := "GET /ws HTTP/1.1\r\nHost: example.com\r\nUpgrade: websocket\r\n"
		if _, err := nc.Write([]byte(part[:i%len(part)])); err != nil {
			t.Fatal(err)
		}
	}
	c := s.on("news")
	s.send("news", "in")
	c.want(hub.TypeEvent, `"in"`)
	calm()
}

func TestAbruptEndsLeaveNothing(t *testing.T) {
	s := serve(t, hub.Config{})
	calm := s.undisturbed()
	for i := range 200 {
		c := s.on(fmt.Sprint("c", i%10))
		switch i % 3 {
		case 0:
			c.Close()
		case 1:
			c.NetConn().(*net.TCPConn).SetLinger(0)
			c.Close()
		case 2:
			c.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(1000, "bye"), time.Now().Add(hang))
		}
	}
	s.await("all are gone", func() bool {
		n := s.Stats()
		return n.Clients == 1 && n.Channels == 1 && n.Subscriptions == 1 && n.Disconnected[hub.DisconnectedByClient] == 200
	})
	calm()
}
