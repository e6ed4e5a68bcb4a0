package hubtest_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"forge.lthn.ai/core/go-ws/hub"
	"forge.lthn.ai/core/go-ws/hub/hubtest"
)

// historyFault is a way to break a promise of hub.History.
type historyFault struct {
	breaks, name string
	member       func(*faulty)
	deployment   func(*world, *hubtest.HistoryHarness)
}

// historyFaultTable is made anew for each test: some faults remember.
func historyFaultTable() []historyFault {
	return slices.Concat(historyAppendFaults(), historyReadFaults(), historyLifeFaults())
}

func historyAppendFaults() []historyFault {
	declaring := func(f func(*faulty, *faultyHistory, []hub.Log) error) func(*faulty) {
		return func(m *faulty) {
			m.withHistory(func(h *faultyHistory) {
				h.declare = func(logs ...hub.Log) error { return f(m, h, logs) }
			})
		}
	}
	forget := func(unless func([]hub.Log) bool) func(*faulty) {
		return declaring(func(_ *faulty, h *faultyHistory, logs []hub.Log) error {
			if err := h.History.Declare(logs...); unless(logs) {
				return err
			}
			return nil
		})
	}
	var mu sync.Mutex
	known := make(map[string]hub.Published)
	return []historyFault{
		{breaks: "DeclareOnce", name: "twice is fine", member: declaring(func(m *faulty, h *faultyHistory, logs []hub.Log) error {
			if err := h.History.Declare(logs...); m.call() == 1 {
				return err
			}
			return nil
		})},
		{breaks: "DeclareOnce", name: "after Start is fine", member: declaring(func(m *faulty, h *faultyHistory, logs []hub.Log) error {
			if m.isStarted() {
				return nil
			}
			return h.History.Declare(logs...)
		})},
		{breaks: "DeclareValidLogs", name: "any name is fine", member: forget(func(logs []hub.Log) bool {
			return logs[0].Name != "" && !strings.ContainsAny(logs[0].Name, ".:ä") && len(logs[0].Name) <= 32
		})},
		{breaks: "DeclareValidLogs", name: "any limit is fine", member: forget(func(logs []hub.Log) bool {
			return logs[0].Messages >= 0 && logs[0].Age >= 0
		})},
		{breaks: "DeclareValidLogs", name: "twice a name is fine", member: forget(func(logs []hub.Log) bool { return len(logs) < 3 })},
		{breaks: "UndeclaredLog", name: "it is published live", member: publishingAs(func(_ *faulty, p *hub.Publication) {
			if p.Log == "hubtest-none" {
				p.Log = ""
			}
		})},
		{breaks: "UndeclaredLog", name: "an error, and it is published live", member: func(m *faulty) {
			m.publish = func(ctx context.Context, p hub.Publication) (hub.Published, error) {
				out, err := m.Backplane.Publish(ctx, p)
				if err != nil {
					p.Log = ""
					_, _ = m.Backplane.Publish(ctx, p)
				}
				return out, err
			}
		}},
		{breaks: "UndeclaredLog", name: "reading finds nothing", member: func(m *faulty) {
			m.withHistory(func(h *faultyHistory) {
				h.read = func(ctx context.Context, r hub.ReadRequest) (hub.Page, error) {
					page, _ := h.History.Read(ctx, r)
					return page, nil
				}
			})
		}},
		{breaks: "PositionsIncrease", name: "offsets stand still", member: acknowledging(func(_ hub.Publication, out *hub.Published) { out.Position.Offset = 7 })},
		{breaks: "PositionsIncrease", name: "ids are the log's", member: acknowledging(func(_ hub.Publication, out *hub.Published) { out.Position.ID = "epoch" })},
		{breaks: "PositionsIncrease", name: "ids are the message's", member: acknowledging(func(p hub.Publication, out *hub.Published) { out.Position.ID = strings.Repeat(p.ID, 40) })},
		{breaks: "SubscribersGetThePublishersPosition", name: "another id", member: deliveringAs(func(d *hub.Delivery) { d.Position.ID = "another" })},
		{breaks: "SubscribersGetThePublishersPosition", name: "none", member: deliveringAs(func(d *hub.Delivery) { d.Position = hub.Position{} })},
		{breaks: "SubscribersGetThePublishersPosition", name: "the one before", member: deliveringAs(func(d *hub.Delivery) { d.Position = d.Previous })},
		{breaks: "PreviousChains", name: "itself", member: deliveringAs(func(d *hub.Delivery) { d.Previous = d.Position })},
		{breaks: "PreviousChains", name: "none", member: deliveringAs(func(d *hub.Delivery) { d.Previous = hub.Position{} })},
		{breaks: "PreviousChains", name: "not the start", member: deliveringAs(func(d *hub.Delivery) {
			if d.Position.Offset == 1 {
				d.Previous = hub.Position{}
			}
		})},
		{breaks: "LogOrderIsDeliveryOrder", name: "two change places", member: func(m *faulty) {
			var held []hub.Delivery
			m.delivering(func(d hub.Delivery) []hub.Delivery {
				if d.Position.Offset%10 == 3 {
					held = append(held, d)
					return nil
				}
				out := append([]hub.Delivery{d}, held...)
				held = nil
				return out
			})
		}},
		{breaks: "LogOrderIsDeliveryOrder", name: "one is not delivered", member: func(m *faulty) {
			m.delivering(func(d hub.Delivery) []hub.Delivery { return onlyIf(d.Position.Offset != 50, d) })
		}},
		{breaks: "LiveIsNotKept", name: "it is", member: publishingAs(func(_ *faulty, p *hub.Publication) { p.Log = "hubtest-all" })},
		{breaks: "DoublesAppendNothing", name: "ids don't matter", member: publishingAs(func(_ *faulty, p *hub.Publication) { p.ID = rand.Text() })},
		{breaks: "DoublesAppendNothing", name: "envelopes matter", member: publishingAs(func(_ *faulty, p *hub.Publication) { p.ID += string(p.Envelope) })},
		{breaks: "DoublesAppendNothing", name: "ids are the member's", member: publishingAs(func(m *faulty, p *hub.Publication) { p.ID += fmt.Sprintf("%p", m) })},
		{breaks: "DoublesAppendNothing", name: "not told", member: acknowledging(func(_ hub.Publication, out *hub.Published) { out.Duplicate = false })},
		{breaks: "DoublesAppendNothing", name: "delivered", member: func(m *faulty) {
			m.publish = func(ctx context.Context, p hub.Publication) (hub.Published, error) {
				out, err := m.Backplane.Publish(ctx, p)
				if out.Duplicate {
					m.w.broker.Publish(p.Topic, p.Envelope)
				}
				return out, err
			}
		}},
		{breaks: "DoublesAtOnce", name: "looked up before", member: publishingAs(func(m *faulty, p *hub.Publication) {
			m.w.mu.Lock()
			m.w.inFlight++
			if m.w.inFlight%5 == 4 {
				p.ID += "'"
			}
			m.w.mu.Unlock()
		})},
		{breaks: "IDsArePerTopic", name: "the log's", member: func(m *faulty) {
			m.publish = func(ctx context.Context, p hub.Publication) (hub.Published, error) {
				mu.Lock()
				defer mu.Unlock()
				if out, again := known[p.ID]; again {
					out.Duplicate = true
					return out, nil
				}
				out, err := m.Backplane.Publish(ctx, p)
				known[p.ID] = out
				return out, err
			}
		}},
		{breaks: "DoubleOfWhatIsGone", name: "ids go with the messages", member: func(m *faulty) {
			m.publish = func(ctx context.Context, p hub.Publication) (hub.Published, error) {
				page, err := m.Backplane.Abilities().History.Read(ctx, hub.ReadRequest{Log: p.Log, Topic: p.Topic, Limit: 100})
				if err == nil && len(page.Entries) == 10 && string(p.Envelope) == "again" {
					p.ID += "'"
				}
				return m.Backplane.Publish(ctx, p)
			}
		}},
		{breaks: "DoubleOfWhatIsGone", name: "where the top is", member: acknowledging(func(_ hub.Publication, out *hub.Published) {
			if out.Duplicate {
				out.Position.Offset += 5
			}
		})},
	}
}

