package backplane_test

import (
	"testing"

	"forge.lthn.ai/core/go-ws/backplane"
	"forge.lthn.ai/core/go-ws/hub"
	"forge.lthn.ai/core/go-ws/hub/hubtest"
)

// historyHarness is a deployment of one or more buses. Faults of all of them
// come together.
func historyHarness(limit int, join func(testing.TB) hub.Backplane, buses ...*backplane.Memory) hubtest.HistoryHarness {
	each := func(do func(*backplane.Memory)) func(testing.TB) {
		return func(testing.TB) {
			for _, bus := range buses {
				do(bus)
			}
		}
	}
	return hubtest.HistoryHarness{
		Backplane: hubtest.BackplaneHarness{
			New:      join,
			Break:    each((*backplane.Memory).Break),
			Heal:     each((*backplane.Memory).Heal),
			Features: hubtest.BackplaneFeatures{MaxPayload: limit, History: true},
		},
		Lose: each((*backplane.Memory).LoseLogs),
		Save: func(testing.TB) func(testing.TB) {
			var rewinds []func()
			for _, bus := range buses {
				rewinds = append(rewinds, bus.SaveLogs())
			}
			return func(testing.TB) {
				for _, rewind := range rewinds {
					rewind()
				}
			}
		},
	}
}

func TestHistoryConformance(t *testing.T) {
	bus := backplane.NewMemory(backplane.MemoryConfig{})
	hubtest.TestHistory(t, historyHarness(0, func(testing.TB) hub.Backplane { return bus.Join() }, bus))
}

func TestEncryptedHistoryConformance(t *testing.T) {
	bus := backplane.NewMemory(backplane.MemoryConfig{})
	hubtest.TestHistory(t, historyHarness(0, func(t testing.TB) hub.Backplane {
		return newEncrypted(t, bus.Join(), backplane.EncryptedConfig{Keys: keys(1)})
	}, bus))
}

// The history is From's, with To's beside it.
func TestDualHistoryConformance(t *testing.T) {
	from, to := backplane.NewMemory(backplane.MemoryConfig{}), backplane.NewMemory(backplane.MemoryConfig{})
	hubtest.TestHistory(t, historyHarness(0, func(t testing.TB) hub.Backplane {
		return newDual(t, from.Join(), to.Join())
	}, from, to))
}

// What was encrypted with a key that is not the first any more is read.
func TestEncryptedHistoryIsReadWithOldKeys(t *testing.T) {
	bus := backplane.NewMemory(backplane.MemoryConfig{})
	join := func(k []backplane.Key) hub.Backplane {
		e := newEncrypted(t, bus.Join(), backplane.EncryptedConfig{Keys: k})
		if err := e.Abilities().History.Declare(hub.Log{Name: "log"}); err != nil {
			t.Fatalf("Declare: got %v, want nil", err)
		}
		start(t, e, receiver{})
		return e
	}
	before := join(keys(1))
	after := join(append(keys(2), keys(1)...))
	for i, bp := range []hub.Backplane{before, after} {
		p := hub.Publication{Topic: "c:x", ID: string(rune('a' + i)), Log: "log", Envelope: []byte{'a' + byte(i)}}
		if _, err := bp.Publish(t.Context(), p); err != nil {
			t.Fatalf("Publish: got %v, want nil", err)
		}
	}
	page, err := after.Abilities().History.Read(t.Context(), hub.ReadRequest{Log: "log", Topic: "c:x", Limit: 10})
	if err != nil || len(page.Entries) != 2 || string(page.Entries[0].Envelope) != "a" || string(page.Entries[1].Envelope) != "b" {
		t.Errorf("Read: got %v, %v, want both entries", page, err)
	}
}
