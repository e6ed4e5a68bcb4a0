// Tests of the examples' pages in a real browser, and of the load balancers'
// configurations. Never tagged.
module forge.lthn.ai/core/go-ws/examples/tests

go 1.26

require nhooyr.io/websocket v1.8.17
