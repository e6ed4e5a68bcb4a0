package client

import (
	"errors"
	"fmt"
	"time"

	"forge.lthn.ai/core/go-ws/hub/wire"
)

var (
	// ErrClosed is what calls return on a client that has ended, by Close, by its
	// context or by a refusal, and what Run returns after Close. Where something
	// else than Close ended the client the error wraps that too.
	ErrClosed = errors.New("client: closed")
	// ErrRefused is wrapped by what Run returns where coming back is in vain: the
	// server's answer or close code says so, see StatusError and CloseError. A
	// Credentials function that wraps it in its error ends the client as well.
	ErrRefused = errors.New("client: refused")
	// ErrTooManyRetries is wrapped, beside the last attempt's error, by what Run
	// returns after ReconnectConfig.MaxRetries.
	ErrTooManyRetries = errors.New("client: too many retries")
	// ErrNotConnected says that a message was not sent, because there is no
	// connection. It has not reached the hub.
	ErrNotConnected = errors.New("client: not connected")
	// ErrQueueFull says that a message was not sent, because too much waits
	// before it: ReconnectConfig.QueueMessages, QueueBytes.
	ErrQueueFull = errors.New("client: queue is full")
	// ErrConnectionLost says that the connection was lost when a message was
	// being sent, or before its reply had come. Whether the hub has got it is not
	// known, so the client does not repeat it.
	ErrConnectionLost = errors.New("client: connection lost")
	// ErrPongTimeout is why a connection was given up on which nothing came any
	// more: ReconnectConfig.PingInterval, PongTimeout.
	ErrPongTimeout = errors.New("client: nothing heard from the server")
	// ErrSlowHandler is why a connection was given up whose messages were not
	// handled fast enough, under OverflowReconnect.
	ErrSlowHandler = errors.New("client: a handler is too slow")
	// ErrSubscribed is what Subscribe returns for a channel that has a handler.
	ErrSubscribed = errors.New("client: the channel has a handler already")
)

// StatusError is an answer to the upgrade that was no upgrade. docs/protocol.md
// has the list of them.
type StatusError struct {
	// Status is the HTTP status, such as 503.
	Status int
	// Cause is the first line of the answer's body, where there is one.
	Cause string
	// RetryAfter is what the server asked to wait; zero where it said nothing.
	RetryAfter time.Duration
}

func (e *StatusError) Error() string {
	if e.Cause == "" {
		return fmt.Sprintf("the server answered with status %d", e.Status)
	}
	return fmt.Sprintf("the server answered with status %d: %q", e.Status, e.Cause)
}

// CloseError is the end of a connection. docs/protocol.md has the list of codes.
type CloseError struct {
	// Code that the server closed with; wire.CloseNoStatus where its close frame
	// had none, wire.CloseAbnormal where none came.
	Code wire.CloseCode
	// Reason that stood beside it.
	Reason string

	err error
}

func (e *CloseError) Error() string {
	switch {
	case e.err != nil:
		return fmt.Sprintf("connection lost: %v", e.err)
	case e.Reason == "":
		return fmt.Sprintf("the server closed the connection with code %d", e.Code)
	}
	return fmt.Sprintf("the server closed the connection with code %d: %q", e.Code, e.Reason)
}

// Unwrap returns what happened to the connection, where no close frame came.
func (e *CloseError) Unwrap() error { return e.err }

// RequestError is a hub's answer that something can't be done.
type RequestError struct {
	Code    wire.ErrorCode
	Message string
}

func (e *RequestError) Error() string {
	return fmt.Sprintf("the hub answered with the error %s: %s", e.Code, e.Message)
}

// temporary reports whether asking again later may help.
func (e *RequestError) temporary() bool {
	switch e.Code {
	case wire.ErrorRateLimited, wire.ErrorUnavailable, wire.ErrorInternal:
		return true
	}
	return false
}

// DroppedError tells a handler that messages before the next one were left out,
// because it did not keep up: ReconnectConfig.HandlerBacklog.
type DroppedError struct {
	// Count of messages that were left out since the handler was told last.
	Count int
}

func (e *DroppedError) Error() string {
	return fmt.Sprintf("client: %d messages were left out, since the handler did not keep up", e.Count)
}
