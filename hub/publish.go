package hub

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"forge.lthn.ai/core/go-ws/hub/wire"
)

// Result is the outcome of a publish.
type Result struct {
	// ID is the message's id: the caller's, or the one that it was given.
	ID string
	// Position is zero on live channels.
	Position Position
}

// SendToChannel publishes a message to everybody who is on a channel, on every
// hub. It returns when this hub's clients have it in their outboxes and the
// backplane has acknowledged it, at the latest when ctx ends or, where ctx has
// no deadline, after BackplaneTimeout. It does not wait for any client. Nobody
// being on the channel is no error.
//
// The messages that one goroutine sends, one call after another, arrive in that
// order. The error wraps ErrInvalidChannel, ErrInvalidMessage, ErrTooLarge
// (over OutboxBytes), ErrNotRunning, or ErrNotPropagated: then this hub's
// clients got it, also where the backplane's ErrTooLarge is wrapped beside it.
// A message is encoded once however many receive it; its Data
// is not kept.
func (h *Hub) SendToChannel(ctx context.Context, channel string, m Message) (Result, error) {
	if err := wire.CheckChannel(channel, h.cfg.MaxChannelLength); err != nil {
		return Result{}, fmt.Errorf("hub: publishing: %w", err)
	}
	return h.publish(ctx, address{kind: toChannel, name: channel}, m)
}

// Broadcast publishes a message to all clients of all hubs. See SendToChannel
// for when it returns and with which errors.
func (h *Hub) Broadcast(ctx context.Context, m Message) (Result, error) {
	return h.publish(ctx, address{kind: toAll}, m)
}

// SendToUser publishes a message to all clients of a user, on every hub. See
// SendToChannel for when it returns and with which errors.
func (h *Hub) SendToUser(ctx context.Context, userID string, m Message) (Result, error) {
	if userID == "" || len(userID) > wire.MaxChannel || !utf8.ValidString(userID) {
		return Result{}, fmt.Errorf("hub: publishing: %w: no such user id can be", ErrInvalidMessage)
	}
	return h.publish(ctx, address{kind: toUser, name: userID}, m)
}

// SendToClient publishes a message to one client, on whichever hub it is. The
// error wraps ErrNoClient where the client would be on this hub and is not; for
// a client of another hub nobody answers, and a message to one that has gone is
// lost. See SendToChannel for the other errors.
func (h *Hub) SendToClient(ctx context.Context, clientID string, m Message) (Result, error) {
	hubID, rest, ok := strings.Cut(clientID, ".")
	if !ok || hubID == "" || rest == "" || len(clientID) > wire.MaxTarget || !utf8.ValidString(clientID) {
		return Result{}, fmt.Errorf("hub: publishing to client: %w", ErrNoClient)
	}
	if hubID != h.id && h.interest == nil {
		return Result{}, fmt.Errorf("hub: publishing to client: %w", ErrNoClient)
	}
	return h.publish(ctx, address{kind: toClient, name: clientID, hub: hubID}, m)
}

// SendProcessOutput publishes a piece of a process's output on the channel
// "process:" and the process's id.
func (h *Hub) SendProcessOutput(ctx context.Context, processID, output string) (Result, error) {
	return h.SendToChannel(ctx, "process:"+processID, Message{
		Type: TypeProcessOutput, ProcessID: processID, Data: output,
	})
}

// ProcessStatus is the data of a process_status message.
type ProcessStatus struct {
	Status   string `json:"status"`
	ExitCode int    `json:"exitCode"`
}

// SendProcessStatus publishes the state of a process on the channel "process:"
// and the process's id.
func (h *Hub) SendProcessStatus(ctx context.Context, processID, status string, exitCode int) (Result, error) {
	return h.SendToChannel(ctx, "process:"+processID, Message{
		Type: TypeProcessStatus, ProcessID: processID, Data: ProcessStatus{status, exitCode},
	})
}

// Event is the data of the messages that SendEvent publishes.
type Event struct {
	Event string `json:"event"`
	Data  any    `json:"data,omitempty"`
}

// SendEvent publishes a named event to all clients of all hubs.
func (h *Hub) SendEvent(ctx context.Context, event string, data any) (Result, error) {
	return h.Broadcast(ctx, Message{Type: TypeEvent, Data: Event{event, data}})
}

// SendError tells all clients of all hubs of an error. The text is for people
// and must hold nothing that they may not see.
func (h *Hub) SendError(ctx context.Context, text string) (Result, error) {
	return h.Broadcast(ctx, Message{Type: TypeError, Data: wire.ErrorData{Code: wire.ErrorServer, Message: text}})
}

// address is whom a message is for.
type address struct {
	kind addressKind
	// name of the channel, the user or the client.
	name string
	// hub that the client is on.
	hub string
}

type addressKind uint8

const (
	toAll addressKind = iota
	toChannel
	toUser
	toClient
)

func (a address) topic() Topic {
	switch a.kind {
	case toChannel:
		return Topic(wire.ChannelTopic(a.name))
	case toUser:
		return Topic(wire.UserTopic(a.name))
	case toClient:
		return Topic(wire.HubTopic(a.hub))
	}
	return wire.TopicBroadcast
}

