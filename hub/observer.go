package hub

import (
	"context"
	"time"
)

// Observer is told what a hub does as it happens, so that a metrics or tracing
// adapter needs nothing else; what only adds up is in Stats. Every function may
// be nil. They are called on the goroutine that did the work, concurrently, and
// sometimes under a lock: they must be quick, must not block and must not call
// the hub.
type Observer struct {
	// Connected is called when a client has been admitted.
	Connected func(c *Client)
	// Disconnected is called when a client has gone.
	Disconnected func(c *Client, reason DisconnectReason)
	// Refused is called when a request or a frame was refused.
	Refused func(cause RefusalCause)
	// Published is called at the end of each publish that got as far as the
	// outboxes, with the caller's context.
	Published func(ctx context.Context, p PublishObservation)
	// Received is called for each publication that came from the backplane and
	// was delivered, with the context that ExtractTrace made.
	Received func(ctx context.Context, r ReceiveObservation)
	// Flushed is called for each batch that went to a connection.
	Flushed func(f FlushObservation)
}

// PublishObservation describes one publish.
type PublishObservation struct {
	// Topic tells the kind and the name of the receivers. It is the
	// application's data: no label for metrics.
	Topic Topic
	ID    string
	// Bytes of the payload.
	Bytes int
	// Clients that the message was queued for on this hub.
	Clients int
	// Elapsed from the call to its end, Backplane of it in the backplane.
	Elapsed, Backplane time.Duration
	Err                error
}

// ReceiveObservation describes one publication of another hub.
type ReceiveObservation struct {
	Topic Topic
	ID    string
	Bytes int
	// Clients that it was queued for.
	Clients int
}

// FlushObservation describes one batch.
type FlushObservation struct {
	Frames int
	// Blocked says that the client's socket was full.
	Blocked bool
}

// RefusalCause says why something was refused. The values are few and fixed,
// fit for a metric's label.
type RefusalCause string

// Causes of refusals.
const (
	RefusedNotRunning       RefusalCause = "not_running"
	RefusedOrigin           RefusalCause = "origin"
	RefusedAuth             RefusalCause = "auth"
	RefusedHandshakes       RefusalCause = "max_handshakes"
	RefusedClients          RefusalCause = "max_clients"
	RefusedUserClients      RefusalCause = "max_clients_per_user"
	RefusedAddressClients   RefusalCause = "max_clients_per_address"
	RefusedUpgrade          RefusalCause = "upgrade"
	RefusedByApplication    RefusalCause = "application"
	RefusedSubscription     RefusalCause = "subscription"
	RefusedMaxSubscriptions RefusalCause = "max_subscriptions"
	RefusedChannelName      RefusalCause = "channel_name"
	RefusedFrame            RefusalCause = "invalid_frame"
	RefusedFrameType        RefusalCause = "frame_type"
	RefusedRate             RefusalCause = "rate"
	RefusedTooBig           RefusalCause = "message_size"
	RefusedInvalidData      RefusalCause = "invalid_data"
	RefusedProtocol         RefusalCause = "protocol"
)

// DisconnectReason says why a client has gone.
type DisconnectReason string

// Reasons for a client's going.
const (
	// DisconnectedByClient: the client closed, or its connection broke.
	DisconnectedByClient DisconnectReason = "client"
	// DisconnectedByServer: Client.Close was called.
	DisconnectedByServer DisconnectReason = "server"
	// DisconnectedSlow: its outbox overflowed, or its socket stayed full for
	// longer than WriteTimeout.
	DisconnectedSlow DisconnectReason = "slow"
	// DisconnectedSilent: nothing was heard for longer than PongTimeout.
	DisconnectedSilent DisconnectReason = "silent"
	// DisconnectedExpired: its credentials have expired.
	DisconnectedExpired DisconnectReason = "expired"
	// DisconnectedRefused: what it sent was too large, no UTF-8, a breach of
	// the protocol, or too much.
	DisconnectedRefused DisconnectReason = "refused"
	// DisconnectedShutdown: the hub was shutting down.
	DisconnectedShutdown DisconnectReason = "shutdown"
)
