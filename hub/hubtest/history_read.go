package hubtest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"forge.lthn.ai/core/go-ws/hub"
)

// What is read is what was published, byte by byte, large ones too.
func checkEntriesAreUnchanged(e *historyEnv) {
	m, other, topic := e.connected(), e.connected(), e.topic("bytes")
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	large := 512 << 10
	if limit := e.backplaneEnv.h.Features.MaxPayload; limit > 0 {
		large = limit
	}
	want := []string{
		"", "\x00", "\r\n", " padded ", string(all), "\xff\xfe\xfd", "héllo \U0001F600", `{"type":"event"}`,
		strings.Repeat("x", large),
	}
	for i := range 12 { // together larger than one message may be
		want = append(want, strings.Repeat(fmt.Sprintf("\xb7\x00\r\n%04d", i), min(large, 128<<10)/8))
	}
	buf := make([]byte, 0, large)
	for i, envelope := range want {
		buf = append(buf[:0], envelope...)
		m.publishAs(logAll, topic, fmt.Sprint(i), string(buf))
	}
	page := other.read(hub.ReadRequest{Log: logAll, Topic: topic, Limit: 100})
	entries := page.Entries
	if len(entries) < len(want) { // a page may be cut short
		entries = other.all(logAll, topic, 100)
	}
	if got := envelopesOf(entries); !slices.Equal(got, want) {
		e.Errorf("entries: got %s, want %s", brief(got), brief(want))
	}
	for _, entry := range entries {
		if entry.Topic != topic {
			e.Errorf("topic of an entry: got %q, want %q", entry.Topic, topic)
		}
	}
}

// Neither the publisher nor the reader of a page shares its bytes with the log.
func checkEntriesBelongToTheReader(e *historyEnv) {
	m, topic := e.connected(), e.topic("kept")
	buf := []byte("original")
	for i := range 5 {
		copy(buf, "original")
		p := hub.Publication{Topic: topic, ID: fmt.Sprint(i), Envelope: buf, Log: logAll}
		e.must("Publish", func(ctx context.Context) error { _, err := m.bp.Publish(ctx, p); return err })
		copy(buf, "scribble")
	}
	r := hub.ReadRequest{Log: logAll, Topic: topic, Limit: 10}
	first := m.read(r)
	m.publish(logAll, topic, "another")
	m.read(r)
	for i, got := range envelopesOf(first.Entries) {
		if got != "original" {
			e.Errorf("entry %d, kept by the reader: got %q, want %q", i, got, "original")
		}
	}
	if len(first.Entries) != 5 {
		e.Errorf("page, kept by the reader: got %d entries, want 5", len(first.Entries))
	}
}

// Since is inclusive, and is a place, not an entry: its id is not looked at.
func checkReadSince(e *historyEnv) {
	m, topic := e.connected(), e.topic("since")
	positions := m.publish(logAll, topic, counted("message", 8)...)
	for i, since := range positions {
		for _, id := range []string{since.ID, "another", ""} {
			page := m.read(hub.ReadRequest{Log: logAll, Topic: topic, Since: hub.Position{Offset: since.Offset, ID: id}, Limit: 100})
			e.wantPositions(fmt.Sprint("Read since ", since.Offset), positionsOf(page.Entries), positions[i:])
		}
	}
	last := positions[len(positions)-1]
	page := m.read(hub.ReadRequest{Log: logAll, Topic: topic, Since: hub.Position{Offset: last.Offset + 1}, Limit: 100})
	if len(page.Entries) > 0 || page.Top != last {
		e.Errorf("Read since one after the top: got %d entries and top %+v, want none and %+v", len(page.Entries), page.Top, last)
	}
}

func checkReadFromTheOldest(e *historyEnv) {
	m, topic := e.connected(), e.topic("oldest")
	positions := m.publish(logAll, topic, counted("message", 25)...)
	page := m.read(hub.ReadRequest{Log: logAll, Topic: topic, Limit: 100})
	e.wantPositions("Read from the oldest", positionsOf(page.Entries), positions)
	page = m.read(hub.ReadRequest{Log: logAll, Topic: topic, Since: hub.Position{ID: "another"}, Limit: 2})
	e.wantPositions("Read since offset 0", positionsOf(page.Entries), positions[:2])
}

func checkReadLast(e *historyEnv) {
	m, topic := e.connected(), e.topic("last")
	positions := m.publish(logAll, topic, counted("message", 3)...)
	between := e.topic("last-other") // its messages may take offsets in between
	for i := range 9 {
		m.publish(logAll, between, fmt.Sprint(i))
		positions = append(positions, m.publish(logAll, topic, fmt.Sprint("more ", i))...)
	}
	n := len(positions)
	for _, last := range []int{1, 2, 10, n, n + 100} {
		page := m.read(hub.ReadRequest{Log: logAll, Topic: topic, Last: last, Since: positions[n-1], Limit: 1000})
		e.wantPositions(fmt.Sprintf("Read of the last %d", last), positionsOf(page.Entries), positions[max(0, n-last):])
	}
	page := m.read(hub.ReadRequest{Log: logAll, Topic: topic, Last: 10, Limit: 3})
	e.wantPositions("Read of the last 10, at most 3", positionsOf(page.Entries), positions[n-10:n-7])
	page = m.read(hub.ReadRequest{Log: logAll, Topic: e.topic("last-empty"), Last: 10, Limit: 3})
	e.wantPositions("Read of the last 10 of nothing", positionsOf(page.Entries), []hub.Position{})
}

