package hubtest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"forge.lthn.ai/core/go-ws/hub"
)

// What a member publishes is read by others, by those that come later and after
// all others have gone too.
func checkMembersShareTheLog(e *historyEnv) {
	topic := e.topic("shared")
	a, b := e.connected(), e.connected()
	positions := a.publish(logAll, topic, "1", "2")
	e.wantPositions("read by another member", positionsOf(b.all(logAll, topic, 10)), positions)
	positions = append(positions, b.publish(logAll, topic, "3")...)
	for _, m := range []*historyMember{a, b} {
		e.within("Close", func() { m.bp.Close() })
	}
	late := e.connected()
	e.wantPositions("read when all others are gone", positionsOf(late.all(logAll, topic, 10)), positions)
	if got := late.publishAs(logAll, topic, "2", "2"); got != (hub.Published{Position: positions[1], Duplicate: true}) {
		e.Errorf("Publish of an id of one that is gone: got %+v, want a double at %+v", got, positions[1])
	}
	if p := late.publish(logAll, topic, "4")[0]; p.Offset <= positions[2].Offset {
		e.Errorf("offset when all others are gone: got %d, want more than %d", p.Offset, positions[2].Offset)
	}
}

// A log keeps as many of the newest messages as was declared, at least, without
// a hole.
func checkKeepsMessages(e *historyEnv) {
	m, topic := e.connected(), e.topic("keeps")
	var published []hub.Position
	for i := range 4 * logKept {
		published = append(published, m.publish(logCount, topic, fmt.Sprint(i))...)
		want := published[max(0, len(published)-logKept):]
		page := m.read(hub.ReadRequest{Log: logCount, Topic: topic, Since: want[0], Limit: 10 * logKept})
		e.wantPositions(fmt.Sprintf("the last %d of %d", logKept, len(published)), positionsOf(page.Entries), want)
		page = m.read(hub.ReadRequest{Log: logCount, Topic: topic, Limit: 10 * logKept})
		if n := len(page.Entries); n > len(published) || n < len(want) {
			e.Errorf("from the oldest: got %d entries of %d, want %d at least", n, len(published), len(want))
		} else {
			e.wantPositions("from the oldest", positionsOf(page.Entries), published[len(published)-n:])
		}
	}
}

// Who has missed exactly what a log keeps can be shown so: the message before
// is there, or the oldest says what was before it.
func checkTheOneBeforeIsProven(e *historyEnv) {
	m, topic := e.connected(), e.topic("proven")
	published := m.overflow(topic)
	since := published[len(published)-1-logKept]
	page := m.read(hub.ReadRequest{Log: logCount, Topic: topic, Since: since, Limit: logKept + 1})
	if len(page.Entries) == 0 || page.Entries[0].Position != since && page.Entries[0].Previous != since {
		e.Errorf("Read since the one before the %d that are kept: got %+v, want it, or the next with it as Previous", logKept, page.Entries)
	}
}

// A page's first entry says nothing about what was before it unless it knows.
func checkNothingFalseIsProven(e *historyEnv) {
	m, topic := e.connected(), e.topic("removed")
	start := m.top(logCount, topic)
	published := m.overflow(topic)
	for _, since := range []hub.Position{{}, start, published[0], published[1]} {
		page := m.read(hub.ReadRequest{Log: logCount, Topic: topic, Since: since, Limit: 3})
		if len(page.Entries) == 0 {
			e.Fatalf("Read since %+v: got no entries", since)
		}
		first := page.Entries[0]
		at := slices.Index(published, first.Position)
		if at < 1 {
			e.Fatalf("Read since %+v: got %+v first, want one after the oldest that was published", since, first.Position)
		}
		if got := first.Previous; !got.IsZero() && got != published[at-1] {
			e.Errorf("Previous of the first entry where others are gone: got %+v, want %+v or none", got, published[at-1])
		}
	}
}

func checkMessagesAreBounded(e *historyEnv) {
	e.connected().overflow(e.topic("bounded")) // fails where nothing goes
}

// Within its age a message is there. What the machine is too slow to ask in time
// is not looked at.
func checkKeepsForAge(e *historyEnv) {
	m, topic := e.connected(), e.topic("age")
	age := e.h.Features.MinAge
	for i := range 3 {
		began := time.Now()
		p := m.publish(logAge, topic, fmt.Sprint(i))[0]
		for _, part := range []time.Duration{0, age / 2, age * 3 / 4} {
			e.pause(part - time.Since(began))
			page := m.read(hub.ReadRequest{Log: logAge, Topic: topic, Since: p, Limit: 1})
			if time.Since(began) >= age {
				break
			}
			if len(page.Entries) != 1 || page.Entries[0].Position != p {
				e.Errorf("Read of a message before its age of %v: got %+v, want it", age, page.Entries)
			}
		}
	}
}

