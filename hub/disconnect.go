package hub

import (
	"context"
	"fmt"
	"strings"
	"unicode/utf8"

	"forge.lthn.ai/core/go-ws/hub/wire"
)

// DisconnectUser closes all clients of a user, on every hub, as Client.Close
// does: what waits for them is still written, then they get the code and the
// reason, which is cut to wire.MaxCloseReason bytes. Those of this hub are told
// at once, here is how many they are. It returns when the backplane has
// acknowledged the word to the other hubs, at the latest when ctx ends or, where
// ctx has no deadline, after BackplaneTimeout; a hub that is not reached at that
// moment never hears it. Who comes back may: refuse them before, by the
// Authenticator.
//
// The error wraps ErrInvalidMessage (a code that is not wire.CloseCode.Sendable,
// a user id that nobody can have), ErrNotRunning, or ErrNotPropagated: then the
// clients of this hub are closed. Doing it again does no harm.
func (h *Hub) DisconnectUser(ctx context.Context, userID string, code wire.CloseCode, reason string) (here int, err error) {
	if err := h.checkDisconnect(ctx, code); err != nil {
		return 0, err
	}
	if !nameableUser(userID) {
		return 0, fmt.Errorf("hub: disconnecting: %w: no such user id can be", ErrInvalidMessage)
	}
	reason = cutReason(reason)
	here = h.disconnectUser(userID, code, reason)
	if h.interest == nil {
		return here, nil
	}
	return here, h.propagateDisconnect(ctx, wire.TopicControl, &wire.Control{User: userID, Code: code, Reason: reason})
}

// DisconnectClient closes one client, on whichever hub it is. See DisconnectUser
// for how, and for the errors; it also wraps ErrNoClient where the client would
// be on this hub and is not. For a client of another hub nobody answers.
func (h *Hub) DisconnectClient(ctx context.Context, clientID string, code wire.CloseCode, reason string) error {
	if err := h.checkDisconnect(ctx, code); err != nil {
		return err
	}
	hubID, rest, ok := strings.Cut(clientID, ".")
	if !ok || hubID == "" || rest == "" || len(clientID) > wire.MaxTarget || !utf8.ValidString(clientID) ||
		hubID != h.id && h.interest == nil {
		return fmt.Errorf("hub: disconnecting client: %w", ErrNoClient)
	}
	reason = cutReason(reason)
	if hubID == h.id {
		if !h.disconnectClient(clientID, code, reason) {
			return fmt.Errorf("hub: disconnecting client: %w", ErrNoClient)
		}
		return nil
	}
	return h.propagateDisconnect(ctx, Topic(wire.HubTopic(hubID)), &wire.Control{Client: clientID, Code: code, Reason: reason})
}

func (h *Hub) checkDisconnect(ctx context.Context, code wire.CloseCode) error {
	if err := h.publishing(); err != nil {
		return fmt.Errorf("hub: disconnecting: %w", err)
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("hub: disconnecting: %w", err)
	}
	if !code.Sendable() {
		return fmt.Errorf("hub: disconnecting: %w: close code %d can't be sent", ErrInvalidMessage, code)
	}
	return nil
}

// propagateDisconnect numbers the message, unlike others: one that comes a second
// time, later, would close those that have come back since.
func (h *Hub) propagateDisconnect(ctx context.Context, t Topic, c *wire.Control) error {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, h.cfg.BackplaneTimeout)
		defer cancel()
	}
	c.Kind = wire.ControlDisconnect
	if err := h.fleet.publish(ctx, t, h.sequence.next(t), c); err != nil {
		h.count.publishErrors.Add(1)
		return fmt.Errorf("hub: disconnecting: %w: %w", ErrNotPropagated, err)
	}
	return nil
}

// disconnectUser closes this hub's clients of a user and returns how many there
// were.
func (h *Hub) disconnectUser(userID string, code wire.CloseCode, reason string) int {
	clients := h.users.clients(userID)
	for _, c := range clients {
		c.Close(code, reason)
	}
	return len(clients)
}

// disconnectClient closes a client of this hub, if it is there.
func (h *Hub) disconnectClient(clientID string, code wire.CloseCode, reason string) bool {
	c := h.roster.find(clientID)
	if c == nil {
		return false
	}
	c.Close(code, reason)
	return true
}

// clients are those on a channel.
func (r *registry) clients(name string) []*Client {
	ch := r.find(name)
	if ch == nil {
		return nil
	}
	ch.mu.Lock()
	defer ch.mu.Unlock()
	clients := make([]*Client, len(ch.subs))
	for i, sub := range ch.subs {
		clients[i] = sub.client
	}
	return clients
}