func historyReadFaults() []historyFault {
	envelopes := func(f func([]byte) []byte) func(*faulty) {
		return answering(func(page *hub.Page) {
			for i := range page.Entries {
				page.Entries[i].Envelope = f(page.Entries[i].Envelope)
			}
		})
	}
	stale := func(m *faulty) {
		older := make(map[hub.ReadRequest]hub.Page)
		m.withHistory(func(h *faultyHistory) {
			h.read = func(ctx context.Context, r hub.ReadRequest) (hub.Page, error) {
				page, err := h.History.Read(ctx, r)
				key := hub.ReadRequest{Topic: r.Topic}
				before := older[key]
				older[key] = page
				if page.Top.Offset%20 == 11 {
					return before, err
				}
				return page, err
			}
		})
	}
	cutPrevious := func(only func(i int) bool) func(*faulty) {
		return answering(func(page *hub.Page) {
			for i := range page.Entries {
				if only(i) {
					page.Entries[i].Previous.ID = ""
				}
			}
		})
	}
	return []historyFault{
		{breaks: "EntriesAreUnchanged", name: "text", member: envelopes(func(b []byte) []byte { return bytes.ToValidUTF8(b, nil) })},
		{breaks: "EntriesAreUnchanged", name: "no line ends", member: envelopes(func(b []byte) []byte { return bytes.TrimRight(b, "\r\n") })},
		{breaks: "EntriesAreUnchanged", name: "no large ones", member: envelopes(func(b []byte) []byte { return b[:min(len(b), 60000)] })},
		{breaks: "EntriesAreUnchanged", name: "topics with a prefix", member: answering(func(page *hub.Page) {
			for i := range page.Entries {
				page.Entries[i].Topic = "hub." + page.Entries[i].Topic
			}
		})},
		{breaks: "EntriesBelongToTheReader", name: "a buffer is handed out", member: func(m *faulty) {
			var buf []byte
			answering(func(page *hub.Page) {
				for i := range page.Entries {
					buf = append(buf[:0], page.Entries[i].Envelope...)
					page.Entries[i].Envelope = buf
				}
			})(m)
		}},
		{breaks: "ReadSince", name: "exclusive", member: asking(func(r *hub.ReadRequest) { r.Since.Offset++ })},
		{breaks: "ReadSince", name: "by id", member: asking(func(r *hub.ReadRequest) {
			if r.Since.ID == "another" {
				r.Since = hub.Position{}
			}
		})},
		{breaks: "ReadFromTheOldest", name: "from the newest", member: asking(func(r *hub.ReadRequest) {
			if r.Since.IsZero() {
				r.Last = 1
			}
		})},
		{breaks: "ReadFromTheOldest", name: "offset 0 is not there", member: asking(func(r *hub.ReadRequest) {
			if r.Since.Offset == 0 && r.Since.ID != "" {
				r.Limit = 0
			}
		})},
		{breaks: "ReadLast", name: "not looked at", member: asking(func(r *hub.ReadRequest) { r.Last = 0 })},
		{breaks: "ReadLast", name: "one less", member: asking(func(r *hub.ReadRequest) { r.Last = max(1, r.Last-1) })},
		{breaks: "ReadLast", name: "the limit is the last", member: asking(func(r *hub.ReadRequest) {
			if r.Last > 0 {
				r.Last = min(r.Last, r.Limit)
			}
		})},
		{breaks: "ReadLast", name: "newest first", member: answering(func(page *hub.Page) { slices.Reverse(page.Entries) })},
		{breaks: "ReadLimit", name: "not looked at", member: asking(func(r *hub.ReadRequest) { r.Limit = 1000 })},
		{breaks: "ReadLimit", name: "zero is all", member: asking(func(r *hub.ReadRequest) {
			if r.Limit == 0 {
				r.Limit = 1000
			}
		})},
		{breaks: "ReadLimit", name: "the page's end is the top", member: answering(func(page *hub.Page) {
			if n := len(page.Entries); n > 0 {
				page.Top = page.Entries[n-1].Position
			}
		})},
		{breaks: "ReadChains", name: "half known", member: cutPrevious(func(int) bool { return true })},
		{breaks: "ReadChains", name: "half known at the start", member: cutPrevious(func(i int) bool { return i == 0 })},
		{breaks: "ReadChains", name: "not told", member: answering(func(page *hub.Page) {
			for i := range page.Entries {
				page.Entries[i].Previous = hub.Position{}
			}
		})},
		{breaks: "ReadSeesWhatWasAcknowledged", name: "a replica's answer", member: stale},
		{breaks: "ReadSeesWhatWasAcknowledged", name: "a replica's tops", member: topping(func(_ []hub.Topic, tops []hub.Position) []hub.Position {
			return make([]hub.Position, len(tops))
		})},
		{breaks: "ReadSeesWhatWasDelivered", name: "a replica's answer", member: stale},
		{breaks: "ReadWhilePublishing", name: "every tenth is missing", member: answering(func(page *hub.Page) {
			page.Entries = slices.DeleteFunc(page.Entries, func(d hub.Delivery) bool { return d.Position.Offset%10 == 9 })
		})},
		{breaks: "TopsInOrder", name: "sorted", member: topping(func(_ []hub.Topic, tops []hub.Position) []hub.Position {
			slices.SortFunc(tops, func(a, b hub.Position) int { return strings.Compare(a.ID, b.ID) })
			return tops
		})},
		{breaks: "TopsInOrder", name: "not of empty ones", member: topping(func(_ []hub.Topic, tops []hub.Position) []hub.Position {
			return slices.DeleteFunc(tops, func(p hub.Position) bool { return p.Offset == 0 })
		})},
		{breaks: "TheStartHasAnID", name: "none", member: answering(func(page *hub.Page) {
			if page.Top.Offset == 0 {
				page.Top.ID = ""
			}
		})},
		{breaks: "TheStartHasAnID", name: "a new one each time", member: answering(func(page *hub.Page) {
			if page.Top.Offset == 0 {
				page.Top.ID = rand.Text()
			}
		})},
		{breaks: "TheStartIsProven", name: "not told", member: answering(func(page *hub.Page) {
			if len(page.Entries) > 0 {
				page.Entries[0].Previous = hub.Position{}
			}
		})},
		{breaks: "HostileTopics", name: "letters alone count", member: func(m *faulty) {
			short := func(topic hub.Topic) hub.Topic {
				return hub.Topic(strings.Map(func(r rune) rune {
					if r > ' ' && r < 127 {
						return r
					}
					return '_'
				}, string(topic)))
			}
			m.publishing(func(p *hub.Publication) { p.Topic = short(p.Topic) })
			asking(func(r *hub.ReadRequest) { r.Topic = short(r.Topic) })(m)
			m.subscribe = func(ctx context.Context, topics []hub.Topic) error {
				return m.Backplane.Subscribe(ctx, topics...)
			}
		}},
		{breaks: "ManyTopics", name: "100 at most", member: topping(func(_ []hub.Topic, tops []hub.Position) []hub.Position {
			return tops[:min(len(tops), 100)]
		})},
		{breaks: "ManyTopics", name: "they share a log", member: asking(func(r *hub.ReadRequest) {
			if name, ok := strings.CutPrefix(string(r.Topic), "c:many-37-"); ok {
				r.Topic = hub.Topic("c:many-36-" + name)
			}
		})},
	}
}

