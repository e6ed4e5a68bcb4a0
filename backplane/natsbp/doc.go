// Package natsbp joins hubs through NATS: it fills the port hub.Backplane with
// core NATS subjects, on one server or a cluster.
//
//	bp, err := natsbp.New(natsbp.Config{URL: "nats://user:password@10.0.0.1:4222"})
//	h, err := hub.New(hub.Config{Backplane: bp, …})
//
// The hub starts and closes it. One connection carries everything.
//
// # Delivery
//
// At most once. NATS keeps nothing: what is published while nobody is subscribed,
// or while a hub has lost its connection, is gone for that hub. There is no
// history (Abilities is empty).
//
// Publish returns nil when the server that this backplane is connected to has
// taken the publication: a PING that was sent behind it was answered. It says
// nothing about other servers of a cluster, nor about subscribers. Concurrent
// publications share such round trips, four of which may be under way; what
// one goroutine publishes, awaiting each result, is never reordered.
//
// An error of Publish that wraps hub.ErrUnavailable or hub.ErrTooLarge means that
// nothing was published. While there is no server it comes at once; nothing is
// kept to be sent later, in a burst. Any other error leaves the outcome open,
// most often since the connection ended before the answer.
//
// When Subscribe returns nil the server has the subscriptions. In a cluster a
// publisher on another server reaches them a moment later, when interest has
// spread. What is on its way in a cluster while a connection moves from one server
// to another may come by both; hubs drop what comes twice.
//
// All publications of a topic come in the order in which the server has handed
// them out. Deliver is called by one goroutine for all topics.
//
// # Disruptions
//
// The receiver hears Disrupted when the connection is lost or falls silent, and
// Restored when all subscriptions are live again, on whichever server of the
// cluster the client reaches first. The client tries for ever, after 50 ms to 2 s.
//
// Silence is found by a probe: when nothing has come in for ProbeInterval (1 s)
// the backplane publishes to a subject that only it is subscribed to, and when
// that has not come back within ProbeTimeout (5 s) the connection is made anew.
// Time in which this process did not run does not count. So a connection that
// answers pings but delivers nothing is found too.
//
// What comes in faster than the hub takes it waits in a queue that is bounded
// in messages and bytes (PendingMessages, PendingBytes). What does not fit is
// dropped, counted in Stats, and reported by Disrupted; Restored follows once
// the queue is half empty.
//
// A topic that the server's access list refuses after a return, though it had
// allowed it before, is reported by Disrupted and asked for again every 5 s;
// all else works meanwhile.
//
// # Subjects
//
// A topic is one token below the prefix: the channel "news" is ws.c:news. Every
// byte of a topic but letters, digits, "-", "_", "~" and ":" is written as "%"
// and two upper case hexadecimal digits, as in ws.c:caf%C3%A9 for "café". The
// longest subject has 1,601 bytes, below NATS's default max_control_line of
// 4,096; a server with a max_control_line under 2 KiB closes the connection of
// whoever uses long names of special characters. An access list allows ws.>, or
// ws.* and does without probes.
package natsbp
