package hubtest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"forge.lthn.ai/core/go-ws/hub"
)

func checkDeclareOnce(e *historyEnv) {
	m := e.bare()
	declare := func() error { return m.history.Declare(e.logs()...) }
	if err := declare(); err != nil {
		e.Fatalf("Declare: got %v, want nil", err)
	}
	if err := declare(); err == nil {
		e.Error("Declare for the second time: got nil, want an error")
	}
	late := e.bare()
	late.start()
	if err := late.history.Declare(e.logs()...); err == nil {
		e.Error("Declare after Start: got nil, want an error")
	}
	m.connect()
	m.publish(logAll, e.topic("declared"), "1") // what was declared first holds
}

func checkDeclareValidLogs(e *historyEnv) {
	for what, logs := range map[string][]hub.Log{
		"no name":              {{}},
		"a name of 33 letters": {{Name: strings.Repeat("x", 33)}},
		"a name with a dot":    {{Name: "a.b"}},
		"a name with a colon":  {{Name: "a:b"}},
		"an umlaut":            {{Name: "ä"}},
		"a name given twice":   {{Name: logAll}, {Name: logCount, Messages: logKept}, {Name: logAll}},
		"negative messages":    {{Name: logCount, Messages: -1}},
		"a negative age":       {{Name: logAge, Age: -time.Second}},
	} {
		if err := e.bare().history.Declare(logs...); err == nil {
			e.Errorf("Declare with %s: got nil, want an error", what)
		}
	}
}

// A log that was not declared is an error, and nothing is published.
func checkUndeclaredLog(e *historyEnv) {
	topic := e.topic("undeclared")
	sub, pub := e.connected(), e.connected()
	sub.join(pub, logAll, topic)
	const log = "hubtest-none"
	for what, call := range map[string]func(context.Context) error{
		"Publish": func(ctx context.Context) error {
			_, err := pub.tryPublish(ctx, log, topic, "stray", "stray")
			return err
		},
		"Read": func(ctx context.Context) error {
			_, err := pub.history.Read(ctx, hub.ReadRequest{Log: log, Topic: topic, Limit: 1})
			return err
		},
		"Tops": func(ctx context.Context) error { _, err := pub.history.Tops(ctx, log, topic); return err },
	} {
		if err := e.prompt(what, backplaneHang/2, call); err == nil {
			e.Errorf("%s of a log that was not declared: got nil, want an error", what)
		}
	}
	pub.publish(logAll, topic, "end")
	sub.expect(topic, "end")
}

// Offsets increase within a topic, and no two appends have one id.
func checkPositionsIncrease(e *historyEnv) {
	members := []*historyMember{e.connected(), e.connected()}
	topics := []hub.Topic{e.topic("one"), e.topic("two")}
	last := make(map[hub.Topic]uint64)
	ids := make(map[string]bool)
	for i := range 60 {
		topic := topics[i/2%2]
		p := members[i%2].publish(logAll, topic, fmt.Sprint(i))[0]
		if p.Offset <= last[topic] {
			e.Errorf("offset of publication %d: got %d after %d, want more", i, p.Offset, last[topic])
		}
		if ids[p.ID] || len(p.ID) > 64 || strings.ToValidUTF8(p.ID, "") != p.ID {
			e.Errorf("id of publication %d: got %q, want a new one of up to 64 bytes of text", i, p.ID)
		}
		last[topic], ids[p.ID] = p.Offset, true
	}
}

func checkSubscribersGetThePublishersPosition(e *historyEnv) {
	topic := e.topic("positions")
	a, b := e.connected(), e.connected()
	a.join(b, logAll, topic)
	b.join(b, logAll, topic)
	want := append(b.publish(logAll, topic, counted("message", 20)...), b.publish(logAll, topic, "end")...)
	for _, m := range []*historyMember{a, b} {
		m.expect(topic, "end", counted("message", 20)...)
		e.wantPositions("deliveries", positionsOf(m.deliveries(topic)), want)
	}
}

