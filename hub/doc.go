// Package hub carries messages to clients that stay connected. A [Hub] holds
// the clients of one process; a [Backplane] joins many hubs into one system.
// The package depends on the standard library alone. What it needs from outside
// comes in through three ports: [Transport] brings connections, Backplane
// reaches the other hubs, [Authenticator] says who may connect.
//
//	sockets, err := transport.New(transport.Config{})
//	h, err := hub.New(hub.Config{Transport: sockets})
//	http.Handle("/ws", h.Handler())
//	go h.Run(ctx)
//	_, err = h.SendToChannel(ctx, "news", hub.Message{Data: "hello"})
//
// # Model
//
// A [Client] is one connection. It is on any number of channels, which exist
// while somebody is on them, and perhaps one of several of a user. A [Message]
// goes to a channel ([Hub.SendToChannel]), to everybody ([Hub.Broadcast]), to a
// user ([Hub.SendToUser]) or to one client ([Hub.SendToClient]). It is encoded
// and framed once, however many receive it, and put into each receiver's
// outbox; a publisher waits for the backplane, never for a client. Frames that
// clients send are handled one after another per client: the hub's own
// (subscribe, unsubscribe, ping) by the hub, the others by Config.OnMessage.
// Package wire has the protocol, package hubtest the suites that every
// implementation of a port must pass, and fakes for tests.
//
// A hub runs once: [New], [Hub.Run] until its context ends or [Hub.Shutdown] is
// called, and it is over.
//
// # Guarantees
//
//   - Order: all who are on a channel of one hub see its messages in one order,
//     and those that one goroutine publishes to a channel, one call after
//     another, arrive in that order.
//   - At most once: a message may be lost where a connection, a hub or the
//     broker fails, or a client is too slow. It is not repeated. Losses that the
//     hub can see are counted in [Stats].
//   - A slow client harms itself alone: its outbox is bounded, and past the
//     bound Config.Overflow decides.
//   - Without its backplane a hub goes on serving its own clients; a publish
//     says so by [ErrNotPropagated], and subscriptions come back by themselves.
//   - At its end a hub tells each client when to come back, spread over time,
//     and when Run has returned nothing that it started is left.
//   - Whatever arrives from the network is bounded by a limit of [Config].
//
// docs/guarantees.md has for each of them the exact sentence, the faults and the
// test that shows it.
package hub
