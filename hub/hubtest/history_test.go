package hubtest_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"forge.lthn.ai/core/go-ws/hub"
	"forge.lthn.ai/core/go-ws/hub/hubtest"
)

func TestFakeHistoryConformance(t *testing.T) {
	hubtest.TestHistory(t, newHistoryWorld().historyHarness(func(*faulty) {}))
}

// A fake with a history is a backplane like any other.
func TestFakeBackplaneWithHistoryConformance(t *testing.T) {
	h := newHistoryWorld().harness(func(*faulty) {})
	h.Features.History = true
	hubtest.TestBackplane(t, h)
}

// Deliveries that know half of what was before fail the suite, unless the
// features say so.
func TestHistorySuiteWithHalfKnownPrevious(t *testing.T) {
	for _, declared := range []bool{true, false} {
		messages := runHistoryCheck(t, "PreviousChains", func(w *world) hubtest.HistoryHarness {
			h := w.historyHarness(func(m *faulty) {
				m.delivering(func(d hub.Delivery) []hub.Delivery {
					d.Previous.ID = ""
					return []hub.Delivery{d}
				})
			})
			h.Features.HalfKnownPrevious = declared
			return h
		})
		if failed := len(messages) > 0; failed == declared {
			t.Errorf("declared %t: got failures %q", declared, messages)
		}
	}
}

// Interest that takes a while is waited for where the features say so.
func TestHistorySuiteWithEventualInterest(t *testing.T) {
	for _, name := range hubtest.HistoryCheckNames() {
		if name == "NoGoroutineLeft" {
			continue // timers of the slow fake
		}
		messages := runHistoryCheck(t, name, func(w *world) hubtest.HistoryHarness {
			h := w.historyHarness(func(m *faulty) { m.liveAfter(15, 0) })
			h.Backplane.Features.EventualInterest = true
			return h
		})
		if len(messages) > 0 {
			t.Errorf("check %s: got %q, want it to pass", name, messages)
		}
	}
}

// Every check is failed by a history that breaks its promise. A fault may fail
// others too: most of them read or publish.
func TestHistorySuiteFindsFaults(t *testing.T) {
	found := make(map[string]bool)
	for _, f := range historyFaultTable() {
		found[f.breaks] = true
		t.Run(f.breaks+"/"+f.name, func(t *testing.T) {
			messages := runHistoryCheck(t, f.breaks, func(w *world) hubtest.HistoryHarness {
				h := w.historyHarness(func(m *faulty) {
					if f.member != nil {
						f.member(m)
					}
				})
				if f.deployment != nil {
					f.deployment(w, &h)
				}
				return h
			})
			if len(messages) == 0 {
				t.Errorf("check %s: passed, want it to fail", f.breaks)
			}
		})
	}
	for _, name := range hubtest.HistoryCheckNames() {
		if !found[name] {
			t.Errorf("check %s: no fault shows that it can fail", name)
		}
	}
}

// runHistoryCheck runs a check in a bubble and returns what it complained about.
func runHistoryCheck(t *testing.T, name string, harness func(*world) hubtest.HistoryHarness) (messages []string) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newHistoryWorld()
		r := &checkRecorder{TB: t}
		r.run(func() { hubtest.RunHistoryCheck(r, harness(w), name) })
		r.cleanUp()
		close(w.release)
		messages = r.messages
	})
	return messages
}

func newHistoryWorld() *world {
	w := newWorld()
	w.broker = hubtest.NewBroker(hubtest.BrokerConfig{MaxPayload: fakeMaxPayload, History: true})
	return w
}

func (w *world) historyHarness(sabotage func(*faulty)) hubtest.HistoryHarness {
	return hubtest.HistoryHarness{
		Backplane: w.harness(sabotage),
		Lose:      func(testing.TB) { w.broker.LoseLogs() },
		Save: func(testing.TB) func(testing.TB) {
			rewind := w.broker.SaveLogs()
			return func(testing.TB) { rewind() }
		},
		Features: hubtest.HistoryFeatures{MinAge: 200 * time.Millisecond},
	}
}

// faultyHistory is a member's history whose methods a fault replaces.
type faultyHistory struct {
	hub.History
	declare func(...hub.Log) error
	read    func(context.Context, hub.ReadRequest) (hub.Page, error)
	tops    func(context.Context, string, []hub.Topic) ([]hub.Position, error)
}

// withHistory lets a fault replace a member's history.
func (m *faulty) withHistory(sabotage func(*faultyHistory)) {
	inner := m.Backplane.Abilities().History
	h := &faultyHistory{
		History: inner, declare: inner.Declare, read: inner.Read,
		tops: func(ctx context.Context, log string, topics []hub.Topic) ([]hub.Position, error) {
			return inner.Tops(ctx, log, topics...)
		},
	}
	sabotage(h)
	m.abilities = func() hub.Abilities { return hub.Abilities{History: h} }
}

func (h *faultyHistory) Declare(logs ...hub.Log) error { return h.declare(logs...) }

func (h *faultyHistory) Read(ctx context.Context, r hub.ReadRequest) (hub.Page, error) {
	return h.read(ctx, r)
}

func (h *faultyHistory) Tops(ctx context.Context, log string, topics ...hub.Topic) ([]hub.Position, error) {
	return h.tops(ctx, log, topics)
}

// asking changes what is asked for.
func asking(f func(*hub.ReadRequest)) func(*faulty) {
	return func(m *faulty) {
		m.withHistory(func(h *faultyHistory) {
			h.read = func(ctx context.Context, r hub.ReadRequest) (hub.Page, error) {
				f(&r)
				return h.History.Read(ctx, r)
			}
		})
	}
}

// answering changes what is read.
func answering(f func(*hub.Page)) func(*faulty) {
	return func(m *faulty) {
		m.withHistory(func(h *faultyHistory) {
			h.read = func(ctx context.Context, r hub.ReadRequest) (hub.Page, error) {
				page, err := h.History.Read(ctx, r)
				f(&page)
				return page, err
			}
		})
	}
}

// topping changes what Tops says.
func topping(f func([]hub.Topic, []hub.Position) []hub.Position) func(*faulty) {
	return func(m *faulty) {
		m.withHistory(func(h *faultyHistory) {
			h.tops = func(ctx context.Context, log string, topics []hub.Topic) ([]hub.Position, error) {
				tops, err := h.History.Tops(ctx, log, topics...)
				return f(topics, tops), err
			}
		})
	}
}

// acknowledging changes what Publish returns.
func acknowledging(f func(hub.Publication, *hub.Published)) func(*faulty) {
	return func(m *faulty) {
		m.publish = func(ctx context.Context, p hub.Publication) (hub.Published, error) {
			out, err := m.Backplane.Publish(ctx, p)
			f(p, &out)
			return out, err
		}
	}
}

func deliveringAs(f func(*hub.Delivery)) func(*faulty) {
	return func(m *faulty) {
		m.delivering(func(d hub.Delivery) []hub.Delivery {
			f(&d)
			return []hub.Delivery{d}
		})
	}
}

func publishingAs(f func(*faulty, *hub.Publication)) func(*faulty) {
	return func(m *faulty) { m.publishing(func(p *hub.Publication) { f(m, p) }) }
}
