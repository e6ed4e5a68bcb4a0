package hubtest_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"forge.lthn.ai/core/go-ws/hub"
	"forge.lthn.ai/core/go-ws/hub/hubtest"
)

var errFault = errors.New("fault")

// backplaneFault is a way to break a promise.
type backplaneFault struct {
	name   string
	breaks string   // the check that must fail
	also   []string // others that may, since they need the same promise
	// member makes a member faulty.
	member func(*faulty)
	// deployment makes the harness faulty.
	deployment func(*world, *hubtest.BackplaneHarness)
}

func (f backplaneFault) harness(w *world) hubtest.BackplaneHarness {
	h := w.harness(func(m *faulty) {
		if f.member != nil {
			f.member(m)
		}
	})
	if f.deployment != nil {
		f.deployment(w, &h)
	}
	return h
}

var backplaneFaultTable = []backplaneFault{
	{name: "at most two members get it", breaks: "ReachesEveryMember", member: func(m *faulty) {
		m.serially()
		m.delivering(func(d hub.Delivery) []hub.Delivery {
			m.w.got++
			return onlyIf(m.w.got <= 2, d)
		})
	}},
	{name: "no echo", breaks: "ReachesThePublisher", member: func(m *faulty) {
		m.serially()
		m.delivering(func(d hub.Delivery) []hub.Delivery { return onlyIf(m.w.current != m, d) })
	}},
	{name: "nobody listens is an error", breaks: "NobodyListens", member: func(m *faulty) {
		m.publish = func(ctx context.Context, p hub.Publication) (hub.Published, error) {
			for _, other := range m.w.others(nil) {
				if len(other.Topics()) > 0 {
					return m.Backplane.Publish(ctx, p)
				}
			}
			return hub.Published{}, errFault
		}
	}},
	{name: "envelopes are text", breaks: "EnvelopeIsUnchanged", also: []string{"HubsAreOneSystem"}, member: changesEnvelope(func(e []byte) []byte { return bytes.ToValidUTF8(e, []byte("?")) })},
	{name: "envelopes lose their line end", breaks: "EnvelopeIsUnchanged", member: changesEnvelope(func(e []byte) []byte { return bytes.TrimRight(e, "\r\n") })},
	{name: "envelopes end at NUL", breaks: "EnvelopeIsUnchanged", also: []string{"HubsAreOneSystem"}, member: changesEnvelope(func(e []byte) []byte { e, _, _ = bytes.Cut(e, []byte{0}); return e })},
	{name: "empty envelopes are dropped", breaks: "EnvelopeIsUnchanged", member: func(m *faulty) {
		m.delivering(func(d hub.Delivery) []hub.Delivery { return onlyIf(len(d.Envelope) > 0, d) })
	}},
	{name: "the read buffer is handed out", breaks: "EnvelopeBelongsToTheReceiver", member: func(m *faulty) {
		buffers := make(map[hub.Topic][]byte)
		m.delivering(func(d hub.Delivery) []hub.Delivery {
			buffers[d.Topic] = append(buffers[d.Topic][:0], d.Envelope...)
			d.Envelope = buffers[d.Topic]
			return []hub.Delivery{d}
		})
	}},
	{name: "the publisher's bytes are handed out", breaks: "EnvelopeStaysThePublishers", member: func(m *faulty) {
		m.serially()
		m.delivering(func(d hub.Delivery) []hub.Delivery {
			d.Envelope = m.w.envelope
			return []hub.Delivery{d}
		})
	}},
	{name: "positions without a history", breaks: "NoPositionWithoutHistory", member: func(m *faulty) {
		m.delivering(func(d hub.Delivery) []hub.Delivery {
			d.Position = hub.Position{Offset: 1, ID: "x"}
			return []hub.Delivery{d}
		})
	}},
	{name: "results with positions without a history", breaks: "NoPositionWithoutHistory", member: func(m *faulty) {
		m.publish = func(ctx context.Context, p hub.Publication) (hub.Published, error) {
			_, err := m.Backplane.Publish(ctx, p)
			return hub.Published{Position: hub.Position{Offset: 1}}, err
		}
	}},
	{name: "no payload limit", breaks: "TooLarge", deployment: func(w *world, _ *hubtest.BackplaneHarness) {
		w.broker = hubtest.NewBroker(hubtest.BrokerConfig{})
	}},
	{name: "too large is another error", breaks: "TooLarge", member: func(m *faulty) {
		m.publish = func(ctx context.Context, p hub.Publication) (hub.Published, error) {
			out, err := m.Backplane.Publish(ctx, p)
			if errors.Is(err, hub.ErrTooLarge) {
				err = errFault
			}
			return out, err
		}
	}},
	{name: "too large ends the connection", breaks: "TooLarge", member: func(m *faulty) {
		m.publish = func(ctx context.Context, p hub.Publication) (hub.Published, error) {
			out, err := m.Backplane.Publish(ctx, p)
			if errors.Is(err, hub.ErrTooLarge) {
				m.Disrupt(err)
			}
			return out, err
		}
	}},
	{name: "too large is published all the same", breaks: "TooLarge", member: func(m *faulty) {
		m.publish = func(ctx context.Context, p hub.Publication) (hub.Published, error) {
			out, err := m.Backplane.Publish(ctx, p)
			if errors.Is(err, hub.ErrTooLarge) {
				m.w.broker.Publish(p.Topic, p.Envelope)
			}
			return out, err
		}
	}},

	{name: "broadcasts reach whoever did not ask", breaks: "OnlySubscribedTopics", member: func(m *faulty) {
		m.publish = func(ctx context.Context, p hub.Publication) (hub.Published, error) {
			if p.Topic == "b:" {
				for _, other := range m.w.others(m) {
					other.Deliver(hub.Delivery{Topic: p.Topic, Envelope: p.Envelope})
				}
			}
			return m.Backplane.Publish(ctx, p)
		}
	}},
	{name: "hubs and users share a space", breaks: "TopicSpacesAreApart", member: renamesTopic(func(topic string) string {
		if name, ok := strings.CutPrefix(topic, "u:"); ok {
			return "h:" + name
		}
		return topic
	})},
	{name: "a star is a wildcard", breaks: "HostileTopics", member: func(m *faulty) {
		m.publish = func(ctx context.Context, p hub.Publication) (hub.Published, error) {
			for _, other := range m.w.others(m) {
				for _, topic := range other.Topics() {
					prefix, wild := strings.CutSuffix(string(topic), "*")
					if wild && len(topic) < 100 && strings.HasPrefix(string(p.Topic), prefix) && topic != p.Topic {
						other.Deliver(hub.Delivery{Topic: p.Topic, Envelope: p.Envelope})
					}
				}
			}
			return m.Backplane.Publish(ctx, p)
		}
	}},
	{name: "line ends become spaces", breaks: "HostileTopics", member: renamesTopic(strings.NewReplacer("\n", " ").Replace)},
	{name: "percent signs are decoded", breaks: "HostileTopics", member: renamesTopic(strings.NewReplacer("%41", "A").Replace)},
	{name: "accents are composed", breaks: "HostileTopics", member: renamesTopic(strings.NewReplacer("e\u0301", "é").Replace)},
	{name: "the hash tag is the topic", breaks: "HostileTopics", member: renamesTopic(strings.NewReplacer("{a}", "a").Replace)},
	{name: "topics end at NUL", breaks: "HostileTopics", also: []string{"LongTopics"}, member: renamesTopic(func(topic string) string {
		topic, _, _ = strings.Cut(topic, "\x00")
		return topic
	})},
	{name: "topics are cut to 500 bytes", breaks: "LongTopics", member: renamesTopic(func(topic string) string { return topic[:min(len(topic), 500)] })},

	{name: "a subscription that is late now and then", breaks: "SubscribeIsLiveOnReturn", member: func(m *faulty) { m.liveAfter(1, 50) }},
	{name: "500 topics at once", breaks: "SubscribeManyAtOnce", member: func(m *faulty) {
		m.subscribe = func(ctx context.Context, topics []hub.Topic) error {
			return m.Backplane.Subscribe(ctx, topics[:min(len(topics), 500)]...)
		}
	}},
	{name: "500 topics left at once", breaks: "SubscribeManyAtOnce", member: func(m *faulty) {
		m.unsubscribe = func(ctx context.Context, topics []hub.Topic) error {
			return m.Backplane.Unsubscribe(ctx, topics[:min(len(topics), 500)]...)
		}
	}},
	{name: "twice subscribed is twice delivered", breaks: "SubscribeTwiceDeliversOnce", member: countsSubscriptions(true)},
	{name: "one leaving for each joining", breaks: "UnsubscribeStops", member: countsSubscriptions(false)},
	{name: "leaving does nothing", breaks: "UnsubscribeStops", also: []string{"SubscribeManyAtOnce", "UnsubscribeWhileBroken"}, member: func(m *faulty) {
		m.unsubscribe = func(context.Context, []hub.Topic) error { return nil }
	}},
	{name: "leaving what is unknown is an error", breaks: "UnsubscribeUnknown", member: func(m *faulty) {
		m.unsubscribe = func(ctx context.Context, topics []hub.Topic) error {
			before := m.Topics()
			known := len(topics) == 0 || slices.ContainsFunc(topics, func(t hub.Topic) bool { return slices.Contains(before, t) })
			if err := m.Backplane.Unsubscribe(ctx, topics...); err != nil || known {
				return err
			}
			return errFault
		}
	}},
	{name: "calls get into each other's way", breaks: "ConcurrentCalls", member: func(m *faulty) {
		var busy sync.Mutex
		m.subscribe = func(ctx context.Context, topics []hub.Topic) error {
			if !busy.TryLock() {
				return errFault
			}
			defer busy.Unlock()
			time.Sleep(time.Millisecond)
			return m.Backplane.Subscribe(ctx, topics...)
		}
	}},

	{name: "all topics fail with one", breaks: "SubscribeSome", member: func(m *faulty) {
		m.subscribe = func(ctx context.Context, topics []hub.Topic) error {
			err := m.Backplane.Subscribe(ctx, topics...)
			if partial, ok := errors.AsType[*hub.SubscribeError](err); ok {
				// Some adapter undoes what it has done.
				return errors.Join(m.Backplane.Unsubscribe(ctx, topics...), fmt.Errorf("%v", partial))
			}
			return err
		}
	}},
	{name: "those beside topics that fail are not joined", breaks: "SubscribeSome", member: func(m *faulty) {
		m.subscribe = func(ctx context.Context, topics []hub.Topic) error {
			err := m.Backplane.Subscribe(ctx, topics...)
			if _, ok := errors.AsType[*hub.SubscribeError](err); ok {
				return errors.Join(err, m.Backplane.Unsubscribe(ctx, topics...))
			}
			return err
		}
	}},
	{name: "a topic that fails is not named", breaks: "SubscribeSome", member: func(m *faulty) {
		m.subscribe = func(ctx context.Context, topics []hub.Topic) error {
			err := m.Backplane.Subscribe(ctx, topics...)
			if partial, ok := errors.AsType[*hub.SubscribeError](err); ok {
				delete(partial.Failed, topics[0])
			}
			return err
		}
	}},
	{name: "topics that fail are joined later all the same", breaks: "SubscribeSome", member: func(m *faulty) {
		var wanted []hub.Topic
		m.subscribe = func(ctx context.Context, topics []hub.Topic) error {
			err := m.Backplane.Subscribe(ctx, topics...)
			if _, ok := errors.AsType[*hub.SubscribeError](err); ok {
				wanted = topics
			}
			return err
		}
		m.w.onMend(func() {
			// It may be closed by now.
			_ = m.Backplane.Subscribe(context.Background(), wanted...)
		})
	}},
	{name: "hubs do not hear each other", breaks: "HubsAreOneSystem", member: func(m *faulty) {
		m.delivering(func(d hub.Delivery) []hub.Delivery { return onlyIf(d.Topic != "a:", d) })
	}},

	{name: "two are swapped after a while", breaks: "OnePublisherInOrder", member: func(m *faulty) {
		swap := hubtest.SwapNext()
		m.delivering(func(d hub.Delivery) []hub.Delivery {
			if n := m.count(d.Topic); d.Topic != "c:flood" && n >= 2000 {
				return swap(d)
			}
			return []hub.Delivery{d}
		})
	}},
	{name: "one is lost after a while", breaks: "OnePublisherInOrder", member: func(m *faulty) {
		m.delivering(func(d hub.Delivery) []hub.Delivery {
			return onlyIf(d.Topic == "c:flood" || m.count(d.Topic) != 2000, d)
		})
	}},
	{name: "under load acknowledged before published", breaks: "ConcurrentPublishersInOrder", member: func(m *faulty) {
		m.publish = func(ctx context.Context, p hub.Publication) (hub.Published, error) {
			m.w.mu.Lock()
			m.w.inFlight++
			m.w.mu.Unlock()
			time.Sleep(time.Microsecond)
			m.w.mu.Lock()
			alone := m.w.inFlight == 1
			m.w.inFlight--
			m.w.mu.Unlock()
			if alone || m.call()%10 != 0 {
				return m.Backplane.Publish(ctx, p)
			}
			time.AfterFunc(time.Millisecond, func() { m.w.broker.Publish(p.Topic, p.Envelope) })
			return hub.Published{}, nil
		}
	}},
	// For the topics of this check alone, since two at once have no order.
	{name: "deliveries in pairs", breaks: "DeliverIsNotConcurrent", member: func(m *faulty) {
		kept := make(map[hub.Topic]hub.Delivery)
		m.receive = func(r hub.BackplaneReceiver) hub.BackplaneReceiver {
			return relay{BackplaneReceiver: r, deliver: func(d hub.Delivery) {
				first, ok := kept[d.Topic]
				switch {
				case !strings.HasPrefix(string(d.Topic), "c:alone"):
					r.Deliver(d)
				case !ok:
					kept[d.Topic] = d
				default:
					delete(kept, d.Topic)
					var both sync.WaitGroup
					both.Go(func() { r.Deliver(first) })
					both.Go(func() { r.Deliver(d) })
					both.Wait()
				}
			}}
		}
	}},
}

