package backplane

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"

	"forge.lthn.ai/core/go-ws/hub"
)

// EncryptedConfig configures an Encrypted.
type EncryptedConfig struct {
	// Keys are what all hubs share. The first one encrypts, all decrypt. At
	// least one is required. They are copied.
	Keys []Key
	// DangerouslyAcceptPlain lets plain JSON objects through, for programs that
	// publish without a hub and without the keys. Whoever can write to the
	// broker can then publish to any channel, but for what only hubs may say:
	// envelopes of hubs that are not encrypted are refused all the same.
	DangerouslyAcceptPlain bool
	// Logger gets a line of level Debug for each publication that is refused:
	// its topic and the reason. Defaults to slog.Default.
	Logger *slog.Logger
}

// EncryptedStats are an Encrypted's figures.
type EncryptedStats struct {
	// Opened counts deliveries that were decrypted.
	Opened uint64
	// Plain counts plain JSON that DangerouslyAcceptPlain let through.
	Plain uint64
	// Refused counts what was dropped, by reason.
	Refused EncryptedRefusals
}

// EncryptedRefusals are deliveries that were dropped.
type EncryptedRefusals struct {
	// NotEncrypted is what does not look encrypted: plain publications, or of
	// another version of the format.
	NotEncrypted uint64
	// UnknownKey is what says that another key than these encrypted it.
	UnknownKey uint64
	// Forged is what does not open: it was changed, cut off, or published on
	// another topic.
	Forged uint64
}

// Encrypted is a hub.Backplane that encrypts what another one carries, so that
// the broker, and whoever can read or write there, sees no payloads and forges
// none. All methods may be called concurrently.
//
// # What it protects
//
// Payloads, and all else that an envelope holds: which hub published, a
// message's key and trace. Each envelope is bound to its topic: on another one it
// does not open. The broker still sees topics, which name channels and users,
// the ids of messages, sizes and times. It can drop, delay and repeat what was
// published on a topic; repetitions are dropped by hubs as far as they remember
// (see hub.Stats).
//
// What does not open is dropped, counted in Stats, and logged at level Debug. It
// is not reported as a disruption: whoever can write to the broker could else
// make every hub repair its channels without end. Plain publications of other
// programs are dropped too, unless DangerouslyAcceptPlain is set.
//
// # Keys
//
// A key is changed in three steps, each a deploy of all hubs:
//
//  1. Keys{old, new}: everybody reads both, and writes with the old one.
//  2. Keys{new, old}: everybody writes with the new one.
//  3. Keys{new}, once nothing that the old one encrypted is needed: live
//     publications after a minute, a History when its logs have forgotten them.
//
// A fleet that is not encrypted yet moves by a Dual, from the backplane as it is
// to an Encrypted with another prefix.
//
// # Format and limits
//
//	byte 0      0xB8, which neither JSON nor a hub's envelope begins with
//	byte 1      1, the version
//	byte 2–9    the key's id, derived from it
//	byte 10–25  salt, drawn at random by each Encrypted
//	byte 26–33  number of the message, big endian
//	…           the envelope, encrypted by AES-256-GCM, and 16 bytes of tag
//
// All that stands before it, and the topic, are authenticated. HKDF-SHA-256
// derives an AES key from the shared one and the salt, and the nonce is bytes 22
// to 33, so that no AES key sees a nonce twice, however many hubs share a key and
// however often they restart. After 2³² messages a new salt is drawn, which
// keeps each AES key far below what GCM allows; the shared key needs no change
// for the number of messages. An envelope grows by 50 bytes, and what the inner
// backplane refuses as too large shrinks by as much.
type Encrypted struct {
	inner     hub.Backplane
	abilities hub.Abilities
	keys      *keyring
	seal      sealer
	plain     bool
	logger    *slog.Logger

	opened, plainTaken, notEncrypted, unknownKey, forged atomic.Uint64
}

// NewEncrypted wraps a backplane, which is not started and belongs to the
// Encrypted from then on. A Dual can't be wrapped: its hubs on one broker alone
// could not read it. Wrap its sides.
func NewEncrypted(inner hub.Backplane, cfg EncryptedConfig) (*Encrypted, error) {
	if inner == nil {
		return nil, errors.New("backplane: encrypting: no backplane")
	}
	if _, dual := inner.(*Dual); dual {
		return nil, errors.New("backplane: encrypting: a Dual can't be encrypted: encrypt its sides")
	}
	keys, err := newKeyring(cfg.Keys)
	if err != nil {
		return nil, err
	}
	e := &Encrypted{inner: inner, keys: keys, seal: sealer{key: keys.keys[0]}, plain: cfg.DangerouslyAcceptPlain, logger: cfg.Logger}
	if e.logger == nil {
		e.logger = slog.Default()
	}
	if history := inner.Abilities().History; history != nil {
		e.abilities.History = &encryptedHistory{inner: history, encrypted: e}
	}
	return e, nil
}

