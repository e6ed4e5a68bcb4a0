package wire

// CloseCode is the code of a WebSocket close frame (RFC 6455, section 7.4).
type CloseCode uint16

// Close codes. A hub does not send CloseUnsupportedData and CloseInternal by
// itself; applications may.
const (
	// CloseNormal: done. A client need not come back.
	CloseNormal CloseCode = 1000
	// CloseGoingAway: the peer leaves, as a browser does with its page.
	CloseGoingAway CloseCode = 1001
	// CloseProtocolError: the client broke the WebSocket protocol.
	CloseProtocolError CloseCode = 1002
	// CloseUnsupportedData: a kind of message that the server does not take.
	CloseUnsupportedData CloseCode = 1003
	// CloseNoStatus and CloseAbnormal are never sent: they stand for a close
	// frame without a code, and for an end without a close frame.
	CloseNoStatus CloseCode = 1005
	CloseAbnormal CloseCode = 1006
	// CloseInvalidData: a text message that is not UTF-8.
	CloseInvalidData CloseCode = 1007
	// ClosePolicy: the application refused the client. Coming back is in vain.
	ClosePolicy CloseCode = 1008
	// CloseTooBig: a message larger than the hub takes.
	CloseTooBig CloseCode = 1009
	// CloseInternal: the application failed.
	CloseInternal CloseCode = 1011
	// CloseServiceRestart: the hub is shutting down. The reason is a
	// ReconnectHint.
	CloseServiceRestart CloseCode = 1012
	// CloseTryAgainLater: the application can't admit the client at the moment.
	CloseTryAgainLater CloseCode = 1013

	// CloseCredentialsExpired: come back with new credentials.
	CloseCredentialsExpired CloseCode = 4001
	// CloseSlowClient: the client did not read fast enough and has missed
	// messages. It may come back, after a little backoff.
	CloseSlowClient CloseCode = 4002
	// ClosePongTimeout: nothing was heard from the client for too long.
	ClosePongTimeout CloseCode = 4003
	// CloseRateLimited: the client went on sending more than it may.
	CloseRateLimited CloseCode = 4004
)

// Reconnect reports whether a client that was closed with the code should come
// back by itself. Of the codes that applications choose, 4000 to 4499 say yes
// and 4500 to 4999 say no.
func (c CloseCode) Reconnect() bool {
	switch c {
	case CloseNormal, CloseProtocolError, CloseUnsupportedData, CloseInvalidData, ClosePolicy, CloseTooBig:
		return false
	}
	return c < 4500
}

// Sendable reports whether a hub may close a client with the code: 1000 to 1014
// but for those that RFC 6455 reserves (1004, 1005, 1006), and 3000 to 4999.
func (c CloseCode) Sendable() bool {
	switch c {
	case 1004, CloseNoStatus, CloseAbnormal:
		return false
	}
	return c >= 1000 && c <= 1014 || c >= 3000 && c <= 4999
}

// MaxCloseReason is the longest reason of a close frame, in bytes.
const MaxCloseReason = 123

// ReconnectHint is the reason, as JSON, of a CloseServiceRestart.
type ReconnectHint struct {
	// Reason is "restart".
	Reason string `json:"reason"`
	// ReconnectAfter is how long to wait before coming back, in milliseconds.
	// Every client gets another one, so that they don't all come at once. It
	// does not say that a hub is there by then: a client whose attempt fails
	// goes on with its backoff.
	ReconnectAfter int64 `json:"reconnectAfterMs"`
}
