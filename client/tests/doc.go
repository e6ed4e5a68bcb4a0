// Package tests holds the client's tests over sockets, against real hubs, with
// what a published module must not require: goleak, brokers, other WebSocket
// libraries.
package tests