func init() { backplaneFaultTable = append(backplaneFaultTable, backplaneLifeFaults...) }

func onlyIf(ok bool, d hub.Delivery) []hub.Delivery {
	if ok {
		return []hub.Delivery{d}
	}
	return nil
}

func changesEnvelope(change func([]byte) []byte) func(*faulty) {
	return func(m *faulty) {
		m.delivering(func(d hub.Delivery) []hub.Delivery {
			d.Envelope = change(d.Envelope)
			return []hub.Delivery{d}
		})
	}
}

// renamesTopic names topics by another name at the broker, and calls what comes
// on it by the name that was subscribed.
func renamesTopic(rename func(string) string) func(*faulty) {
	return func(m *faulty) {
		names := make(map[hub.Topic][]hub.Topic) // by what the broker calls them
		m.publishing(func(p *hub.Publication) { p.Topic = hub.Topic(rename(string(p.Topic))) })
		m.subscribe = func(ctx context.Context, topics []hub.Topic) error {
			failed := make(map[hub.Topic]error)
			for _, topic := range topics {
				m.mu.Lock()
				at := hub.Topic(rename(string(topic)))
				names[at] = append(names[at], topic)
				m.mu.Unlock()
				err := m.Backplane.Subscribe(ctx, at)
				if partial, ok := errors.AsType[*hub.SubscribeError](err); ok {
					failed[topic] = partial
				} else if err != nil {
					return err
				}
			}
			if len(failed) > 0 {
				return &hub.SubscribeError{Failed: failed}
			}
			return nil
		}
		m.unsubscribe = func(ctx context.Context, topics []hub.Topic) error {
			for _, topic := range topics {
				m.mu.Lock()
				at := hub.Topic(rename(string(topic)))
				delete(names, at)
				m.mu.Unlock()
				if err := m.Backplane.Unsubscribe(ctx, at); err != nil {
					return err
				}
			}
			return nil
		}
		m.delivering(func(d hub.Delivery) []hub.Delivery {
			m.mu.Lock()
			defer m.mu.Unlock()
			if known := names[d.Topic]; len(known) > 0 {
				d.Topic = known[0]
			}
			return []hub.Delivery{d}
		})
	}
}

