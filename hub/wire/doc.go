// Package wire is the protocol: what a client, a publisher or a tool in
// another language must know, and what two hubs say to each other. It depends
// on the standard library alone and holds no state.
//
// Between client and hub, version 1 is JSON: every WebSocket text message
// carries one JSON object, a [Frame].
//
//	client                                    hub
//	  │ {"type":"subscribe","data":"news"}     │
//	  │ ─────────────────────────────────────▶ │ listens to the topic of "news"
//	  │ {"type":"subscribed","channel":"news"} │
//	  │ ◀───────────────────────────────────── │
//	  │ {"type":"event","channel":"news",…}    │ somebody published
//	  │ ◀───────────────────────────────────── │
//	  │ {"type":"unsubscribe","data":"news"}   │
//	  │ ─────────────────────────────────────▶ │
//	  │ {"type":"unsubscribed",…}              │
//	  │ ◀───────────────────────────────────── │
//
// Between hubs every publication travels in an [Envelope], a small binary
// header in front of the very bytes that the clients get. A program that
// publishes straight to the broker may leave the envelope away and send a
// Frame as plain JSON.
//
// docs/protocol.md says all of it in prose.
package wire
