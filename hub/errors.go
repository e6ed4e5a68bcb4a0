package hub

import (
	"errors"

	"forge.lthn.ai/core/go-ws/hub/wire"
)

// Errors that callers branch on. They come wrapped with what was being done.
var (
	// ErrNotRunning is returned by calls that need a running hub, before Run
	// and after it has ended.
	ErrNotRunning = errors.New("hub: not running")
	// ErrAlreadyRan is returned by a second Run: a hub runs once.
	ErrAlreadyRan = errors.New("hub: already ran")
	// ErrInvalidChannel says that a channel's name is empty, too long, not
	// UTF-8, or begins with "$".
	ErrInvalidChannel = wire.ErrInvalidChannel
	// ErrInvalidMessage says that a message can't be sent as it is: its data
	// does not marshal, its id or key is too long, its type is reserved.
	ErrInvalidMessage = errors.New("hub: invalid message")
	// ErrNotPropagated says that a publication reached the clients of this hub,
	// but not, or not surely, the other hubs. The backplane's error is wrapped
	// beside it. Publishing the same message id again goes to the backplane and
	// is delivered to no client twice.
	ErrNotPropagated = errors.New("hub: not propagated to other hubs")
	// ErrNoClient says that there is no such client.
	ErrNoClient = errors.New("hub: no such client")
	// ErrTooManySubscriptions says that a client is on as many channels as
	// Config.MaxSubscriptions allows.
	ErrTooManySubscriptions = errors.New("hub: too many subscriptions")
	// ErrForbidden is wrapped by the error of an AuthResult to refuse with 403,
	// "known, but not allowed", instead of 401, "not known".
	ErrForbidden = errors.New("hub: forbidden")
)

// RequestError is an error that a client sees: a callback returns one to say
// why. Any other error that a callback returns reaches the client only as a
// general code, so that nothing internal leaks.
type RequestError struct {
	// Code is for programs; the application may use its own.
	Code wire.ErrorCode
	// Message is for people.
	Message string
}

func (e *RequestError) Error() string { return string(e.Code) + ": " + e.Message }
