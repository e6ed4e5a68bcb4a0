package hubtest

import (
	"context"
	"fmt"
	"slices"

	"forge.lthn.ai/core/go-ws/hub"
)

func checkReadWhileBroken(e *historyEnv) {
	m, topic := e.connected(), e.topic("broken")
	m.publish(logAll, topic, "1")
	e.cut(m.suiteMember)
	for what, call := range m.calls(topic, "2") {
		if err := e.prompt(what, brokenPatience, call); err == nil {
			e.Errorf("%s while broken: got nil, want an error", what)
		}
	}
	e.mend(m.suiteMember)
	m.top(logAll, topic) // fails where reading does not come back
}

// After an outage the log goes on where it was. What failed meanwhile is in it
// once when it is published again, whether it got there or not.
func checkTheLogOutlivesAnOutage(e *historyEnv) {
	topic := e.topic("outage")
	sub, pub := e.connected(), e.connected()
	sub.join(pub, logAll, topic)
	published := pub.publish(logAll, topic, "1", "2")
	e.cut(sub.suiteMember, pub.suiteMember)
	err := e.prompt("Publish while broken", brokenPatience, func(ctx context.Context) error {
		_, err := pub.tryPublish(ctx, logAll, topic, "3", "3")
		return err
	})
	if err == nil {
		e.Error("Publish while broken: got nil, want an error")
	}
	e.mend(sub.suiteMember, pub.suiteMember)
	for _, id := range []string{"2", "3", "4"} {
		out := pub.publishAfter(logAll, topic, id)
		if id == "2" && out != (hub.Published{Position: published[1], Duplicate: true}) {
			e.Errorf("Publish of what was acknowledged before the outage: got %+v, want a double at %+v", out, published[1])
		}
		if id != "2" {
			published = append(published, out.Position)
		}
	}
	entries := noProbes(sub.all(logAll, topic, 10))
	if got, want := envelopesOf(entries), []string{"1", "2", "3", "4"}; !slices.Equal(got, want) {
		e.Errorf("the log after an outage: got %s, want %q", brief(got), want)
	}
	e.wantPositions("the log after an outage", positionsOf(entries), published)
}

// seen are the ids that positions had before a loss.
type seen map[string]bool

func (s seen) add(positions ...hub.Position) {
	for _, p := range positions {
		s[p.ID] = true
	}
}

// wantNew fails where a position has an id that was there before.
func (s seen) wantNew(e *historyEnv, what string, positions ...hub.Position) {
	e.Helper()
	for _, p := range positions {
		if p.ID == "" || s[p.ID] {
			e.Errorf("%s: got the position %+v, want an id that was not there before", what, p)
		}
	}
}

// goOn publishes after a loss, the same ids as before it among them, and looks
// whether one has a position that was there.
func (s seen) goOn(e *historyEnv, m *historyMember, topic hub.Topic, ids []string) {
	e.Helper()
	offset := m.top(logAll, topic).Offset
	for _, id := range append([]string{"other"}, ids...) {
		p := m.publishAfter(logAll, topic, id).Position
		s.wantNew(e, fmt.Sprintf("published after the loss, %q", id), p)
		if p.Offset <= offset {
			e.Errorf("offset after the loss: got %d after %d, want more", p.Offset, offset)
		}
		offset = p.Offset
	}
	s.wantNew(e, "read after the loss", positionsOf(m.read(hub.ReadRequest{Log: logAll, Topic: topic, Last: 1 + len(ids), Limit: 100}).Entries)...)
}

// A log that was lost is empty and another one: no position of the old one is in
// it, however many messages come again.
func checkALostLogIsAnother(e *historyEnv) {
	m, other, topic := e.connected(), e.connected(), e.topic("lost")
	before := make(seen)
	before.add(other.top(logAll, topic))
	ids := counted("message", 7)
	published := m.publish(logAll, topic, ids...)
	before.add(published...)
	e.h.Lose(e)
	for _, m := range []*historyMember{m, other} {
		before.wantNew(e, "top of a log that was lost", m.top(logAll, topic))
		page := m.read(hub.ReadRequest{Log: logAll, Topic: topic, Limit: 10})
		if len(page.Entries) > 0 {
			e.Errorf("Read of a log that was lost: got %+v, want nothing", page.Entries)
		}
	}
	before.goOn(e, m, topic, ids)
	page := other.read(hub.ReadRequest{Log: logAll, Topic: topic, Since: published[3], Limit: 10})
	if len(page.Entries) > 0 {
		before.wantNew(e, "Read since a position that was lost", page.Entries[0].Position)
		if p := page.Entries[0].Previous; !p.IsZero() {
			before.wantNew(e, "Previous there", p)
		}
	}
}

func checkAnEmptyLogThatIsLostIsAnother(e *historyEnv) {
	m, topic := e.connected(), e.topic("lost-empty")
	start := m.top(logAll, topic)
	e.h.Lose(e)
	again := m.top(logAll, topic)
	if again.ID == start.ID || again.ID == "" {
		e.Errorf("the start of an empty log that was lost: got %+v, want another id than %+v has", again, start)
	}
	m.publishAfter(logAll, topic, "1")
	page := m.read(hub.ReadRequest{Log: logAll, Topic: topic, Since: start, Limit: 10})
	if len(page.Entries) != 1 || page.Entries[0].Position == start || page.Entries[0].Previous == start {
		e.Errorf("Read since the start that was lost: got %+v, want one message that does not prove %+v", page.Entries, start)
	}
}

// A log that is back in an older state ends where it was then, whatever was
// acknowledged since, and fills the offsets with positions of its own.
func checkARewoundLogIsToldApart(e *historyEnv) {
	m, other, topic := e.connected(), e.connected(), e.topic("rewound")
	kept := m.publish(logAll, topic, counted("kept", 5)...)
	rewind := e.h.Save(e)
	ids := counted("lost", 7)
	lost := m.publish(logAll, topic, ids...)
	other.all(logAll, topic, 10)
	rewind(e)
	for _, m := range []*historyMember{m, other} {
		if top := m.top(logAll, topic); top != kept[4] {
			e.Errorf("top of a log that was rewound: got %+v, want %+v", top, kept[4])
		}
		e.wantPositions("a log that was rewound", positionsOf(m.all(logAll, topic, 10)), kept)
	}
	before := make(seen)
	before.add(lost...)
	before.goOn(e, m, topic, ids)
	for _, since := range lost {
		page := other.read(hub.ReadRequest{Log: logAll, Topic: topic, Since: since, Limit: 1})
		if len(page.Entries) > 0 {
			before.wantNew(e, "Read since a position that was lost", page.Entries[0].Position)
			if p := page.Entries[0].Previous; !p.IsZero() {
				before.wantNew(e, "Previous there", p)
			}
		}
	}
	if got := m.publishAfter(logAll, topic, "kept 4"); got != (hub.Published{Position: kept[4], Duplicate: true}) {
		e.Errorf("Publish of what was kept: got %+v, want a double at %+v", got, kept[4])
	}
}
