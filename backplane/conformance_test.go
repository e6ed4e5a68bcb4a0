package backplane_test

import (
	"slices"
	"sync"
	"testing"

	"forge.lthn.ai/core/go-ws/backplane"
	"forge.lthn.ai/core/go-ws/hub"
	"forge.lthn.ai/core/go-ws/hub/hubtest"
)

func TestConformance(t *testing.T) {
	bus := backplane.NewMemory(backplane.MemoryConfig{MaxPayload: 64 << 10})
	hubtest.TestBackplane(t, hubtest.BackplaneHarness{
		New:      func(testing.TB) hub.Backplane { return bus.Join() },
		Break:    func(testing.TB) { bus.Break() },
		Heal:     func(testing.TB) { bus.Heal() },
		Features: hubtest.BackplaneFeatures{MaxPayload: 64 << 10, History: true},
	})
}

// An outage of either broker is an outage of both.
func TestDualConformance(t *testing.T) {
	const limit = 64 << 10
	for name, broken := range map[string][2]bool{"both": {true, true}, "from": {true, false}, "to": {false, true}} {
		t.Run(name, func(t *testing.T) {
			// What is not a hub's takes 10 bytes more on To. With the same limit
			// on both sides an envelope could be small enough for one of them.
			from := backplane.NewMemory(backplane.MemoryConfig{MaxPayload: limit})
			to := backplane.NewMemory(backplane.MemoryConfig{MaxPayload: limit + 10})
			each := func(do func(*backplane.Memory)) func(testing.TB) {
				return func(testing.TB) {
					for i, bus := range []*backplane.Memory{from, to} {
						if broken[i] {
							do(bus)
						}
					}
				}
			}
			hubtest.TestBackplane(t, hubtest.BackplaneHarness{
				New: func(t testing.TB) hub.Backplane {
					return newDual(t, from.Join(), to.Join())
				},
				Break:    each((*backplane.Memory).Break),
				Heal:     each((*backplane.Memory).Heal),
				Features: hubtest.BackplaneFeatures{MaxPayload: limit, History: true},
			})
		})
	}
}

func TestEncryptedConformance(t *testing.T) {
	bus := backplane.NewMemory(backplane.MemoryConfig{MaxPayload: 64 << 10})
	hubtest.TestBackplane(t, hubtest.BackplaneHarness{
		New: func(t testing.TB) hub.Backplane {
			return newEncrypted(t, bus.Join(), backplane.EncryptedConfig{Keys: keys(1)})
		},
		Break:    func(testing.TB) { bus.Break() },
		Heal:     func(testing.TB) { bus.Heal() },
		Features: hubtest.BackplaneFeatures{MaxPayload: 64<<10 - 50, History: true},
	})
}

// A Dual of an encrypted side and a plain one.
func TestDualOfEncryptedConformance(t *testing.T) {
	from, to := backplane.NewMemory(backplane.MemoryConfig{}), backplane.NewMemory(backplane.MemoryConfig{})
	hubtest.TestBackplane(t, hubtest.BackplaneHarness{
		New: func(t testing.TB) hub.Backplane {
			return newDual(t, from.Join(), newEncrypted(t, to.Join(), backplane.EncryptedConfig{Keys: keys(1)}))
		},
		Break:    func(testing.TB) { from.Break(); to.Break() },
		Heal:     func(testing.TB) { from.Heal(); to.Heal() },
		Features: hubtest.BackplaneFeatures{History: true},
	})
}

// One side refuses some topics, and the Dual names them.
func TestDualConformanceOfPartialSubscribing(t *testing.T) {
	from, to := backplane.NewMemory(backplane.MemoryConfig{}), backplane.NewMemory(backplane.MemoryConfig{})
	var mu sync.Mutex
	var refused []hub.Topic
	set := func(topics []hub.Topic) []hub.Topic {
		mu.Lock()
		defer mu.Unlock()
		refused = topics
		return topics
	}
	hubtest.TestBackplane(t, hubtest.BackplaneHarness{
		New: func(t testing.TB) hub.Backplane {
			return newDual(t, from.Join(), &refusing{to.Join(), func(topic hub.Topic) bool {
				mu.Lock()
				defer mu.Unlock()
				return slices.Contains(refused, topic)
			}})
		},
		Break:    func(testing.TB) { from.Break(); to.Break() },
		Heal:     func(testing.TB) { from.Heal(); to.Heal() },
		FailSome: func(_ testing.TB, topics []hub.Topic) []hub.Topic { return set(topics[:len(topics)/2]) },
		FailNone: func(testing.TB) { set(nil) },
		Features: hubtest.BackplaneFeatures{PartialSubscribe: true, History: true},
	})
}
