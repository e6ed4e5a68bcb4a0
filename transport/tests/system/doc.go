// Package system tests hub and transport together, over real sockets, with a
// WebSocket library that is not the server's, and with bytes written by hand.
package system
