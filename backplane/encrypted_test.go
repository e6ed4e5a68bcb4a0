package backplane_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"forge.lthn.ai/core/go-ws/backplane"
	"forge.lthn.ai/core/go-ws/hub"
	"forge.lthn.ai/core/go-ws/hub/hubtest"
)

// keys are made of their numbers.
func keys(numbers ...byte) (all []backplane.Key) {
	for _, n := range numbers {
		k := make(backplane.Key, backplane.KeySize)
		for i := range k {
			k[i] = n*31 + byte(i)*7
		}
		all = append(all, k)
	}
	return all
}

func newEncrypted(t testing.TB, inner hub.Backplane, cfg backplane.EncryptedConfig) *backplane.Encrypted {
	t.Helper()
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	e, err := backplane.NewEncrypted(inner, cfg)
	if err != nil {
		t.Fatalf("NewEncrypted: got %v, want nil", err)
	}
	return e
}

// encrypted is a hub's with these keys.
func encrypted(t testing.TB, broker *hubtest.Broker, numbers ...byte) *listener {
	t.Helper()
	return listen(t, newEncrypted(t, broker.Join(), backplane.EncryptedConfig{Keys: keys(numbers...)}), "c:x")
}

func (l *listener) stats() backplane.EncryptedStats {
	return l.Backplane.(*backplane.Encrypted).Stats()
}

// tap is what the broker sees of topic c:x.
func tap(t testing.TB, broker *hubtest.Broker) func() [][]byte {
	t.Helper()
	var mu sync.Mutex
	var seen [][]byte
	start(t, broker.Join(), receiver{deliver: func(d hub.Delivery) {
		mu.Lock()
		defer mu.Unlock()
		seen = append(seen, bytes.Clone(d.Envelope))
	}}, "c:x")
	return func() [][]byte {
		mu.Lock()
		defer mu.Unlock()
		return seen
	}
}

func TestEncryptedHidesPayloadsFromTheBroker(t *testing.T) {
	broker := hubtest.NewBroker(hubtest.BrokerConfig{})
	one, two := encrypted(t, broker, 1), encrypted(t, broker, 1)
	seen := tap(t, broker)
	for range 2 {
		if err := tryPublish(t.Context(), one, []byte("attack at dawn")); err != nil {
			t.Fatalf("Publish: got %v, want nil", err)
		}
	}
	two.wants(t, "attack at dawn", "attack at dawn")
	one.wants(t, "attack at dawn", "attack at dawn")
	for _, envelope := range seen() {
		if bytes.Contains(envelope, []byte("attack")) || len(envelope) != len("attack at dawn")+50 {
			t.Errorf("at the broker: got %q, want 50 bytes more and no text", envelope)
		}
	}
	if bytes.Equal(seen()[0], seen()[1]) {
		t.Error("the same message twice: got the same bytes")
	}
}

// Whatever is changed of an envelope, and on whatever other topic it comes, it
// does not open.
func TestEncryptedRefusesWhatWasChangedOrMoved(t *testing.T) {
	broker := hubtest.NewBroker(hubtest.BrokerConfig{})
	one := encrypted(t, broker, 1)
	seen := tap(t, broker)
	if err := tryPublish(t.Context(), one, []byte("pay 1")); err != nil {
		t.Fatalf("Publish: got %v, want nil", err)
	}
	sealed := seen()[0]
	one.wants(t, "pay 1")
	before := one.stats()
	for i := range sealed {
		changed := bytes.Clone(sealed)
		changed[i] ^= 0x10
		broker.Publish("c:x", changed)
		broker.Publish("c:x", sealed[:i])
	}
	broker.Publish("c:x", append(bytes.Clone(sealed), 0))
	if err := one.Subscribe(t.Context(), "c:y"); err != nil {
		t.Fatalf("Subscribe: got %v, want nil", err)
	}
	broker.Publish("c:y", sealed)
	one.wants(t)
	s := one.stats()
	if got, want := s.Refused.Forged+s.Refused.NotEncrypted+s.Refused.UnknownKey, uint64(2*len(sealed)+2); got != want || s.Opened != before.Opened {
		t.Errorf("got %+v, want %d refused and none opened", s, want)
	}
	// A byte of the magic and of the version; two lengths that are too short
	// for them. The id of the key has 8 bytes.
	if s.Refused.NotEncrypted != 4 || s.Refused.UnknownKey != 8 {
		t.Errorf("refused: got %+v, want 4 not encrypted and 8 with an unknown key", s.Refused)
	}
	broker.Publish("c:x", sealed)
	one.wants(t, "pay 1")
}