// Start starts the inner backplane.
func (e *Encrypted) Start(ctx context.Context, r hub.BackplaneReceiver) error {
	if r == nil {
		return errors.New("backplane: start: no receiver")
	}
	return e.inner.Start(ctx, &encryptedReceiver{encrypted: e, receiver: r})
}

// Publish encrypts the envelope and publishes it.
func (e *Encrypted) Publish(ctx context.Context, p hub.Publication) (hub.Published, error) {
	sealed, err := e.seal.seal(p.Topic, p.Envelope)
	if err != nil {
		return hub.Published{}, fmt.Errorf("backplane: encrypting: %w", err)
	}
	p.Envelope = sealed
	return e.inner.Publish(ctx, p)
}

// Subscribe is the inner backplane's.
func (e *Encrypted) Subscribe(ctx context.Context, topics ...hub.Topic) error {
	return e.inner.Subscribe(ctx, topics...)
}

// Unsubscribe is the inner backplane's.
func (e *Encrypted) Unsubscribe(ctx context.Context, topics ...hub.Topic) error {
	return e.inner.Unsubscribe(ctx, topics...)
}

// Abilities are the inner backplane's, with the entries of its History
// decrypted.
func (e *Encrypted) Abilities() hub.Abilities { return e.abilities }

// Stats returns the figures.
func (e *Encrypted) Stats() EncryptedStats {
	return EncryptedStats{
		Opened: e.opened.Load(),
		Plain:  e.plainTaken.Load(),
		Refused: EncryptedRefusals{
			NotEncrypted: e.notEncrypted.Load(),
			UnknownKey:   e.unknownKey.Load(),
			Forged:       e.forged.Load(),
		},
	}
}

// Close closes the inner backplane.
func (e *Encrypted) Close() error { return e.inner.Close() }

// open decrypts what came from the broker and counts.
func (e *Encrypted) open(topic hub.Topic, data []byte) ([]byte, error) {
	envelope, err := e.keys.open(topic, data)
	switch {
	case err == nil:
		e.opened.Add(1)
	case errors.Is(err, errNotEncrypted) && e.plain && looksLikeJSON(data):
		e.plainTaken.Add(1)
		return data, nil
	case errors.Is(err, errNotEncrypted):
		e.notEncrypted.Add(1)
	case errors.Is(err, errUnknownKey):
		e.unknownKey.Add(1)
	default:
		e.forged.Add(1)
	}
	return envelope, err
}

// looksLikeJSON reports whether bytes begin like a JSON object.
func looksLikeJSON(data []byte) bool {
	for _, b := range data {
		switch b {
		case ' ', '\t', '\r', '\n':
		default:
			return b == '{'
		}
	}
	return false
}

// encryptedReceiver decrypts on the way to the receiver.
type encryptedReceiver struct {
	encrypted *Encrypted
	receiver  hub.BackplaneReceiver
}

func (r *encryptedReceiver) Deliver(d hub.Delivery) {
	envelope, err := r.encrypted.open(d.Topic, d.Envelope)
	if err != nil {
		r.encrypted.logger.Debug("publication dropped", slog.String("topic", string(d.Topic)), slog.Any("error", err))
		return
	}
	d.Envelope = envelope
	r.receiver.Deliver(d)
}

func (r *encryptedReceiver) Disrupted(err error) { r.receiver.Disrupted(err) }
func (r *encryptedReceiver) Restored()           { r.receiver.Restored() }

// encryptedHistory decrypts what is read.
type encryptedHistory struct {
	inner     hub.History
	encrypted *Encrypted
}

func (h *encryptedHistory) Declare(logs ...hub.Log) error { return h.inner.Declare(logs...) }

// Read returns an error where an entry does not open: a page without it would
// look whole.
func (h *encryptedHistory) Read(ctx context.Context, r hub.ReadRequest) (hub.Page, error) {
	page, err := h.inner.Read(ctx, r)
	if err != nil {
		return hub.Page{}, err
	}
	entries := make([]hub.Delivery, len(page.Entries)) // the inner one's stay as they are
	for i, entry := range page.Entries {
		envelope, err := h.encrypted.open(entry.Topic, entry.Envelope)
		if err != nil {
			return hub.Page{}, fmt.Errorf("backplane: reading topic %q at %d: %w", r.Topic, entry.Position.Offset, err)
		}
		entry.Envelope = envelope
		entries[i] = entry
	}
	page.Entries = entries
	return page, nil
}

func (h *encryptedHistory) Tops(ctx context.Context, log string, topics ...hub.Topic) ([]hub.Position, error) {
	return h.inner.Tops(ctx, log, topics...)
}