func (h *Hub) publish(ctx context.Context, to address, m Message) (Result, error) {
	began := time.Now()
	if err := h.publishing(); err != nil {
		return Result{}, fmt.Errorf("hub: publishing: %w", err)
	}
	if err := ctx.Err(); err != nil {
		return Result{}, fmt.Errorf("hub: publishing: %w", err)
	}
	channel := ""
	if to.kind == toChannel {
		channel = to.name
	}
	if m.Type == TypeReply {
		return Result{}, fmt.Errorf("hub: publishing: %w: a reply answers one client's frame", ErrInvalidMessage)
	}
	e := getEncoder()
	defer e.put()
	payload, err := e.message(&m, channel, began)
	if err != nil {
		return Result{}, fmt.Errorf("hub: publishing: %w", err)
	}
	frame, err := h.prepare(payload)
	if err != nil {
		return Result{}, fmt.Errorf("hub: publishing: %w", err)
	}
	p := publication{to: to, id: m.ID, chosen: m.ID != "", key: m.Key, payload: payload, frame: frame}
	if !p.chosen {
		p.id = newMessageID()
	}
	clients, err := h.deliverOnce(&p, began)
	if err != nil {
		return Result{}, fmt.Errorf("hub: publishing to client: %w", err)
	}
	result := Result{ID: p.id}
	var inBackplane time.Duration
	if h.interest != nil && !(to.kind == toClient && to.hub == h.id) {
		asked := time.Now()
		result.Position, err = h.propagate(ctx, &p, e)
		inBackplane = time.Since(asked)
	}
	if err == nil {
		h.count.published.Add(1)
	}
	if observe := h.cfg.Observer.Published; observe != nil {
		observe(ctx, PublishObservation{
			Topic: to.topic(), ID: p.id, Bytes: len(payload), Clients: clients,
			Elapsed: time.Since(began), Backplane: inBackplane, Err: err,
		})
	}
	return result, err
}

// deliverOnce queues a message for this hub's clients, unless it is published
// again and has reached them.
func (h *Hub) deliverOnce(p *publication, now time.Time) (clients int, err error) {
	if !p.chosen {
		return h.deliverLocal(p)
	}
	scope := p.to.topic()
	if p.to.kind == toClient {
		scope = recentScope(scope, p.to.name)
	}
	if !h.recent.add(scope, p.id, now) {
		return 0, nil
	}
	if clients, err = h.deliverLocal(p); err != nil {
		h.recent.remove(scope, p.id)
	}
	return clients, err
}

// publication is a message on its way.
type publication struct {
	to      address
	id      string
	chosen  bool // the id is the caller's
	key     string
	payload []byte
	frame   Frame
}

// prepare makes a payload the transport's.
func (h *Hub) prepare(payload []byte) (Frame, error) {
	frame := h.cfg.Transport.Prepare(TextFrame, payload)
	if frame.Size() > h.cfg.OutboxBytes {
		return nil, fmt.Errorf("%w: %d bytes do not fit into an outbox of %d", ErrTooLarge, frame.Size(), h.cfg.OutboxBytes)
	}
	return frame, nil
}

// deliverLocal queues a message for this hub's clients and returns for how many.
func (h *Hub) deliverLocal(p *publication) (int, error) {
	key := ""
	if p.key != "" && h.cfg.Overflow == OverflowKeepLatest {
		// The kind and the length keep apart what names and keys could spell
		// alike.
		key = string(rune(p.to.kind)) + strconv.Itoa(len(p.to.name)) + ":" + p.to.name + p.key
	}
	switch p.to.kind {
	case toChannel:
		return h.channels.deliver(h, p.to.name, p.frame, key), nil
	case toUser:
		return h.users.deliver(h, p.to.name, p.frame, key), nil
	case toAll:
		return h.roster.deliver(h, p.frame, key), nil
	}
	if p.to.hub != h.id {
		return 0, nil
	}
	c := h.roster.find(p.to.name)
	if c == nil || !h.sendTo(c, p.frame) {
		return 0, ErrNoClient
	}
	return 1, nil
}

// propagate publishes a message to the other hubs.
func (h *Hub) propagate(ctx context.Context, p *publication, memory *encoder) (Position, error) {
	t := p.to.topic()
	e := wire.Envelope{
		Source:     h.id,
		Sequence:   h.sequence.next(t),
		MessageID:  p.id,
		Idempotent: p.chosen,
		Key:        p.key,
		Payload:    p.payload,
	}
	if p.to.kind == toClient {
		e.Target = p.to.name
	}
	if inject := h.cfg.InjectTrace; inject != nil {
		if trace := inject(ctx); len(trace) <= wire.MaxTrace {
			e.Trace = trace
		}
	}
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, h.cfg.BackplaneTimeout)
		defer cancel()
	}
	memory.envelope = wire.AppendEnvelope(memory.envelope[:0], &e)
	published, err := h.cfg.Backplane.Publish(ctx, Publication{Topic: t, ID: p.id, Envelope: memory.envelope})
	if err != nil {
		h.count.publishErrors.Add(1)
		return Position{}, fmt.Errorf("%w: %w", ErrNotPropagated, err)
	}
	return published.Position, nil
}

// newMessageID returns 128 random bits as text. They have to be different from
// all others, not hard to guess.
func newMessageID() string {
	const digits = "0123456789abcdefghijklmnopqrstuv"
	var id [26]byte
	hi, lo := rand.Uint64(), rand.Uint64()
	for i := range 13 {
		id[i] = digits[hi&31]
		id[13+i] = digits[lo&31]
		hi, lo = hi>>5, lo>>5
	}
	return string(id[:])
}