// Each delivery says which one was before it, as far as the features say.
func checkPreviousChains(e *historyEnv) {
	topic := e.topic("chain")
	sub, pubs := e.connected(), []*historyMember{e.connected(), e.connected()}
	start := pubs[0].top(logAll, topic)
	for _, pub := range pubs {
		sub.join(pub, logAll, topic)
	}
	for i, message := range counted("message", 20) {
		pubs[i%2].publish(logAll, topic, message)
	}
	pubs[0].publish(logAll, topic, "end")
	sub.expect(topic, "end", counted("message", 20)...)
	before, previous := start, make(map[hub.Position]hub.Position)
	for _, entry := range pubs[0].all(logAll, topic, 50) {
		previous[entry.Position], before = before, entry.Position
	}
	sub.got.Lock()
	defer sub.got.Unlock()
	half := e.h.Features.HalfKnownPrevious
	for i, d := range sub.got.deliveries[topic] {
		want := previous[d.Position]
		switch got := d.Previous; {
		case got == want, half && got == hub.Position{Offset: want.Offset}, half && want == start && got.IsZero():
		default:
			e.Errorf("Previous of delivery %d: got %+v, want %+v", i, got, want)
		}
	}
}

// However many publish at once, all who subscribe see the log's order.
func checkLogOrderIsDeliveryOrder(e *historyEnv) {
	const workers, many = 3, 60
	topic := e.topic("order")
	subs := []*historyMember{e.connected(), e.connected()}
	pubs := []*historyMember{e.connected(), e.connected()}
	for _, sub := range subs {
		for _, pub := range pubs {
			sub.join(pub, logAll, topic)
		}
	}
	e.within("concurrent publishers", func() {
		var all sync.WaitGroup
		for i, pub := range pubs {
			for w := range workers {
				all.Go(func() { pub.stream(topic, fmt.Sprintf("publisher %d.%d", i, w), many) })
			}
		}
		all.Wait()
	})
	pubs[0].publish(logAll, topic, "end")
	log := noProbes(pubs[1].all(logAll, topic, 50))
	if want := len(pubs)*workers*many + 1; len(log) != want {
		e.Fatalf("the log: got %d entries, want %d", len(log), want)
	}
	for _, sub := range subs {
		if !sub.arrives(topic, "end", backplaneHang) {
			e.Fatalf("the last publication: got nothing for %v", backplaneHang)
		}
		got := sub.deliveries(topic)
		e.wantPositions("deliveries, in the log's order", positionsOf(got), positionsOf(log))
		if !slices.Equal(envelopesOf(got), envelopesOf(log)) {
			e.Errorf("deliveries: got %s, want the log's %s", brief(envelopesOf(got)), brief(envelopesOf(log)))
		}
	}
}

// stream publishes messages to logAll beside others. It fails without ending the
// goroutine that runs it.
func (m *historyMember) stream(topic hub.Topic, who string, many int) {
	for _, message := range counted(who, many) {
		ctx, cancel := context.WithTimeout(context.Background(), backplaneHang/2)
		_, err := m.tryPublish(ctx, logAll, topic, message, message)
		cancel()
		if err != nil {
			m.e.Errorf("Publish beside others: got %v, want nil", err)
			return
		}
	}
}

// A publication that names no log has no position and is in none.
func checkLiveIsNotKept(e *historyEnv) {
	topic := e.topic("live")
	sub, pub := e.connected(), e.connected()
	sub.join(pub, logAll, topic)
	before := pub.top(logAll, topic)
	if out := pub.publishAs("", topic, "live", "live"); out != (hub.Published{}) {
		e.Errorf("Publish without a log: got %+v, want no position", out)
	}
	pub.publish(logAll, topic, "end")
	sub.expect(topic, "end", "live")
	if d := sub.deliveries(topic)[0]; !d.Position.IsZero() || !d.Previous.IsZero() {
		e.Errorf("delivery of what no log keeps: got %+v and %+v, want no positions", d.Position, d.Previous)
	}
	page := pub.read(hub.ReadRequest{Log: logAll, Topic: topic, Since: before, Limit: 10})
	if slices.Contains(envelopesOf(page.Entries), "live") {
		e.Errorf("the log: got %q, want nothing of what names no log", envelopesOf(page.Entries))
	}
}

