package backplane

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"forge.lthn.ai/core/go-ws/hub"
)

// KeySize is the length of a Key, in bytes.
const KeySize = 32

// Key is a secret that hubs share: 32 random bytes, as of crypto/rand or
// "openssl rand 32". A password is none. However it is printed or marshalled,
// its bytes don't show.
type Key []byte

const redactedKey = "[key]"

// Format prints no secret, whatever the verb.
func (k Key) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, redactedKey) }

// MarshalText marshals no secret.
func (k Key) MarshalText() ([]byte, error) { return []byte(redactedKey), nil }

// The format of Encrypted's envelopes: see there.
const (
	sealedMagic   = 0xB8
	sealedVersion = 1

	keyIDSize  = 8
	saltSize   = 16
	numberSize = 8
	nonceSize  = 12
	sealedHead = 2 + keyIDSize + saltSize + numberSize
	sealedTag  = 16

	// maxPerSalt is how many messages are sealed before a new salt is drawn.
	maxPerSalt = 1 << 32
	// maxOpeners bounds how many AES keys of other hubs are remembered.
	maxOpeners = 4096
)

// Why something does not open.
var (
	errNotEncrypted = errors.New("backplane: not encrypted")
	errUnknownKey   = errors.New("backplane: encrypted with an unknown key")
	errForged       = errors.New("backplane: does not open: changed, cut off, or of another topic")
)

// sharedKey is a Key that was prepared. It keeps its secret in a function, where
// no print of it shows.
type sharedKey struct {
	id     [keyIDSize]byte
	derive func(salt []byte) (cipher.AEAD, error)
}

func newSharedKey(k Key) (*sharedKey, error) {
	secret, err := hkdf.Extract(sha256.New, k, nil) // a copy of its own
	if err != nil {
		return nil, err
	}
	expand := func(info string, n int) ([]byte, error) {
		return hkdf.Expand(sha256.New, secret, "forge.lthn.ai/core/go-ws/backplane "+info, n)
	}
	id, err := expand("id", keyIDSize)
	if err != nil {
		return nil, err
	}
	return &sharedKey{
		id: [keyIDSize]byte(id),
		derive: func(salt []byte) (cipher.AEAD, error) {
			key, err := expand("message "+string(salt), KeySize)
			if err != nil {
				return nil, err
			}
			block, err := aes.NewCipher(key)
			if err != nil {
				return nil, err
			}
			return cipher.NewGCM(block)
		},
	}, nil
}

// nonceOf is a message's nonce: the end of the salt, which is the AES key's own,
// and the number.
func nonceOf(head []byte) []byte { return head[sealedHead-nonceSize:] }

// additional is what is authenticated beside the payload.
func additional(head []byte, topic hub.Topic) []byte {
	return append(head[:len(head):len(head)], topic...)
}

// sealer encrypts with one key.
type sealer struct {
	key *sharedKey

	mu     sync.Mutex
	salt   [saltSize]byte
	aead   cipher.AEAD // nil before the first message
	number uint64      // of the next message
}

func (s *sealer) seal(topic hub.Topic, envelope []byte) ([]byte, error) {
	out := make([]byte, 0, sealedHead+len(envelope)+sealedTag)
	out = append(out, sealedMagic, sealedVersion)
	out = append(out, s.key.id[:]...)
	aead, out, err := s.next(out)
	if err != nil {
		return nil, err
	}
	head := out[:sealedHead]
	return aead.Seal(out, nonceOf(head), envelope, additional(head, topic)), nil
}

// next appends the salt and the number of a new message.
func (s *sealer) next(out []byte) (cipher.AEAD, []byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.aead == nil || s.number >= maxPerSalt {
		_, _ = rand.Read(s.salt[:]) // never fails
		aead, err := s.key.derive(s.salt[:])
		if err != nil {
			return nil, nil, err
		}
		s.aead, s.number = aead, 0
	}
	out = append(out, s.salt[:]...)
	out = binary.BigEndian.AppendUint64(out, s.number)
	s.number++
	return s.aead, out, nil
}

// keyring decrypts with any of its keys.
type keyring struct {
	keys []*sharedKey

	mu      sync.Mutex
	openers map[opener]cipher.AEAD
}

// opener names the AES key of one Encrypted that publishes.
type opener struct {
	key  [keyIDSize]byte
	salt [saltSize]byte
}

func newKeyring(keys []Key) (*keyring, error) {
	r := &keyring{openers: make(map[opener]cipher.AEAD)}
	if len(keys) == 0 {
		return nil, errors.New("backplane: EncryptedConfig.Keys: at least one is required")
	}
	for i, k := range keys {
		if len(k) != KeySize {
			return nil, fmt.Errorf("backplane: EncryptedConfig.Keys: number %d has %d bytes, want %d", i, len(k), KeySize)
		}
		if !slices.ContainsFunc(k, func(b byte) bool { return b != k[0] }) {
			return nil, fmt.Errorf("backplane: EncryptedConfig.Keys: number %d is not random: all its bytes are the same", i)
		}
		shared, err := newSharedKey(k)
		if err != nil {
			return nil, fmt.Errorf("backplane: EncryptedConfig.Keys: number %d: %w", i, err)
		}
		if r.find(shared.id) != nil {
			return nil, fmt.Errorf("backplane: EncryptedConfig.Keys: number %d is there twice", i)
		}
		r.keys = append(r.keys, shared)
	}
	return r, nil
}

func (r *keyring) find(id [keyIDSize]byte) *sharedKey {
	for _, k := range r.keys {
		if k.id == id {
			return k
		}
	}
	return nil
}

// open decrypts what some Encrypted has sealed. It does not change data.
func (r *keyring) open(topic hub.Topic, data []byte) ([]byte, error) {
	if len(data) < 2 || data[0] != sealedMagic || data[1] != sealedVersion {
		return nil, errNotEncrypted
	}
	if len(data) < sealedHead+sealedTag {
		return nil, errForged
	}
	head := data[:sealedHead]
	var name opener
	rest := head[2:]
	rest = rest[copy(name.key[:], rest):]
	copy(name.salt[:], rest)
	shared := r.find(name.key)
	if shared == nil {
		return nil, errUnknownKey
	}
	aead, known := r.lookup(name)
	if !known {
		var err error
		if aead, err = shared.derive(name.salt[:]); err != nil {
			return nil, err
		}
	}
	envelope, err := aead.Open(nil, nonceOf(head), data[sealedHead:], additional(head, topic))
	if err != nil {
		return nil, errForged
	}
	if !known {
		// Only now: who has no key can't make others forget.
		r.remember(name, aead)
	}
	return envelope, nil
}

func (r *keyring) lookup(name opener) (cipher.AEAD, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	aead, ok := r.openers[name]
	return aead, ok
}

func (r *keyring) remember(name opener, aead cipher.AEAD) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.openers) >= maxOpeners {
		for old := range r.openers {
			delete(r.openers, old) // whichever: it can be derived again
			break
		}
	}
	r.openers[name] = aead
}
