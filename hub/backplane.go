package hub

import (
	"context"
	"errors"
)

// Backplane is the port that joins hubs into one system. Package backplane
// fills it within one process, redisbp with Redis, natsbp with NATS;
// hubtest.TestBackplane is the suite that an implementation must pass.
//
// A Backplane serves one hub. Publish, Subscribe and Unsubscribe may be called
// concurrently; the hub calls Subscribe and Unsubscribe from one goroutine, so
// that no two such calls ever overlap for one topic.
type Backplane interface {
	// Start connects and hands over the receiver. It is called once, before
	// anything else but Abilities, and does not wait for a broker that is away:
	// the adapter goes on trying and calls Restored when it is there (an
	// adapter may offer an option that makes it fail instead). An error means
	// that no attempt will ever succeed as it is configured. ctx bounds the
	// call, not what it starts.
	Start(ctx context.Context, r BackplaneReceiver) error

	// Publish hands one publication to the broker and returns when the broker
	// has acknowledged it, or with an error, at the latest when ctx ends. What
	// an acknowledgement is worth depends on the broker's settings. After an
	// error the outcome is unknown, except after ErrTooLarge and
	// ErrUnavailable: then nothing was published. Publications that one
	// goroutine publishes one after another are delivered in that order.
	//
	// The adapter keeps the envelope no longer than the call, or unchanged.
	Publish(ctx context.Context, p Publication) (Published, error)

	// Subscribe returns nil once every topic is live at the server that the
	// adapter is connected to: what is published there afterwards arrives,
	// what is published by this same backplane included. It returns at the
	// latest when ctx ends. After an error none of the topics is subscribed.
	// A topic that is live already stays live. Once live, a topic is brought
	// back by the adapter after every disruption, until Unsubscribe.
	Subscribe(ctx context.Context, topics ...Topic) error

	// Unsubscribe ends subscriptions. A topic that is not subscribed is no
	// error. Publications that were under way may still be delivered.
	Unsubscribe(ctx context.Context, topics ...Topic) error

	// Abilities says what the backplane can do beyond this interface. The
	// answer never changes. It may be called before Start.
	Abilities() Abilities

	// Close ends the backplane: when it returns nothing of it runs and the
	// receiver is not called any more. It may be called before Start, more
	// than once, and is not called from a receiver's method.
	Close() error
}

// BackplaneReceiver is what a Backplane calls; the hub implements it. No
// method blocks. Deliver is never called concurrently for one topic.
type BackplaneReceiver interface {
	// Deliver takes one publication. The receiver may keep the envelope;
	// nobody changes it.
	Deliver(d Delivery)

	// Disrupted says that publications may be missing from here on: the
	// connection is gone, or something was dropped. It is called again for
	// every further loss.
	Disrupted(err error)

	// Restored says that every subscription is live again, and once when the
	// backplane first has its broker.
	Restored()
}

// Topic names what a publication is about. The hub makes topics: a prefix of
// one letter and a colon keeps the spaces of channels, users, hubs and so on
// apart, what follows is any UTF-8 of up to 512 bytes. An adapter must deliver
// each topic unchanged and escapes what its broker forbids. See
// wire.ChannelTopic for the topics that programs in other languages publish to.
type Topic string

// Publication is what a hub publishes.
type Publication struct {
	Topic Topic
	// ID is the message's id, of up to 64 bytes.
	ID string
	// Envelope is opaque to adapters: see package wire.
	Envelope []byte
}

// Published is the outcome of a successful Publish.
type Published struct {
	// Position is zero for topics without a history.
	Position Position
}

// Delivery is what a hub receives.
type Delivery struct {
	Topic    Topic
	Envelope []byte
	// Position and Previous are those of this publication and of the one
	// before it in the topic's history; zero for topics without one.
	Position, Previous Position
}

// Position names a message in a topic's history: its offset, and its id, since
// after a loss another message may stand at the same offset.
type Position struct {
	Offset uint64
	ID     string
}

// IsZero reports whether the position is that of a message without a history.
func (p Position) IsZero() bool { return p == Position{} }

// Abilities are what a backplane can do beyond publishing and subscribing, each
// nil where it can't. A backplane that wraps another must hand these on,
// wrapped where they carry envelopes.
type Abilities struct {
	// History keeps what was published.
	History History
}

// History reads what a topic's log holds. Its methods may be called
// concurrently.
type History interface {
	// Read returns the entries from the offset of since on, inclusive, in
	// order, at most limit of them, and the position of the newest entry. The
	// entry at since.Offset comes first where the log still has it, so that
	// the caller can compare its id: another id, or another first offset, means
	// that the log was cut or rewritten.
	Read(ctx context.Context, topic Topic, since Position, limit int) (entries []Delivery, top Position, err error)
}

// Errors that a Backplane's methods return, wrapped.
var (
	// ErrTooLarge says that an envelope is larger than the broker takes.
	// Nothing was published.
	ErrTooLarge = errors.New("hub: message too large")
	// ErrUnavailable says that the broker is away. Nothing was published.
	ErrUnavailable = errors.New("hub: backplane unavailable")
)
