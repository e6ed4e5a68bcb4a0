package hub

import (
	"iter"
	"sync/atomic"
)

// Stats are a hub's figures at one moment. Counters count from the hub's
// start. The figures are read one after another, not all at the same instant.
type Stats struct {
	// Clients, Channels and Subscriptions are what there is now: clients that
	// are connected, channels that have a subscriber here, and clients times
	// the channels they are on.
	Clients, Channels, Subscriptions int
	// Handshakes are the upgrades under way.
	Handshakes int

	// Connected counts clients that were admitted, Disconnected those that have gone,
	// by reason.
	Connected    uint64
	Disconnected map[DisconnectReason]uint64
	// Refused counts requests and frames that were refused, by cause.
	Refused map[RefusalCause]uint64

	// Published counts successful calls that publish, Received publications
	// that came from other hubs and foreign programs.
	Published, Received uint64
	// Queued counts messages put into outboxes, one per receiver, replies
	// included; Delivered those that a connection has taken, in Flushes
	// batches.
	Queued, Delivered, Flushes uint64
	// Dropped counts messages that were in an outbox and will not be
	// delivered, by cause.
	Dropped Dropped
	// BytesOut are the bytes that connections have taken, uncompressed;
	// BytesIn those of the messages that clients sent.
	BytesIn, BytesOut uint64
	// FramesIn counts the messages that clients sent.
	FramesIn uint64
	// Panics counts callbacks that panicked, CallbackErrors those that returned
	// an error that is no *RequestError: a failure of the application, or a
	// refusal that gives no reason.
	Panics, CallbackErrors uint64

	Backplane BackplaneStats
}

// Dropped counts messages that were queued for a client and are lost to it.
type Dropped struct {
	// Overflow: found the outbox full, and so ended the client or went in
	// place of older ones.
	Overflow uint64
	// Replaced: a later message of the same key took its place.
	Replaced uint64
	// Gone: still waited when the client's connection ended.
	Gone uint64
}

// BackplaneStats is the backplane as this hub sees it.
type BackplaneStats struct {
	// Configured says that there is a backplane at all.
	Configured bool
	// Healthy says that every subscription is live, as far as is known.
	Healthy bool
	// Topics that are live, and those that wait to become so.
	Topics, TopicsPending int
	// Disruptions counts the times that publications may have been lost.
	Disruptions uint64
	// PublishErrors counts publications that did not, or not surely, reach
	// other hubs.
	PublishErrors uint64
	// Duplicates counts publications that came twice, Missed those that the
	// sequence numbers say were lost on the way, Malformed those that could
	// not be read. One counts as missed when 64 later ones of its publisher's
	// have come, and no longer should it come after all.
	Duplicates, Missed, Malformed uint64
	// Foreign counts plain messages, published by programs that are no hubs.
	Foreign uint64
	// Hubs is how many hubs are known to live, this one included.
	Hubs int
	// ControlDropped counts what hubs say to each other and had no room here:
	// questions past 200 a second, answers that could not be sent, hubs past
	// 10,000.
	ControlDropped uint64
}

// counters are the hub's, in one place. All are atomic: they are touched from
// everywhere.
type counters struct {
	connected, published, received         atomic.Uint64
	queued, delivered, flushes             atomic.Uint64
	droppedOverflow, droppedReplaced       atomic.Uint64
	droppedGone                            atomic.Uint64
	bytesIn, bytesOut, framesIn, panics    atomic.Uint64
	callbackErrors                         atomic.Uint64
	disruptions, publishErrors, duplicates atomic.Uint64
	missed, malformed, foreign             atomic.Uint64
	controlDropped                         atomic.Uint64
	refused                                [len(refusalCauses)]atomic.Uint64
	disconnected                           [len(disconnectReasons)]atomic.Uint64
	handshakes                             atomic.Int64
}

