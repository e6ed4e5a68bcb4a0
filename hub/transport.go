package hub

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"forge.lthn.ai/core/go-ws/hub/wire"
)

// Transport is the port through which connections reach a hub. Package
// transport fills it with WebSockets; hubtest.TestTransport is the suite that
// an implementation must pass.
//
// Both methods may be called concurrently.
type Transport interface {
	// Accept upgrades a request to a connection. The hub has checked the
	// origin and authenticated the client before it calls Accept, and it
	// speaks first: nothing is read from the connection before Conn.Start.
	//
	// Where Accept fails it has answered the request with an HTTP error. It
	// takes no longer than o.WriteTimeout, and keeps neither w nor r.
	Accept(w http.ResponseWriter, r *http.Request, o AcceptOptions) (Conn, error)

	// Prepare builds the form of a message that this transport's connections
	// write: framed, and compressed where any connection will want it. It is
	// called once a message, before the first connection sees the result, so
	// that a message costs one framing however many receive it. The transport
	// does not change payload, and keeps nothing of it after the call: the
	// caller may write over it.
	Prepare(t FrameType, payload []byte) Frame
}

// AcceptOptions are the hub's wishes for one connection. Every field is set.
type AcceptOptions struct {
	// Subprotocols that the hub speaks, the preferred one first.
	Subprotocols []string
	// ReadLimit is the largest message taken from the peer, in bytes. A larger
	// one ends the connection with wire.CloseTooBig before it is held whole, an
	// uncompressed one as soon as it is announced.
	ReadLimit int64
	// WriteTimeout bounds writing the upgrade's answer, and the closing
	// handshake. A peer that takes nothing of what is being written for so long
	// may be cut off.
	WriteTimeout time.Duration
}

// FrameType says how the payload of a message is to be read (RFC 6455,
// section 5.6).
type FrameType uint8

const (
	// TextFrame carries UTF-8 text.
	TextFrame FrameType = iota + 1
	// BinaryFrame carries bytes of any kind.
	BinaryFrame
)

// Frame is one outgoing message in the form that its transport made in
// Prepare. It is shared by all receivers and never changes.
type Frame interface {
	// Size is the number of bytes that the frame takes on the wire,
	// uncompressed. Outboxes count by it.
	Size() int
}

// Conn is one upgraded connection.
//
// Everything that is written to a connection, the transport's own control
// frames included, goes through one queue in the Conn: nothing is ever written
// between two halves of a frame.
//
// Send is called by one goroutine at a time. All other methods may be called
// concurrently, with Send too. After Close has returned nothing of the
// connection runs: no goroutine, no call of the receiver.
type Conn interface {
	// Start hands the connection its receiver and lets it read. It is called
	// once, and returns at once. After Close it does nothing. Send may come
	// before it.
	Start(r Receiver)

	// Send writes frames, in order, as many as the connection takes without
	// blocking and in as few system calls as it can. It returns how many it
	// took; a frame that is partly written counts as taken, the Conn keeps its
	// rest. With n < len(frames), or while anything taken is still unwritten,
	// the error is ErrWouldBlock and the Conn calls Receiver.Writable, once for
	// all such answers, as soon as it holds nothing unwritten; that call may come
	// before Send has returned. Any other error means that the connection is over:
	// Closed comes without a call of Close, but maybe not before a close frame that
	// is under way has been seen through.
	//
	// The Conn does not keep the slice, only the frames in it.
	Send(frames []Frame) (n int, err error)

	// Ping queues a ping and waits for nothing. Life is told by LastRead.
	Ping() error

	// LastRead is when bytes last came from the peer, control frames
	// included, or when the connection began. It stands still while the
	// connection is paused.
	LastRead() time.Time

	// Resume lets the connection read on after Receive returned false. It
	// returns at once. While nothing is paused it does nothing.
	Resume()

	// Subprotocol is what was negotiated, empty for none.
	Subprotocol() string

	// Close sends a close frame behind what the Conn holds, waits for the
	// peer's, at most for AcceptOptions.WriteTimeout, then closes the socket
	// and waits until nothing of the connection runs. A code of zero closes
	// the socket at once, with no closing handshake. Later calls wait for the
	// first, except that zero also cuts a handshake short that another call
	// waits for. reason has at most 123 bytes. An error says that the peer has
	// not answered in time, or that the code or the reason can't be sent: then
	// the socket is closed without them.
	//
	// Close must not be called from a Receiver's method.
	Close(code wire.CloseCode, reason string) error
}

// Receiver is what a Conn calls; the hub's clients implement it. None of its
// methods block. Receive is never called concurrently with itself.
type Receiver interface {
	// Receive takes one whole message. The payload is the Conn's again when
	// Receive returns. An answer of false pauses the connection: Receive is
	// not called again before Conn.Resume, which may come before this call
	// has returned.
	Receive(t FrameType, payload []byte) (more bool)

	// Writable says that the Conn holds nothing unwritten any more after a
	// Send that returned ErrWouldBlock.
	Writable()

	// Closed says that the connection is over, whoever ended it: exactly once
	// after Start, and after it neither of the other two is called. err is a
	// *CloseError where a close frame was read, or was sent because of what
	// the peer did; then it may come a moment later, so that the peer can read
	// why.
	Closed(err error)
}

// ErrWouldBlock is returned by Conn.Send when the connection holds bytes that
// could not be written without blocking.
var ErrWouldBlock = errors.New("hub: connection would block")

// CloseError says how a connection ended (RFC 6455, section 7.1).
type CloseError struct {
	Code   wire.CloseCode
	Reason string
	// Remote tells the peer's close frame from one that the transport sent by
	// itself, for what it read: too large a message, bytes that are no UTF-8,
	// a breach of the protocol.
	Remote bool
}

func (e *CloseError) Error() string {
	who := "closed by this side"
	if e.Remote {
		who = "closed by the peer"
	}
	return fmt.Sprintf("hub: connection %s: %d %q", who, e.Code, e.Reason)
}
