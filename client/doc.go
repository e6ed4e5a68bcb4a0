// Package client is a client of a hub that keeps connected.
//
//	c, err := client.New(client.ReconnectConfig{URL: "wss://example.com/ws"})
//	err = c.Subscribe("news", func(_ context.Context, d client.Delivery) {
//		fmt.Println(d.Type, string(d.Data), d.Err)
//	})
//	err = c.Run(ctx)
//
// It speaks version 1 of the protocol (docs/protocol.md), over WebSockets, by
// nhooyr.io/websocket.
//
// # Coming back
//
// When the connection ends the client comes back, by what the server said: after
// the hint of a hub that shuts down, or after Retry-After, or else after a delay
// that doubles from InitialBackoff up to MaxBackoff and is drawn between zero and
// that, so that many clients don't come back together. The doubling begins anew
// once a connection has lasted. Close codes and HTTP statuses by which the server
// says that coming back is in vain end the client with ErrRefused. A connection on
// which nothing comes any more is pinged and given up.
//
// # Subscriptions
//
// A subscription is kept until Unsubscribe. All of them are sent at each connect,
// together, before anything else. Messages that are published while the client is
// away are not delivered later: the handler is told by a delivery of the type
// subscribed when the channel is live again, and loads the present state then.
//
// # Sending
//
// Send and Request fail at once while there is no connection, unless
// QueueWhileAway. No message is sent twice: where it is not known whether one has
// reached the hub the error is ErrConnectionLost.
//
// # Goroutines
//
// A connection has three of the client's goroutines, and one of the library's.
// A handler has one while there is something for it to handle, so that one that
// is slow holds up itself alone; what waits for it is bounded. The callbacks
// OnConnect, OnReconnect, OnDisconnect, OnStateChange and OnError are called one
// after another, in the order in which things happened, on one more; while they
// block, what waits for them is bounded too: the client makes no new connection,
// and leaves errors out. All of them may call any method but Run and Wait.
//
// Package clienttest has a server without sockets for the tests of programs that
// use this package.
package client