func TestEncryptedKeysAreChangedInThreeSteps(t *testing.T) {
	broker := hubtest.NewBroker(hubtest.BrokerConfig{})
	steps := [][]byte{{1}, {1, 2}, {2, 1}, {2}}
	for i := range len(steps) - 1 {
		// Hubs of a step and of the next one side by side.
		old, next := encrypted(t, broker, steps[i]...), encrypted(t, broker, steps[i+1]...)
		for _, l := range []*listener{old, next} {
			if err := tryPublish(t.Context(), l, []byte("x")); err != nil {
				t.Fatalf("Publish: got %v, want nil", err)
			}
		}
		old.wants(t, "x", "x")
		next.wants(t, "x", "x")
	}
	stranger, last := encrypted(t, broker, 1), encrypted(t, broker, 2)
	if err := tryPublish(t.Context(), last, []byte("x")); err != nil {
		t.Fatalf("Publish: got %v, want nil", err)
	}
	last.wants(t, "x")
	stranger.wants(t)
	if got := stranger.stats().Refused.UnknownKey; got != 1 {
		t.Errorf("unknown keys: got %d, want 1", got)
	}
}

func TestEncryptedRefusesPlainUnlessAsked(t *testing.T) {
	broker := hubtest.NewBroker(hubtest.BrokerConfig{})
	strict := encrypted(t, broker, 1)
	lax := listen(t, newEncrypted(t, broker.Join(), backplane.EncryptedConfig{Keys: keys(1), DangerouslyAcceptPlain: true}), "c:x")
	for _, plain := range []string{`{"type":"event"}`, " \r\n\t{", string(envelope("hub", 1)), "text", "", "\xb8", " "} {
		broker.Publish("c:x", []byte(plain))
	}
	strict.wants(t)
	lax.wants(t, `{"type":"event"}`, " \r\n\t{")
	if got := strict.stats(); got.Refused.NotEncrypted != 7 || got.Plain != 0 {
		t.Errorf("strict: got %+v, want 7 not encrypted", got)
	}
	if got := lax.stats(); got.Refused.NotEncrypted != 5 || got.Plain != 2 {
		t.Errorf("lax: got %+v, want 5 not encrypted and 2 plain", got)
	}
	strict.wantsSignals(t, "up") // no disruption
}

// No AES key is used with one nonce twice: salt and number together never come
// again, whoever publishes beside whom, and after however many messages.
func TestEncryptedNeverUsesANonceTwice(t *testing.T) {
	broker := hubtest.NewBroker(hubtest.BrokerConfig{})
	seen := tap(t, broker)
	var all sync.WaitGroup
	for range 3 {
		one := encrypted(t, broker, 1)
		for range 4 {
			all.Go(func() {
				for range 50 {
					if err := tryPublish(t.Context(), one, []byte("x")); err != nil {
						t.Errorf("Publish: got %v, want nil", err)
					}
				}
			})
		}
	}
	all.Wait()
	nonces, salts := make(map[string]bool), make(map[string]bool)
	for _, envelope := range seen() {
		nonces[string(envelope[10:34])] = true
		salts[string(envelope[10:26])] = true
	}
	if len(nonces) != 600 || len(salts) != 3 {
		t.Errorf("600 messages of 3: got %d nonces and %d salts, want 600 and 3", len(nonces), len(salts))
	}

	one := encrypted(t, broker, 1)
	for _, number := range []uint64{0, 1<<32 - 1, 1 << 32, 1 << 33} {
		one.Backplane.(*backplane.Encrypted).SetNumber(number)
		before := len(seen())
		if err := tryPublish(t.Context(), one, []byte("x")); err != nil {
			t.Fatalf("Publish: got %v, want nil", err)
		}
		envelope := seen()[before]
		if salt := string(envelope[10:26]); salts[salt] == (number == 0 || number >= 1<<32) {
			t.Errorf("message %d: got the salt known %t", number, salts[salt])
		} else {
			salts[salt] = true
		}
	}
	one.wants(t, "x", "x", "x", "x")
}