// countsSubscriptions remembers how often each topic was joined, and either
// delivers as often, or wants it left as often.
func countsSubscriptions(delivers bool) func(*faulty) {
	return func(m *faulty) {
		m.subscribe = func(ctx context.Context, topics []hub.Topic) error {
			err := m.Backplane.Subscribe(ctx, topics...)
			partial, some := errors.AsType[*hub.SubscribeError](err)
			if err != nil && !some {
				return err
			}
			for _, topic := range topics {
				if !some || partial.Failed[topic] == nil {
					m.count(topic)
				}
			}
			return err
		}
		m.unsubscribe = func(ctx context.Context, topics []hub.Topic) error {
			for _, topic := range topics {
				m.mu.Lock()
				m.counts[topic]--
				if delivers {
					m.counts[topic] = 0
				}
				left := m.counts[topic]
				m.mu.Unlock()
				if left > 0 {
					continue
				}
				if err := m.Backplane.Unsubscribe(ctx, topic); err != nil {
					return err
				}
			}
			return nil
		}
		if delivers {
			m.delivering(func(d hub.Delivery) []hub.Delivery {
				m.mu.Lock()
				defer m.mu.Unlock()
				var all []hub.Delivery
				for range m.counts[d.Topic] {
					all = append(all, d)
				}
				return all
			})
		}
	}
}
