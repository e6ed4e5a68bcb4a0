package hubtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"forge.lthn.ai/core/go-ws/hub"
)

// Several members listen to one topic, so that a broker that hands each message
// to one of them is found out.
func checkReachesEveryMember(e *backplaneEnv) {
	pub := e.connected()
	var subs []*suiteMember
	for range 3 {
		sub := e.connected()
		sub.join(pub, "c:news")
		subs = append(subs, sub)
	}
	pub.publish("c:news", "1", "2", "end")
	for _, sub := range subs {
		sub.expect("c:news", "end", "1", "2")
	}
}

// A hub tells its own publications by their source and counts on getting them.
func checkReachesThePublisher(e *backplaneEnv) {
	m := e.connected()
	m.join(m, "c:news")
	m.publish("c:news", "1", "2", "end")
	m.expect("c:news", "end", "1", "2")
}

func checkNobodyListens(e *backplaneEnv) {
	e.connected().publish("c:nobody", "1")
}

func checkEnvelopeIsUnchanged(e *backplaneEnv) {
	sub, pub := e.pair("c:bytes")
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	large := 512 << 10
	if limit := e.h.Features.MaxPayload; limit > 0 {
		large = limit
	}
	envelopes := []string{
		"", "\x00", "\n", "\r\n", " padded ", string(all), "\xff\xfe\xfd", "héllo \U0001F600", `{"type":"event"}`,
		"\x00trailing\x00", strings.Repeat("\xb7\x00\r\n", large/4), strings.Repeat("x", large),
	}
	pub.publish("c:bytes", append(envelopes, "end")...)
	sub.expect("c:bytes", "end", envelopes...)
}

// The receiver may keep an envelope: what is delivered later must not change it.
func checkEnvelopeBelongsToTheReceiver(e *backplaneEnv) {
	var mu sync.Mutex
	var kept [][]byte
	sub, pub := e.unstarted(), e.connected()
	sub.on = func(d hub.Delivery) {
		if strings.HasPrefix(string(d.Envelope), backplaneProbe) {
			return
		}
		mu.Lock()
		defer mu.Unlock()
		kept = append(kept, d.Envelope)
	}
	sub.connect()
	sub.join(pub, "c:kept")
	want := make([]string, 100)
	for i := range want {
		want[i] = fmt.Sprintf("envelope %03d", i)
	}
	pub.publish("c:kept", append(want, "the last one")...)
	sub.expect("c:kept", "the last one", want...)
	mu.Lock()
	defer mu.Unlock()
	for i, w := range want {
		if got := string(kept[i]); got != w {
			e.Fatalf("envelope %d, kept by the receiver: got %q later on, want %q", i, got, w)
		}
	}
}

// The publisher may use its bytes again once Publish has returned.
func checkEnvelopeStaysThePublishers(e *backplaneEnv) {
	const topics = 20
	var mu sync.Mutex
	kept := make(map[hub.Topic][]byte)
	sub, pub := e.unstarted(), e.connected()
	sub.on = func(d hub.Delivery) {
		if strings.HasPrefix(string(d.Envelope), backplaneProbe) {
			return
		}
		mu.Lock()
		defer mu.Unlock()
		kept[d.Topic] = d.Envelope
	}
	sub.connect()
	var names []hub.Topic
	for i := range topics {
		names = append(names, hub.Topic(fmt.Sprintf("c:scribble-%d", i)))
	}
	sub.join(pub, names...)
	want := strings.Repeat("original", 512)
	buf := make([]byte, len(want))
	for _, topic := range names {
		copy(buf, want)
		e.must("Publish", func(ctx context.Context) error {
			_, err := pub.bp.Publish(ctx, hub.Publication{Topic: topic, ID: "id", Envelope: buf})
			return err
		})
		for i := range buf {
			buf[i] = 'X'
		}
	}
	for _, topic := range names {
		sub.await("a delivery on "+string(topic), func(*suiteReceiver) bool {
			mu.Lock()
			defer mu.Unlock()
			return kept[topic] != nil
		})
		mu.Lock()
		if got := kept[topic]; !bytes.Equal(got, []byte(want)) {
			e.Errorf("envelope that the publisher wrote over after Publish: got %.40q…, want %.40q…", got, want)
		}
		mu.Unlock()
	}
}

func checkNoPosition(e *backplaneEnv) {
	var mu sync.Mutex
	var got []hub.Delivery
	sub, pub := e.unstarted(), e.connected()
	sub.on = func(d hub.Delivery) {
		mu.Lock()
		defer mu.Unlock()
		got = append(got, d)
	}
	sub.connect()
	sub.join(pub, "c:live")
	for range 3 {
		e.must("Publish", func(ctx context.Context) error {
			p, err := pub.bp.Publish(ctx, hub.Publication{Topic: "c:live", ID: "id", Envelope: []byte("1")})
			if !p.Position.IsZero() {
				e.Errorf("Published.Position without a history: got %+v, want zero", p.Position)
			}
			return err
		})
	}
	pub.publish("c:live", "end")
	sub.expect("c:live", "end", "1", "1", "1")
	mu.Lock()
	defer mu.Unlock()
	for _, d := range got {
		if !d.Position.IsZero() || !d.Previous.IsZero() {
			e.Errorf("Delivery without a history: got positions %+v and %+v, want zero", d.Position, d.Previous)
		}
	}
}

func checkTooLarge(e *backplaneEnv) {
	sub, pub := e.pair("c:large")
	tooLarge := strings.Repeat("x", e.h.Features.MaxPayload+1)
	err := e.prompt("Publish", backplaneHang/2, func(ctx context.Context) error { return pub.try(ctx, "c:large", tooLarge) })
	if !errors.Is(err, hub.ErrTooLarge) {
		e.Errorf("Publish of %d bytes: got %v, want %v", len(tooLarge), err, hub.ErrTooLarge)
	}
	pub.publish("c:large", "end")
	sub.expect("c:large", "end")
	if sub.disruptions() > 0 || pub.disruptions() > 0 {
		e.Error("an envelope that is too large: got Disrupted, want the connection untouched")
	}
}
