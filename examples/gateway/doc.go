// Gateway is a hub to run on its own: browsers and other clients connect to it
// by WebSocket, programs in any language publish through it by HTTP, and its
// page shows both. It is configured by flags, with environment variables as
// fallbacks; run it with -h for all of them.
//
//	GET  /ws          WebSocket connections (docs/protocol.md)
//	POST /publish     {"channel":"news","data":…}     to a channel
//	POST /broadcast   {"data":…}                      to every client
//	GET  /stats       the hub's figures as JSON
//	GET  /healthz     200 while the process lives
//	GET  /readyz      200 while clients may connect
//	GET  /            a page to chat and to watch
//
// See README.md for who may publish.
package main