// The same id appends nothing, delivers nothing and says where the first one is,
// whoever publishes it, and whatever the envelope.
func checkDoublesAppendNothing(e *historyEnv) {
	topic := e.topic("double")
	sub, pub := e.connected(), e.connected()
	sub.join(pub, logAll, topic)
	first := pub.publish(logAll, topic, "1", "2")[0]
	for i, m := range []*historyMember{pub, sub, pub} {
		if got, want := m.publishAs(logAll, topic, "1", fmt.Sprint("again ", i)), (hub.Published{Position: first, Duplicate: true}); got != want {
			e.Errorf("Publish of an id that is in the log: got %+v, want %+v", got, want)
		}
	}
	pub.publish(logAll, topic, "end")
	sub.expect(topic, "end", "1", "2")
	if got, want := envelopesOf(noProbes(pub.all(logAll, topic, 10))), []string{"1", "2", "end"}; !slices.Equal(got, want) {
		e.Errorf("the log after doubles: got %q, want %q", got, want)
	}
}

// Several publish one id at once: one of them appends.
func checkDoublesAtOnce(e *historyEnv) {
	topic := e.topic("double-race")
	pubs := []*historyMember{e.connected(), e.connected()}
	for round := range 20 {
		id := fmt.Sprint("id ", round)
		results := make([]hub.Published, 6)
		e.within("concurrent publishers", func() {
			var all sync.WaitGroup
			for i := range results {
				all.Go(func() {
					ctx, cancel := context.WithTimeout(context.Background(), backplaneHang/2)
					defer cancel()
					var err error
					if results[i], err = pubs[i%2].tryPublish(ctx, logAll, topic, id, id); err != nil {
						e.Errorf("Publish of one id by several: got %v, want nil", err)
					}
				})
			}
			all.Wait()
		})
		fresh := 0
		for _, out := range results {
			if !out.Duplicate {
				fresh++
			}
			if out.Position != results[0].Position {
				e.Errorf("positions of one id: got %+v and %+v, want one", out.Position, results[0].Position)
			}
		}
		if fresh != 1 {
			e.Errorf("one id published by %d at once: got %d that are no doubles, want 1", len(results), fresh)
		}
	}
	if got := pubs[0].all(logAll, topic, 10); len(got) != 20 {
		e.Errorf("the log: got %d entries, want 20", len(got))
	}
}

func checkIDsArePerTopic(e *historyEnv) {
	m := e.connected()
	for i := range 5 {
		m.publish(logAll, e.topic(fmt.Sprint("ids-", i)), "the same id") // fails where it is a double
	}
}

// Ids are known again for their window, whatever the log still keeps.
func checkDoubleOfWhatIsGone(e *historyEnv) {
	began := time.Now()
	m, topic := e.connected(), e.topic("double-gone")
	published := m.overflow(topic)
	out := m.publishAs(logCount, topic, "message 0", "again")
	if time.Since(began) >= e.h.Features.Window {
		return // too slow a machine to tell
	}
	first := published[0]
	if !out.Duplicate || out.Position != first && out.Position != (hub.Position{Offset: first.Offset}) {
		e.Errorf("Publish of an id whose message is gone: got %+v, want a double at %+v", out, first)
	}
	if top := m.top(logCount, topic); top != published[len(published)-1] {
		e.Errorf("top after it: got %+v, want %+v as before", top, published[len(published)-1])
	}
}
