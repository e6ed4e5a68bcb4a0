// Package clienttest has a server for the tests of programs that use package
// client. It has no sockets: it hands out an http.Client, through which the real
// client runs against it in memory. That also works in a testing/synctest bubble,
// where minutes of backoff take no time.
//
//	server := clienttest.NewServer(clienttest.Config{})
//	defer server.Close()
//	c, err := client.New(client.ReconnectConfig{URL: server.URL(), HTTPClient: server.HTTPClient()})
//	…
//	conn, err := server.Accepted(ctx)        // the client has connected
//	err = server.Publish(ctx, wire.Frame{Type: wire.TypeEvent, Channel: "news"})
//	conn.Close(wire.CloseServiceRestart, "") // or Cut, or Freeze
//	server.Refuse(http.StatusServiceUnavailable, http.Header{"Retry-After": {"7"}})
//
// It answers as a hub does: subscribed and unsubscribed, pong, and reply to what
// has an id. Config.Answer answers otherwise.
package clienttest
