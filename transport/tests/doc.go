// Package tests tests package transport with what its own module must not
// require: goleak, and a WebSocket client that is not built on the server's
// library. The module is never tagged.
//
// Three clients look at the server: gorilla's library, bytes written by hand,
// and a parser of the server's stream that takes nothing but what RFC 6455
// allows.
package tests
