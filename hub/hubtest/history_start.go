package hubtest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"forge.lthn.ai/core/go-ws/hub"
)

// Tops answers in the order that it was asked in, for topics without messages
// too, and as Read does.
func checkTopsInOrder(e *historyEnv) {
	m, reader := e.connected(), e.connected()
	var topics []hub.Topic
	var want []hub.Position
	for i := range 90 {
		topic := e.topic(fmt.Sprint("tops-", i))
		topics = append(topics, topic)
		if i%3 == 0 {
			want = append(want, reader.top(logAll, topic)) // nothing is in it
			continue
		}
		published := m.publish(logAll, topic, counted("message", i%3)...)
		want = append(want, published[len(published)-1])
	}
	e.wantPositions("Tops of many topics", reader.tops(logAll, topics...), want)
	slices.Reverse(topics)
	slices.Reverse(want)
	e.wantPositions("Tops of many topics, the other way round", reader.tops(logAll, topics...), want)
	e.wantPositions("Tops of one topic twice", reader.tops(logAll, topics[1], topics[1]), []hub.Position{want[1], want[1]})
	if got := reader.tops(logAll); len(got) != 0 {
		e.Errorf("Tops of no topics: got %+v, want none", got)
	}
}

// The place before the first message has an id, which all who ask at once agree
// on and which stays.
func checkTheStartHasAnID(e *historyEnv) {
	members := []*historyMember{e.connected(), e.connected()}
	for round := range 10 {
		topic := e.topic(fmt.Sprint("start-", round))
		starts := make([]hub.Position, 6)
		e.within("concurrent readers", func() {
			var all sync.WaitGroup
			for i := range starts {
				all.Go(func() { starts[i] = members[i%2].firstTop(topic, i) })
			}
			all.Wait()
		})
		for _, start := range starts {
			if start != starts[0] || start.ID == "" {
				e.Errorf("the start of a log, asked for by several at once: got %+v and %+v, want one with an id", start, starts[0])
			}
		}
		page := members[0].read(hub.ReadRequest{Log: logAll, Topic: topic, Limit: 10})
		if len(page.Entries) > 0 || page.Top != starts[0] {
			e.Errorf("Read of an empty log: got %+v, want no entries and top %+v", page, starts[0])
		}
		first := members[1].publish(logAll, topic, "1")[0]
		if first.Offset <= starts[0].Offset || first.ID == starts[0].ID {
			e.Errorf("the first message: got %+v, want it after the start %+v", first, starts[0])
		}
	}
}

// firstTop asks by Read or by Tops. It doesn't end the goroutine that it is on.
func (m *historyMember) firstTop(topic hub.Topic, i int) (top hub.Position) {
	ctx, cancel := context.WithTimeout(context.Background(), backplaneHang/2)
	defer cancel()
	if i%3 == 0 {
		tops, err := m.history.Tops(ctx, logAll, topic)
		if err != nil || len(tops) != 1 {
			m.e.Errorf("Tops: got %+v, %v, want one", tops, err)
			return hub.Position{}
		}
		return tops[0]
	}
	page, err := m.history.Read(ctx, hub.ReadRequest{Log: logAll, Topic: topic})
	if err != nil {
		m.e.Errorf("Read: got %v, want nil", err)
	}
	return page.Top
}

// Who came while a log was empty is shown that it missed nothing else than what
// is read.
func checkTheStartIsProven(e *historyEnv) {
	m, topic := e.connected(), e.topic("start")
	start := e.connected().top(logAll, topic)
	positions := m.publish(logAll, topic, "1", "2", "3")
	page := m.read(hub.ReadRequest{Log: logAll, Topic: topic, Since: start, Limit: 10})
	e.wantPositions("Read since the start", positionsOf(page.Entries), positions)
	if len(page.Entries) > 0 && page.Entries[0].Previous != start {
		e.Errorf("Previous of the first message: got %+v, want the start %+v", page.Entries[0].Previous, start)
	}
}

// Any UTF-8 is a topic, and each has a log of its own.
func checkHistoryOfHostileTopics(e *historyEnv) {
	m := e.connected()
	names := []string{
		"", " ", "*", ">", ".", "..", "a.b", "a.>", "a.*", "{a}", "{", "}", "%", "%61", "a%2Eb", "a b", "a\tb", "a\r\nb", "\x00", "a\x00b",
		"\u00e4", "a\u0308", "\U0001F600", "'", "\"", "\\", "$", "$JS", "a:b", "a:b:c", "/", "?", "[a]", "#", "A", "a",
		strings.Repeat("é", 200), strings.Repeat("x", 400), strings.Repeat("x", 399),
	}
	topics := make([]hub.Topic, len(names))
	for i, name := range names {
		topics[i] = hub.Topic("c:" + e.run + name)
		m.publish(logAll, topics[i], fmt.Sprint(i, " 1"))
	}
	m.join(m, logAll, topics...)
	for i, topic := range topics {
		m.publish(logAll, topic, fmt.Sprint(i, " 2"))
		m.expect(topic, fmt.Sprint(i, " 2"))
	}
	for i, topic := range topics {
		page := m.read(hub.ReadRequest{Log: logAll, Topic: topic, Limit: 100})
		got, want := envelopesOf(noProbes(page.Entries)), []string{fmt.Sprint(i, " 1"), fmt.Sprint(i, " 2")}
		if !slices.Equal(got, want) {
			e.Errorf("the log of topic %q: got %s, want %q", topic, brief(got), want)
		}
		for _, entry := range page.Entries {
			if entry.Topic != topic {
				e.Errorf("topic of an entry: got %q, want %q", entry.Topic, topic)
			}
		}
	}
}

func checkHistoryOfManyTopics(e *historyEnv) {
	const many = 1000
	m, reader := e.connected(), e.connected()
	topics, want := make([]hub.Topic, many), make([]hub.Position, many)
	for i := range topics {
		topics[i] = e.topic(fmt.Sprint("many-", i))
		want[i] = m.publish(logAll, topics[i], fmt.Sprint(i))[0]
	}
	e.wantPositions("Tops of 1,000 topics", reader.tops(logAll, topics...), want)
	for i := 0; i < many; i += 37 {
		page := reader.read(hub.ReadRequest{Log: logAll, Topic: topics[i], Limit: 10})
		if got := envelopesOf(page.Entries); len(got) != 1 || got[0] != fmt.Sprint(i) {
			e.Errorf("the log of topic %d of many: got %s, want %q alone", i, brief(got), fmt.Sprint(i))
		}
	}
}