// What others remember of a publisher is bounded, and nobody who has no key can
// make them remember anything.
func TestEncryptedRemembersABoundedNumberOfPublishers(t *testing.T) {
	broker := hubtest.NewBroker(hubtest.BrokerConfig{})
	reader := newEncrypted(t, broker.Join(), backplane.EncryptedConfig{Keys: keys(1)})
	opened := 0
	start(t, reader, receiver{deliver: func(hub.Delivery) { opened++ }}, "c:x")
	seen := tap(t, broker)
	writer := encrypted(t, broker, 1)
	if err := writer.Unsubscribe(t.Context(), "c:x"); err != nil {
		t.Fatalf("Unsubscribe: got %v, want nil", err)
	}
	if err := tryPublish(t.Context(), writer, []byte("x")); err != nil {
		t.Fatalf("Publish: got %v, want nil", err)
	}
	for i := range 100 {
		forged := bytes.Clone(seen()[0])
		forged[10] = byte(i)
		forged[11] ^= 1
		broker.Publish("c:x", forged)
	}
	if got := reader.Openers(); got != 1 {
		t.Errorf("remembered after forgeries: got %d, want 1", got)
	}
	const many = 5000
	for range many {
		writer.Backplane.(*backplane.Encrypted).SetNumber(1 << 32) // a new salt each time
		if err := tryPublish(t.Context(), writer, []byte("x")); err != nil {
			t.Fatalf("Publish: got %v, want nil", err)
		}
	}
	if got := reader.Openers(); opened != many+1 || got > 4096 {
		t.Errorf("after %d salts: got %d opened and %d remembered, want all and 4096 at most", many, opened, got)
	}
}

func TestEncryptedShowsNoSecret(t *testing.T) {
	var log bytes.Buffer
	logger := slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	secret := backplane.Key("secret-secret-secret-secret-12345")[:backplane.KeySize]
	cfg := backplane.EncryptedConfig{Keys: []backplane.Key{secret}, Logger: logger}
	broker := hubtest.NewBroker(hubtest.BrokerConfig{})
	one := listen(t, newEncrypted(t, broker.Join(), cfg), "c:x")
	if err := tryPublish(t.Context(), one, []byte("a payload")); err != nil {
		t.Fatalf("Publish: got %v, want nil", err)
	}
	broker.Publish("c:x", []byte("plain payload"))
	var text strings.Builder
	for _, v := range []any{secret, cfg, &cfg, one.Backplane, cfg.Keys} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
			fmt.Fprintf(&text, verb+"\n", v)
		}
	}
	logger.Info("config", "config", cfg, "key", secret, "keys", cfg.Keys)
	slog.New(slog.NewTextHandler(&log, nil)).Info("config", "config", cfg, "key", secret, "keys", cfg.Keys)
	if err := json.NewEncoder(&text).Encode(cfg.Keys); err != nil {
		t.Fatal(err)
	}
	for _, wrong := range [][]backplane.Key{{secret[:31]}, {secret, secret}} {
		_, err := backplane.NewEncrypted(broker.Join(), backplane.EncryptedConfig{Keys: wrong})
		fmt.Fprintln(&text, err)
	}
	all := text.String() + log.String()
	for _, leak := range []string{"secret-", "7365637265742d", "7365637265742D", "115 101 99", "115, 101, 99", "0x73, 0x65", "c2VjcmV0", "payload"} {
		if strings.Contains(all, leak) {
			t.Errorf("printed: got %q in it", leak)
		}
	}
	if !strings.Contains(log.String(), "publication dropped") || !strings.Contains(log.String(), "c:x") {
		t.Errorf("log: got %s, want that a publication on c:x was dropped", log.String())
	}
}

