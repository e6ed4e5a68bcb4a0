package transport_test

import (
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"

	"forge.lthn.ai/core/go-ws/hub"
	"forge.lthn.ai/core/go-ws/hub/wire"
	"forge.lthn.ai/core/go-ws/transport"
)

// A hub gets the transport in its configuration:
//
//	h, err := hub.New(hub.Config{Transport: ws})
func ExampleNew() {
	ws, err := transport.New(transport.Config{Compression: true})
	if err != nil {
		log.Fatal(err)
	}
	frame := ws.Prepare(hub.TextFrame, []byte("hello"))
	fmt.Println("5 bytes of text take", frame.Size(), "on the wire")

	_, err = transport.New(transport.Config{CompressionThreshold: -1})
	fmt.Println(err)
	// Output:
	// 5 bytes of text take 7 on the wire
	// transport: Config.CompressionThreshold is negative: -1
}

// Without a hub, a handler accepts connections by itself.
func ExampleTransport_Accept() {
	ws, err := transport.New(transport.Config{})
	if err != nil {
		log.Fatal(err)
	}
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, err := ws.Accept(w, r, hub.AcceptOptions{ReadLimit: 32 << 10, WriteTimeout: 10e9})
		if err != nil {
			return // the request has been answered
		}
		if err := conn.Close(wire.CloseTryAgainLater, "full"); err != nil {
			log.Print(err)
		}
	})
	// A plain request is no upgrade.
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, httptest.NewRequest("GET", "/ws", nil))
	fmt.Println(w.Code)
	// Output: 426
}
