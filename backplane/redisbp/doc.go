// Package redisbp joins hubs through Redis: one server, a master that Sentinels
// watch, or a Cluster. It fills the port hub.Backplane with Redis's pub/sub.
//
//	bp, err := redisbp.New(redisbp.Config{URL: "redis://localhost:6379"})
//	…
//	h, err := hub.New(hub.Config{Transport: sockets, Backplane: bp})
//
// # Delivery
//
// At most once. Redis keeps nothing: what is published while a hub's connection
// is away is gone for that hub, and the hub is told so by Disrupted. While
// the connection stands nothing is lost on this side of it: a goroutine of its
// own reads it and hands each message on at once, without a buffer that could
// overflow.
//
// Publish returns nil when the server has answered. That says that the message
// is in the output buffers of all connections that were subscribed at that
// server, not that anybody has received it. A publication is sent once, never
// again after it may have been sent: nothing here delivers it twice. Where
// nothing was sent the error wraps hub.ErrUnavailable; after any other error,
// hub.ErrTooLarge aside, it may have been published.
//
// It may even arrive late: a server that was frozen executes what it has got when
// it goes on. What a Cluster's master had got when it froze, and what it had
// acknowledged a moment before, it hands to its successor when it wakes up: this
// may come after later ones, and to who had it already a second time, which a hub
// drops.
//
// Publications of one goroutine, each after the one before has returned, arrive in
// that order. All hubs see the publications of one topic in one order, that of
// the server.
//
// A subscriber that falls behind by more than the server's
// client-output-buffer-limit pubsub is cut off by the server. That is a lost
// connection: Disrupted, then Restored, and what was in between is lost. See the
// settings in README.md.
//
// # Connections
//
// A backplane has two connections to each node: one that subscribes, and one of
// go-redis's pool that publishes. Publications that wait while others are under
// way share a pipeline. 4,096 may wait at a node; further ones wait for their
// turn. A publication whose context ends before it is in a pipeline is taken out.
//
// Start waits for the first attempt to connect, for a second at most. Restored
// comes when every subscription is confirmed and a message of the backplane's own
// has come back on each connection.
//
// Every Config.ProbeInterval such a message goes out again, and the node is asked
// whether it still is a master. One that does not come back within the interval,
// while nothing else comes either, ends the connection, so that a frozen server,
// a dead network or a subscription that is silently gone is found within little
// more than twice the interval, 6 s by default. Connecting is tried again for
// ever, after 50 ms and up to every 2 s.
//
// # Cluster
//
// On a Cluster the channels are divided into Config.Partitions parts, each with
// a hash tag ("ws:{p17}:c:news"), and published with SPUBLISH, so that a message
// goes to one node and not to all. A hub has one subscribing connection for each
// node that serves a partition. When a slot moves, or a replica takes over, the
// partitions follow within seconds, with Disrupted and Restored. This needs Redis
// 7. On an older Cluster Start fails with an error that names Config.NoSharding, which
// uses ordinary pub/sub instead.
//
// # Publishing from other programs
//
// A program that is no hub publishes a message's JSON to the channel of a topic:
// PUBLISH ws:c:news '{"type":"event","data":…}'. On a Cluster the partition is
// the 32-bit FNV-1a hash of the topic ("c:news"), modulo the number of
// partitions: SPUBLISH ws:{p17}:c:news ….
package redisbp