func TestEncryptedCopiesItsKeys(t *testing.T) {
	broker := hubtest.NewBroker(hubtest.BrokerConfig{})
	mine := keys(1)
	one := listen(t, newEncrypted(t, broker.Join(), backplane.EncryptedConfig{Keys: mine}), "c:x")
	clear(mine[0])
	if err := tryPublish(t.Context(), encrypted(t, broker, 1), []byte("x")); err != nil {
		t.Fatalf("Publish: got %v, want nil", err)
	}
	one.wants(t, "x")
}

func TestEncryptedConfigIsChecked(t *testing.T) {
	bus := backplane.NewMemory(backplane.MemoryConfig{})
	for name, wrong := range map[string][]backplane.Key{
		"none": nil, "empty": {{}}, "short": {keys(1)[0][:16]}, "long": {append(keys(1)[0], 1)},
		"twice": keys(1, 2, 1), "zeros": {make(backplane.Key, backplane.KeySize)},
	} {
		if _, err := backplane.NewEncrypted(bus.Join(), backplane.EncryptedConfig{Keys: wrong}); err == nil || !strings.Contains(err.Error(), "EncryptedConfig.Keys") {
			t.Errorf("%s: got %v, want an error that names EncryptedConfig.Keys", name, err)
		}
	}
	cfg := backplane.EncryptedConfig{Keys: keys(1)}
	if _, err := backplane.NewEncrypted(nil, cfg); err == nil {
		t.Error("no inner backplane: got nil, want an error")
	}
	if _, err := backplane.NewEncrypted(newDual(t, bus.Join(), bus.Join()), cfg); err == nil {
		t.Error("a Dual: got nil, want an error")
	}
	e, err := backplane.NewEncrypted(bus.Join(), cfg)
	if err != nil {
		t.Fatalf("NewEncrypted: got %v, want nil", err)
	}
	if err := e.Start(t.Context(), nil); err == nil {
		t.Error("Start without a receiver: got nil, want an error")
	}
}

// golden is "sealed" on topic c:x as this version has encrypted it with the
// first of keys, its second message. A change here is a change of the format.
var golden = func() []byte {
	b, err := hex.DecodeString(
		"b801" + // magic, version
			"524ce99cb1d9d91b" + // the key's id
			"711116cae0312b426eb53af1426b5db2" + // salt
			"0000000000000001" + // number
			"86add462a2784abfb35d50c6b120169e3b63bb4be25e") // the envelope
	if err != nil {
		panic(err)
	}
	return b
}()

func TestEncryptedGoldenBytesOpen(t *testing.T) {
	broker := hubtest.NewBroker(hubtest.BrokerConfig{})
	one := encrypted(t, broker, 2, 1)
	broker.Publish("c:x", golden)
	one.wants(t, "sealed")
}

// Whatever comes from the broker, nothing but what was sealed is delivered.
func FuzzEncryptedOpen(f *testing.F) {
	f.Add(golden)
	f.Add(golden[:34])
	f.Add(golden[:49])
	f.Add([]byte{0xb8, 1})
	f.Add([]byte(`{"type":"event"}`))
	f.Add([]byte(nil))
	f.Fuzz(func(t *testing.T, data []byte) {
		broker := hubtest.NewBroker(hubtest.BrokerConfig{})
		one := encrypted(t, broker, 2, 1)
		before := bytes.Clone(data)
		broker.Publish("c:x", data)
		if !bytes.Equal(data, before) {
			t.Errorf("the broker's bytes: got %x, want %x", data, before)
		}
		if bytes.Equal(data, golden) {
			one.wants(t, "sealed")
			return
		}
		one.wants(t)
		if s := one.stats(); s.Opened != 0 || s.Refused == (backplane.EncryptedRefusals{}) {
			t.Errorf("got %+v, want one refused", s)
		}
	})
}