func historyLifeFaults() []historyFault {
	// limited makes members that declare other limits than they are asked for.
	limited := func(change func(*hub.Log)) func(*faulty) {
		return func(m *faulty) {
			m.withHistory(func(h *faultyHistory) {
				h.declare = func(logs ...hub.Log) error {
					for i := range logs {
						change(&logs[i])
					}
					return h.History.Declare(logs...)
				}
			})
		}
	}
	keepID := func(m *faulty) { // positions' ids are made from messages' ids
		made := func(p hub.Publication) string { return "of " + p.ID }
		ids := &m.w.positionIDs
		m.publish = func(ctx context.Context, p hub.Publication) (hub.Published, error) {
			out, err := m.Backplane.Publish(ctx, p)
			ids.Store(out.Position.ID, made(p))
			out.Position.ID = made(p)
			return out, err
		}
		answering(func(page *hub.Page) {
			for i := range page.Entries {
				if id, ok := ids.Load(page.Entries[i].Position.ID); ok {
					page.Entries[i].Position.ID = id.(string)
				}
			}
			if id, ok := ids.Load(page.Top.ID); ok {
				page.Top.ID = id.(string)
			}
		})(m)
	}
	silent := func(pick func(*faultyHistory, *faulty)) func(*faulty) {
		return func(m *faulty) { m.withHistory(func(h *faultyHistory) { pick(h, m) }) }
	}
	return []historyFault{
		{breaks: "MembersShareTheLog", name: "each has its own", member: func(m *faulty) {
			own := func(topic hub.Topic) hub.Topic { return topic + hub.Topic(fmt.Sprintf("%p", m)) }
			m.publishing(func(p *hub.Publication) { p.Topic = own(p.Topic) })
			asking(func(r *hub.ReadRequest) { r.Topic = own(r.Topic) })(m)
		}},
		{breaks: "MembersShareTheLog", name: "the last one takes it along", member: func(m *faulty) {
			m.shut = func() error {
				err := m.Backplane.Close()
				if !slices.ContainsFunc(m.w.others(m), func(other *faulty) bool { return !other.isClosed() }) {
					m.w.broker.LoseLogs()
				}
				return err
			}
		}},
		{breaks: "KeepsMessages", name: "one less", member: limited(func(l *hub.Log) { l.Messages = max(0, l.Messages-1) })},
		{breaks: "TheOneBeforeIsProven", name: "the first one does not tell", member: answering(func(page *hub.Page) {
			if len(page.Entries) > 0 {
				page.Entries[0].Previous = hub.Position{}
			}
		})},
		{breaks: "NothingFalseIsProven", name: "the first one follows Since", member: func(m *faulty) {
			m.withHistory(func(h *faultyHistory) {
				h.read = func(ctx context.Context, r hub.ReadRequest) (hub.Page, error) {
					page, err := h.History.Read(ctx, r)
					if len(page.Entries) > 0 && r.Since.Offset > 0 {
						page.Entries[0].Previous = r.Since
					}
					return page, err
				}
			})
		}},
		{breaks: "NothingFalseIsProven", name: "the first one follows the start", member: answering(func(page *hub.Page) {
			if len(page.Entries) > 0 {
				page.Entries[0].Previous = hub.Position{ID: "start"}
			}
		})},
		{breaks: "MessagesAreBounded", name: "nothing goes", member: limited(func(l *hub.Log) { l.Messages = 0 })},
		{breaks: "KeepsForAge", name: "half the age", member: limited(func(l *hub.Log) { l.Age /= 2 })},
		{breaks: "AgeIsBounded", name: "nothing goes", member: limited(func(l *hub.Log) { l.Age = 0 })},
		{breaks: "OffsetsOutliveTheEntries", name: "an empty log begins anew", member: asking(func(*hub.ReadRequest) {}), deployment: func(w *world, h *hubtest.HistoryHarness) {
			make := h.Backplane.New
			h.Backplane.New = func(t testing.TB) hub.Backplane {
				m := make(t).(*faulty)
				m.publishing(func(p *hub.Publication) {
					if p.ID == "3" {
						w.broker.LoseLogs()
					}
				})
				return m
			}
		}},
		{breaks: "EndedContext", name: "reading does not look", member: silent(func(h *faultyHistory, _ *faulty) {
			h.read = func(ctx context.Context, r hub.ReadRequest) (hub.Page, error) {
				return h.History.Read(context.WithoutCancel(ctx), r)
			}
		})},
		{breaks: "EndedContext", name: "tops don't look", member: silent(func(h *faultyHistory, _ *faulty) {
			h.tops = func(ctx context.Context, log string, topics []hub.Topic) ([]hub.Position, error) {
				return h.History.Tops(context.WithoutCancel(ctx), log, topics...)
			}
		})},
		{breaks: "EndedContext", name: "an error, and it is appended", member: func(m *faulty) {
			m.publish = func(ctx context.Context, p hub.Publication) (hub.Published, error) {
				out, err := m.Backplane.Publish(context.WithoutCancel(ctx), p)
				if ctx.Err() != nil {
					err = ctx.Err()
				}
				return out, err
			}
		}},
		{breaks: "UseAfterClose", name: "an empty page", member: silent(func(h *faultyHistory, m *faulty) {
			h.read = func(ctx context.Context, r hub.ReadRequest) (hub.Page, error) {
				page, err := h.History.Read(ctx, r)
				if m.isClosed() {
					return page, nil
				}
				return page, err
			}
		})},
		{breaks: "NoGoroutineLeft", name: "one for each read", member: asking(func(*hub.ReadRequest) {}), deployment: func(w *world, h *hubtest.HistoryHarness) {
			make := h.Backplane.New
			h.Backplane.New = func(t testing.TB) hub.Backplane {
				m := make(t).(*faulty)
				asking(func(*hub.ReadRequest) { go func() { <-w.release }() })(m)
				return m
			}
		}},
		{breaks: "ReadWhileBroken", name: "an empty page", member: silent(func(h *faultyHistory, m *faulty) {
			h.read = func(ctx context.Context, r hub.ReadRequest) (hub.Page, error) {
				if page, err := h.History.Read(ctx, r); !m.w.isDown() {
					return page, err
				}
				return hub.Page{}, nil
			}
		})},
		{breaks: "ReadWhileBroken", name: "it outlives its context", member: silent(func(h *faultyHistory, m *faulty) {
			h.tops = func(ctx context.Context, log string, topics []hub.Topic) ([]hub.Position, error) {
				if m.w.isDown() {
					time.Sleep(time.Minute / 2)
				}
				return h.History.Tops(ctx, log, topics...)
			}
		})},
		{breaks: "TheLogOutlivesAnOutage", name: "it does not", deployment: func(w *world, h *hubtest.HistoryHarness) {
			heal := h.Backplane.Heal
			h.Backplane.Heal = func(t testing.TB) { w.broker.LoseLogs(); heal(t) }
		}},
		{breaks: "ALostLogIsAnother", name: "nothing is lost", deployment: func(_ *world, h *hubtest.HistoryHarness) {
			h.Lose = func(testing.TB) {}
		}},
		{breaks: "ALostLogIsAnother", name: "ids are made from the messages'", member: keepID},
		{breaks: "AnEmptyLogThatIsLostIsAnother", name: "the start has a fixed id", member: answering(func(page *hub.Page) {
			if page.Top.Offset == 0 {
				page.Top.ID = "start"
			}
		})},
		{breaks: "ARewoundLogIsToldApart", name: "ids are made from the messages'", member: keepID},
		{breaks: "ARewoundLogIsToldApart", name: "the member remembers the top", member: func(m *faulty) {
			var highest hub.Position
			answering(func(page *hub.Page) {
				if page.Top.Offset > highest.Offset {
					highest = page.Top
				}
				page.Top = highest
			})(m)
		}},
	}
}
