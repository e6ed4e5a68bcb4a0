package hub

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Backplane is the port that joins hubs into one system. Package backplane
// fills it within one process, adapters of their own with brokers;
// hubtest.TestBackplane is the suite that an implementation must pass.
//
// A Backplane serves one hub. Publish, Subscribe and Unsubscribe may be called
// concurrently; the hub calls Subscribe and Unsubscribe from one goroutine, so
// that no two such calls ever overlap for one topic.
type Backplane interface {
	// Start connects and hands over the receiver. It is called once, before
	// anything else but Abilities, History.Declare and Close, and does not wait
	// for a broker that is away: the adapter goes on trying and calls Restored
	// when it is there (an adapter may offer an option that makes it fail
	// instead). An error means that no attempt will ever succeed as it is
	// configured. ctx bounds the call, not what it starts.
	Start(ctx context.Context, r BackplaneReceiver) error

	// Publish hands one publication to the broker and returns when the broker
	// has acknowledged it, or with an error, at the latest when ctx ends. What
	// an acknowledgement is worth depends on the broker's settings. After an
	// error the outcome is unknown, except after ErrTooLarge and
	// ErrUnavailable: then nothing was published. Publications that one
	// goroutine publishes one after another are delivered in that order.
	//
	// The adapter never changes the envelope, and keeps nothing of it after the
	// call: the caller may write over it.
	Publish(ctx context.Context, p Publication) (Published, error)

	// Subscribe returns nil once every topic is live at the server that the
	// adapter is connected to: what is published there afterwards arrives,
	// what is published by this same backplane included. It returns at the
	// latest when ctx ends. After an error none of the topics is subscribed,
	// unless it is a *SubscribeError: then those that it does not name are
	// live. An adapter whose broker has several parts names the topics of a part
	// that fails, at once once it knows that the part is silent.
	// A topic that is live already stays live. Once live, a topic is brought
	// back by the adapter after every disruption, until Unsubscribe.
	Subscribe(ctx context.Context, topics ...Topic) error

	// Unsubscribe ends subscriptions. A topic that is not subscribed is no
	// error. Publications that were under way may still be delivered. While the
	// broker is away it returns nil: what is not there is not brought back.
	// After an error the topics may still be subscribed.
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
// method blocks. Deliver is never called concurrently for one topic; Disrupted
// and Restored are called one after the other, so that the last one says how
// things are.
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
	// Log names the log that keeps the publication, one that was declared to
	// the backplane's History. Empty: nothing keeps it.
	Log string
}

// Published is the outcome of a successful Publish.
type Published struct {
	// Position is zero for topics without a history.
	Position Position
	// Duplicate says that the log had the id already: nothing was published,
	// and Position is the earlier message's; without its id where the log does
	// not keep that message any more and the broker does not tell.
	Duplicate bool
}

// Delivery is what a hub receives.
type Delivery struct {
	Topic    Topic
	Envelope []byte
	// Position and Previous are those of this publication and of the one
	// before it in the topic's history; zero for topics without one. Where the
	// broker does not tell the id of the one before, Previous.ID is empty;
	// where it does not tell which one was before, Previous is zero.
	Position, Previous Position
}

// Position names a place in a topic's history: an entry by its offset and its
// id, since after a loss another entry may stand at the same offset. The id, of
// up to 64 bytes, is drawn anew for every append and is not the message's: a
// message that is published again after a loss may come to its old offset, with
// others before it. Offsets increase within a topic, with gaps on some brokers.
// The place before the first entry has the id of the log itself, drawn when the
// log is first written or read, and the offset that the log had reached: zero,
// or more on a broker that counts several topics together.
type Position struct {
	Offset uint64
	ID     string
}

// IsZero reports whether the position says nothing: there is no history, or it
// is not known.
func (p Position) IsZero() bool { return p == Position{} }

// Abilities are what a backplane can do beyond publishing and subscribing, each
// nil where it can't. A backplane that wraps another must hand these on,
// wrapped where they carry envelopes.
type Abilities struct {
	// History keeps what was published.
	History History
}

// History keeps the publications that name a log. Publish then returns the
// position, once the publication is in the log, and an error for a log that was
// not declared, as Read and Tops do. Deliveries come in the log's order; the same id published again on
// the same topic within the adapter's window appends nothing and returns the
// first one's position. Adapters don't compare the envelopes: those of two hubs
// differ for one message, and encrypted ones always do.
//
// Read and Tops see whatever this backplane delivered, acknowledged or read before:
// an answer that is older (a replica's) is asked for again elsewhere, and is
// believed where the broker has no newer one: then its log was rewound. They may
// be called concurrently and return at the latest when ctx ends; while the
// broker is away, and after Close, they return an error.
type History interface {
	// Declare names the logs that publications will use. It is called at most
	// once, before Start, and reaches no network; another call is an error. An
	// error means that the adapter can't keep such logs as it is configured, or
	// that one is not valid: its name, a negative limit, a name given twice.
	Declare(logs ...Log) error

	// Read returns a part of a topic's log. Nobody changes it afterwards.
	Read(ctx context.Context, r ReadRequest) (Page, error)

	// Tops returns the newest position of each topic, in their order, in few
	// round trips.
	Tops(ctx context.Context, log string, topics ...Topic) ([]Position, error)
}

// Log is a kind of history that any number of topics share; each has messages
// and a limit of its own. A topic belongs to one log; moved to another it
// begins anew.
type Log struct {
	// Name is up to 32 letters, digits, "-" and "_". A log keeps its name when
	// its limits change, or its messages are gone.
	Name string
	// Messages that are kept per topic, at least; zero: no limit.
	Messages int
	// Age up to which messages are kept, at least; zero: no limit. Where both
	// limits are set a message is kept while it is within both.
	Age time.Duration
}

// ReadRequest says what History.Read returns.
type ReadRequest struct {
	Log   string
	Topic Topic
	// Since is where to begin, inclusive: the first entry is the one at
	// Since.Offset, or the first one after it where that one is gone. Zero
	// begins at the oldest entry. The id is not looked at: the caller compares.
	Since Position
	// Last begins at the newest entries, that many, and overrides Since.
	Last int
	// Limit is the most entries to return, counted from where they begin; zero:
	// none, just the top.
	Limit int
}

// Page is what History.Read returns.
type Page struct {
	// Entries in order. Each one's Previous is the entry before it, and the
	// first one's is set only where nothing was removed between the two. Unlike
	// a delivery's, a Previous here is whole or zero: positions are proven by it.
	Entries []Delivery
	// Top is the newest position. It may be ahead of the entries, also of
	// fewer than Limit.
	Top Position
}

// SubscribeError says that Subscribe has joined some topics and not others.
type SubscribeError struct {
	// Failed are the topics that are not subscribed, each with the reason.
	Failed map[Topic]error
}

func (e *SubscribeError) Error() string {
	for topic, err := range e.Failed {
		return fmt.Sprintf("hub: %d topics not subscribed, among them %q: %v", len(e.Failed), topic, err)
	}
	return "hub: topics not subscribed"
}

// Errors that a Backplane's methods return, wrapped.
var (
	// ErrTooLarge says that an envelope is larger than the broker takes.
	// Nothing was published.
	ErrTooLarge = errors.New("hub: message too large")
	// ErrUnavailable says that the broker is away. Nothing was published. An
	// application's callback wraps it to say that something else is away: the
	// client is then told to try again, not that it was refused.
	ErrUnavailable = errors.New("hub: unavailable")
)