var refusalCauses = [...]RefusalCause{
	RefusedNotRunning, RefusedOrigin, RefusedAuth, RefusedHandshakes, RefusedClients, RefusedUserClients,
	RefusedAddressClients, RefusedUpgrade, RefusedByApplication, RefusedSubscription, RefusedMaxSubscriptions,
	RefusedChannelName, RefusedFrame, RefusedFrameType, RefusedRate, RefusedTooBig, RefusedInvalidData, RefusedProtocol,
}

var disconnectReasons = [...]DisconnectReason{
	DisconnectedByClient, DisconnectedByServer, DisconnectedSlow, DisconnectedSilent, DisconnectedExpired,
	DisconnectedRefused, DisconnectedShutdown,
}

func (h *Hub) refused(cause RefusalCause) {
	for i := range refusalCauses {
		if refusalCauses[i] == cause {
			h.count.refused[i].Add(1)
		}
	}
	if f := h.cfg.Observer.Refused; f != nil {
		f(cause)
	}
}

func (h *Hub) countDisconnect(reason DisconnectReason) {
	for i := range disconnectReasons {
		if disconnectReasons[i] == reason {
			h.count.disconnected[i].Add(1)
		}
	}
}

// Stats returns the hub's figures. It may be called at any time.
func (h *Hub) Stats() Stats {
	n := &h.count
	s := Stats{
		Clients:       h.roster.len(),
		Channels:      h.channels.len(),
		Subscriptions: h.channels.subscriptions(),
		Handshakes:    int(n.handshakes.Load()),
		Connected:     n.connected.Load(),
		Disconnected:  make(map[DisconnectReason]uint64),
		Refused:       make(map[RefusalCause]uint64),
		Published:     n.published.Load(),
		Received:      n.received.Load(),
		Queued:        n.queued.Load(),
		Delivered:     n.delivered.Load(),
		Flushes:       n.flushes.Load(),
		Dropped: Dropped{
			Overflow: n.droppedOverflow.Load(),
			Replaced: n.droppedReplaced.Load(),
			Gone:     n.droppedGone.Load(),
		},
		BytesIn:        n.bytesIn.Load(),
		BytesOut:       n.bytesOut.Load(),
		FramesIn:       n.framesIn.Load(),
		Panics:         n.panics.Load(),
		CallbackErrors: n.callbackErrors.Load(),
		Backplane: BackplaneStats{
			Disruptions:   n.disruptions.Load(),
			PublishErrors: n.publishErrors.Load(),
			Duplicates:    n.duplicates.Load(),
			Missed:        n.missed.Load(),
			Malformed:     n.malformed.Load(),
			Foreign:       n.foreign.Load(),

			ControlDropped: n.controlDropped.Load(),
		},
	}
	for i, cause := range refusalCauses {
		if v := n.refused[i].Load(); v > 0 {
			s.Refused[cause] = v
		}
	}
	for i, reason := range disconnectReasons {
		if v := n.disconnected[i].Load(); v > 0 {
			s.Disconnected[reason] = v
		}
	}
	if h.interest != nil {
		s.Backplane.Configured = true
		s.Backplane.Healthy = h.interest.unhealthy() == nil
		s.Backplane.Hubs = h.fleet.known()
		s.Backplane.Topics, s.Backplane.TopicsPending = h.interest.counts()
	}
	return s
}

// ClientCount returns how many clients are connected.
func (h *Hub) ClientCount() int { return h.roster.len() }

// ChannelCount returns how many channels have a subscriber on this hub.
func (h *Hub) ChannelCount() int { return h.channels.len() }

// ChannelSubscriberCount returns how many clients of this hub are on a channel.
func (h *Hub) ChannelSubscriberCount(channel string) int { return h.channels.subscribers(channel) }

// Clients iterates over the clients that were connected when it began.
func (h *Hub) Clients() iter.Seq[*Client] {
	return func(yield func(*Client) bool) {
		for _, c := range h.roster.snapshot() {
			if !yield(c) {
				return
			}
		}
	}
}

// Channels iterates over the names of the channels that had a subscriber on
// this hub when it began, in no order.
func (h *Hub) Channels() iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, name := range h.channels.names() {
			if !yield(name) {
				return
			}
		}
	}
}