func checkReadLimited(e *historyEnv) {
	m, topic := e.connected(), e.topic("limit")
	positions := m.publish(logAll, topic, counted("message", 30)...)
	top := positions[len(positions)-1]
	for _, since := range []hub.Position{{}, positions[4]} {
		for _, limit := range []int{0, 1, 7} {
			page := m.read(hub.ReadRequest{Log: logAll, Topic: topic, Since: since, Limit: limit})
			from := max(0, slices.Index(positions, since))
			e.wantPositions(fmt.Sprintf("Read of %d since %d", limit, since.Offset), positionsOf(page.Entries), positions[from:from+limit])
			if page.Top != top {
				e.Errorf("top of a page of %d: got %+v, want %+v", limit, page.Top, top)
			}
		}
	}
	if page := m.read(hub.ReadRequest{Log: logAll, Topic: topic, Last: 5}); len(page.Entries) > 0 || page.Top != top {
		e.Errorf("Read of the last 5, at most 0: got %d entries and top %+v, want none and %+v", len(page.Entries), page.Top, top)
	}
	e.wantPositions("Read in pages", positionsOf(m.all(logAll, topic, 7)), positions)
}

// In a page each entry follows the one before it, and what is before the first
// is whole, or not told.
func checkReadChains(e *historyEnv) {
	m, topic := e.connected(), e.topic("chain")
	positions := m.publish(logAll, topic, counted("message", 20)...)
	for from := range positions {
		page := m.read(hub.ReadRequest{Log: logAll, Topic: topic, Since: positions[from], Limit: 5})
		for i, entry := range page.Entries {
			switch got := entry.Previous; {
			case i == 0 && got.IsZero():
			case i == 0 && from == 0: // the start, see TheStartIsProven
				if got.ID == "" || got.Offset >= positions[0].Offset {
					e.Errorf("Previous of the first entry: got %+v, want a whole position below %+v", got, positions[0])
				}
			case got != positions[from+i-1]:
				e.Errorf("Previous of entry %d, number %d of its page: got %+v, want %+v", from+i, i, got, positions[from+i-1])
			}
		}
	}
}

func checkReadSeesWhatWasAcknowledged(e *historyEnv) {
	m, topic := e.connected(), e.topic("acknowledged")
	for i := range 100 {
		p := m.publish(logAll, topic, fmt.Sprint(i))[0]
		page := m.read(hub.ReadRequest{Log: logAll, Topic: topic, Since: p, Limit: 1})
		if page.Top != p || len(page.Entries) != 1 || page.Entries[0].Position != p {
			e.Errorf("Read after the acknowledgement of %+v: got %+v, want it", p, page)
		}
		if tops := m.tops(logAll, topic); len(tops) != 1 || tops[0] != p {
			e.Errorf("Tops after the acknowledgement of %+v: got %+v, want it", p, tops)
		}
	}
}

func checkReadSeesWhatWasDelivered(e *historyEnv) {
	topic := e.topic("delivered")
	sub, pub := e.connected(), e.connected()
	sub.join(pub, logAll, topic)
	for i := range 50 {
		message := fmt.Sprint(i)
		pub.publish(logAll, topic, message)
		if !sub.arrives(topic, message, backplaneHang) {
			e.Fatalf("publication %d: got nothing for %v", i, backplaneHang)
		}
		got := sub.deliveries(topic)
		p := got[len(got)-1].Position
		page := sub.read(hub.ReadRequest{Log: logAll, Topic: topic, Since: p, Limit: 1})
		if page.Top.Offset < p.Offset || len(page.Entries) == 0 || page.Entries[0].Position != p {
			e.Errorf("Read after the delivery of %+v: got %+v, want it", p, page)
		}
	}
}

// Whoever reads in pages while others publish gets each message once, in order.
func checkReadWhilePublishing(e *historyEnv) {
	const workers, many = 3, 100
	topic := e.topic("while")
	pub, reader := e.connected(), e.connected()
	var all sync.WaitGroup
	for w := range workers {
		all.Go(func() { pub.stream(topic, fmt.Sprint("publisher ", w), many) })
	}
	var got []hub.Delivery
	e.eventually("reading beside publishers", func() error {
		r := hub.ReadRequest{Log: logAll, Topic: topic, Limit: 7}
		if len(got) > 0 {
			r.Since = got[len(got)-1].Position
		}
		page := reader.read(r)
		if len(got) > 0 && (len(page.Entries) == 0 || page.Entries[0].Position != r.Since) {
			e.Fatalf("Read since %+v: got %+v, want to begin there", r.Since, page.Entries)
		}
		if len(got) > 0 {
			page.Entries = page.Entries[1:]
		}
		got = append(got, page.Entries...)
		if len(got) < workers*many {
			return fmt.Errorf("%d entries of %d", len(got), workers*many)
		}
		return nil
	})
	e.within("the publishers' end", all.Wait)
	e.wantPositions("read beside publishers", positionsOf(got), positionsOf(reader.all(logAll, topic, 100)))
}
