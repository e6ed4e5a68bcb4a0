package netfault_test

import (
	"context"
	"fmt"
	"io"
	"net"

	"forge.lthn.ai/core/go-ws/backplane/tests/netfault"
)

// A connection falls silent: what is written succeeds and arrives nowhere.
func ExampleProxy_Freeze() {
	server, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer server.Close()
	proxy, err := netfault.Listen(server.Addr().String())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer proxy.Close()
	client, err := net.Dial("tcp", proxy.Addr())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()

	proxy.Freeze(netfault.Swallow)
	_, err = io.WriteString(client, "anybody there?")
	fmt.Println("written:", err == nil)
	err = proxy.Wait(context.Background(), func(s netfault.Stats) bool { return s.Swallowed == 14 })
	fmt.Println("swallowed:", err == nil)
	proxy.Thaw() // a stream with a hole can't go on
	_, err = client.Read(make([]byte, 1))
	fmt.Println("reset:", err != nil)
	// Output:
	// written: true
	// swallowed: true
	// reset: true
}
