package hubtest_test

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

	"forge.lthn.ai/core/go-ws/hub"
	"forge.lthn.ai/core/go-ws/hub/hubtest"
	"forge.lthn.ai/core/go-ws/hub/wire"
)

// A test of a program that has a hub: the clients are Peers, and there is no
// network.
func ExampleTransport() {
	sockets := hubtest.NewTransport()
	h, err := hub.New(hub.Config{Transport: sockets, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- h.Run(ctx) }()
	defer func() { stop(); <-ended }()
	<-h.Started()

	peer, response := sockets.Dial(h.Handler(), httptest.NewRequest("GET", "/ws", nil))
	if peer == nil {
		fmt.Println("refused:", response.Status)
		return
	}
	if err := peer.SendText(`{"type":"subscribe","data":"news"}`); err != nil {
		fmt.Println(err)
		return
	}
	show := func() {
		_, payload, err := peer.Receive(ctx)
		if err != nil {
			fmt.Println(err)
			return
		}
		var f wire.Frame
		if err := json.Unmarshal(payload, &f); err != nil {
			fmt.Println(err)
			return
		}
		fmt.Printf("%s %s %s\n", f.Type, f.Channel, cmp.Or(string(f.Data), "-"))
	}
	show()
	if _, err := h.SendToChannel(ctx, "news", hub.Message{Data: "hello"}); err != nil {
		fmt.Println(err)
		return
	}
	show()
	// Output:
	// subscribed news -
	// event news "hello"
}

// A client that does not read: what the network takes is bounded, then Send
// would block.
func ExamplePeer_Stall() {
	sockets := &hubtest.Transport{Window: 100}
	var conn hub.Conn
	peer, _ := sockets.Dial(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var err error
		conn, err = sockets.Accept(w, r, hub.AcceptOptions{ReadLimit: 1 << 10})
		if err != nil {
			fmt.Println(err)
		}
	}), httptest.NewRequest("GET", "/ws", nil))

	frame := sockets.Prepare(hub.TextFrame, make([]byte, 60))
	peer.Stall()
	n, err := conn.Send([]hub.Frame{frame, frame, frame})
	fmt.Println("taken:", n, "blocked:", errors.Is(err, hub.ErrWouldBlock))
	peer.Unstall()
	fmt.Println("arrived:", peer.Stats().Frames)
	// Output:
	// taken: 2 blocked: true
	// arrived: 2
}

// The test of a custom authenticator.
func ExampleTestAuthenticator() {
	byHeader := hub.AuthenticatorFunc(func(r *http.Request) hub.AuthResult {
		if r.Header.Get("X-Ticket") != "t1" {
			return hub.AuthResult{Error: errors.New("no such ticket")}
		}
		return hub.AuthResult{Valid: true, UserID: "alice"}
	})
	_ = func(t *testing.T) { // func TestByHeader(t *testing.T)
		good := httptest.NewRequest("GET", "/ws", nil)
		good.Header.Set("X-Ticket", "t1")
		hubtest.TestAuthenticator(t, byHeader, hubtest.AuthenticatorCase{
			Name: "a good ticket", Request: good, Valid: true, UserID: "alice",
		})
	}
}

// The test of a transport of WebSockets: the suite brings the HTTP server and a
// strict client.
func ExampleTestTransport() {
	_ = func(t *testing.T) { // func TestConformance(t *testing.T)
		hubtest.TestTransport(t, hubtest.TransportHarness{
			New: func(t testing.TB) hub.Transport { return hubtest.NewTransport() }, // or yours
		})
	}
}