func (e *historyEnv) pause(d time.Duration) {
	pause := time.NewTimer(d)
	<-pause.C
}

func checkAgeIsBounded(e *historyEnv) {
	m, topic := e.connected(), e.topic("age-bounded")
	first := m.publish(logAge, topic, "first")[0]
	e.eventually("the end of a message's age", func() error {
		m.publish(logAge, topic, fmt.Sprint("more ", e.next()))
		page := m.read(hub.ReadRequest{Log: logAge, Topic: topic, Limit: 1})
		if len(page.Entries) == 0 || page.Entries[0].Position != first {
			return nil
		}
		e.pause(e.h.Features.MinAge / 20)
		return fmt.Errorf("%+v is still there", first)
	})
}

// When all messages are too old the next ones have other positions, and nobody
// who was at the last one is shown something false.
func checkOffsetsOutliveTheEntries(e *historyEnv) {
	m, topic := e.connected(), e.topic("age-gone")
	positions := m.publish(logAge, topic, "1", "2")
	last := positions[1]
	e.pause(2 * e.h.Features.MinAge)
	top := m.top(logAge, topic)
	if top != last && (top.Offset < last.Offset || top.ID == "" || slices.Contains(positions, top)) {
		e.Errorf("top when all messages are too old: got %+v, want %+v, or one that is new and after it", top, last)
	}
	next := m.publish(logAge, topic, "3")[0]
	if next.Offset <= last.Offset || next.Offset <= top.Offset {
		e.Errorf("the next message's offset: got %d, want more than %d and %d", next.Offset, last.Offset, top.Offset)
	}
	page := m.read(hub.ReadRequest{Log: logAge, Topic: topic, Limit: 1})
	if len(page.Entries) != 1 {
		e.Fatalf("Read: got %d entries, want 1", len(page.Entries))
	}
	if got := page.Entries[0]; got.Position == next && !got.Previous.IsZero() && got.Previous != top {
		e.Errorf("Previous of the next message: got %+v, want the top %+v or none", got.Previous, top)
	}
}

// A context that has ended before the call is an error, not a try.
func checkHistoryEndedContext(e *historyEnv) {
	m, topic := e.connected(), e.topic("ended")
	top := m.publish(logAll, topic, "1")[0]
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	for i := range 20 { // an adapter may choose at random
		for what, call := range m.calls(topic, fmt.Sprint("stray ", i)) {
			if err := e.prompt(what, 0, func(context.Context) error { return call(ctx) }); err == nil {
				e.Fatalf("%s with a context that has ended: got nil, want an error", what)
			}
		}
	}
	if got := m.top(logAll, topic); got != top {
		e.Errorf("top after calls whose contexts had ended: got %+v, want %+v", got, top)
	}
}

// calls are all that reach the log.
func (m *historyMember) calls(topic hub.Topic, id string) map[string]func(context.Context) error {
	return map[string]func(context.Context) error{
		"Publish": func(ctx context.Context) error { _, err := m.tryPublish(ctx, logAll, topic, id, id); return err },
		"Read": func(ctx context.Context) error {
			_, err := m.history.Read(ctx, hub.ReadRequest{Log: logAll, Topic: topic, Limit: 1})
			return err
		},
		"Tops": func(ctx context.Context) error { _, err := m.history.Tops(ctx, logAll, topic); return err },
	}
}

func checkHistoryUseAfterClose(e *historyEnv) {
	m, topic := e.connected(), e.topic("closed")
	m.publish(logAll, topic, "1")
	e.within("Close", func() { m.bp.Close() })
	for what, call := range m.calls(topic, "2") {
		if err := e.prompt(what, backplaneHang/2, call); err == nil {
			e.Errorf("%s after Close: got nil, want an error", what)
		}
	}
}

func checkHistoryNoGoroutineLeft(e *historyEnv) {
	use := func() {
		m, topic := e.connected(), e.topic(fmt.Sprint("goroutines-", e.next()))
		m.publish(logAll, topic, "1", "2")
		m.all(logAll, topic, 10)
		m.tops(logAll, topic)
		e.within("Close", func() { m.bp.Close() })
	}
	use() // what is made once and shared is there before the count
	before := goroutines()
	use()
	err := errors.New("")
	for end := time.Now().Add(10 * time.Second); err != nil && time.Now().Before(end); e.pause(20 * time.Millisecond) {
		err = nil
		if left := e.leftOver(before); len(left) > 0 {
			err = fmt.Errorf("%d more than before:\n\n%s", len(left), strings.Join(left, "\n\n"))
		}
	}
	if err != nil {
		e.Errorf("goroutines after Close: got %v, want none", err)
	}
}
