// Package transport carries a hub's connections over WebSockets (RFC 6455) on
// HTTP/1.1. It fills the port hub.Transport.
//
//	ws, err := transport.New(transport.Config{})
//	…
//	h, err := hub.New(hub.Config{Transport: ws})
//
// # Reading
//
// Everything that is read after the handshake is the work of
// nhooyr.io/websocket: frames, masks, fragments, compressed messages, control
// frames. On top of it text is checked to be UTF-8 (otherwise the connection
// ends with 1007), messages are held to the read limit (1009), and whatever
// breaks the protocol ends the connection with 1002. A message is read into a
// buffer from a pool, which goes back when Receive returns: an idle connection
// has none.
//
// The library's connections, each with two goroutines, are lent to ours while
// there is something to read. At most 32 wait for work (and as many for
// compressed messages), none when the last connection has ended. An idle
// connection has one goroutine, whose stack is small.
//
// What is read without becoming a message has limits too, for each connection.
// Pings, pongs, other control frames and all fragments of a message but the
// first are counted together: 1,000 a second on average, 2,000 at once, beyond
// which the connection ends with 1008. A pong for each of the hub's pings is
// free. They count when they are read, so that what piled up while the
// connection was paused counts at once. A compressed message may have twice the
// read limit and 64 KiB on the wire, however little comes of it, otherwise the
// connection ends with 1009.
//
// # Writing
//
// Data frames do not pass the library. Prepare frames a message once for all
// receivers, and each connection has one queue for its data frames and for the
// library's pongs and close frames, so that nothing ever comes between two
// halves of a frame and nothing follows a close frame.
//
// On Linux, over plain TCP or Unix sockets, Send writes as many frames as the
// socket takes with one non-blocking system call; a goroutine runs only while
// the socket is full. Over TLS, on wrapped connections and on other systems
// goroutines do the writing, of which up to 16 wait for the next connection that
// has something to write: there Send always returns hub.ErrWouldBlock, takes up to 64 KiB at a time, and
// Writable follows when that is written. The build tag "portable" selects this
// way on Linux too.
//
// A peer that takes nothing for AcceptOptions.WriteTimeout (and up to a sixteenth
// of it more) while something waits is cut off. On the portable way that means 16 KiB within that time.
// Pings and pongs that wait are at most one each: RFC 6455 lets newer pongs
// replace older ones.
//
// # Closing
//
// Exactly one close frame is sent, the first that either the hub, or what the
// peer did, calls for. After a breach of the protocol the connection stays open
// for a moment, at most a second, so that the peer can read why it ended.
// While a connection is paused nothing is read from it, so that neither the
// peer's pings are answered nor its leaving noticed.
//
// # Compression
//
// With Config.Compression, clients that offer permessage-deflate (browsers do)
// get messages from Config.CompressionThreshold bytes on compressed, always
// without context takeover. A message is compressed once, when it is prepared,
// at the fastest level and only while a live connection negotiated it, not once
// for each receiver. It costs about 1 MB for each call of Prepare that runs at
// the same time, and 44 KB while a compressed message is being read.
package transport
