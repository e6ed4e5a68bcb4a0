package hubtest

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"

	"forge.lthn.ai/core/go-ws/hub"
)

func checkOnePublisherInOrder(e *backplaneEnv) {
	const many = 3000
	sub, pub := e.pair("c:order")
	want := make([]string, many)
	for i := range want {
		want[i] = fmt.Sprint(i)
	}
	pub.publish("c:order", append(want, "end")...)
	sub.expect("c:order", "end", want...)
}

// Several goroutines publish at once on several members: whoever awaits each
// result sees its own in order, whatever the others do.
func checkConcurrentPublishersInOrder(e *backplaneEnv) {
	const workers, many = 4, 150
	sub := e.connected()
	pubs := []*suiteMember{e.connected(), e.connected()}
	sub.join(pubs[0], "c:order")
	sub.reachable(pubs[1], "c:order")
	e.within("concurrent publishers", func() {
		var all sync.WaitGroup
		for _, pub := range pubs {
			for range workers {
				all.Go(publishCounting(pub, "c:order", fmt.Sprintf("%p-%d", pub, e.next()), many))
			}
		}
		all.Wait()
	})
	for i, pub := range pubs {
		pub.publish("c:order", fmt.Sprint("end of ", i))
		if !sub.arrives("c:order", fmt.Sprint("end of ", i), backplaneHang) {
			e.Fatalf("the last publication: got nothing for %v", backplaneHang)
		}
	}
	last := make(map[string]int)
	for _, envelope := range sub.only("c:order") {
		who, number, ok := strings.Cut(envelope, " #")
		if !ok {
			continue
		}
		if want := fmt.Sprint(last[who]); number != want {
			e.Fatalf("publications of one goroutine beside others: got number %s, want %s", number, want)
		}
		last[who]++
	}
	if got, want := len(last), workers*len(pubs); got != want {
		e.Errorf("publishers heard: got %d, want %d", got, want)
	}
	for who, n := range last {
		if n != many {
			e.Errorf("publisher %s: got %d publications, want %d", who, n, many)
		}
	}
}

func publishCounting(pub *suiteMember, topic hub.Topic, who string, many int) func() {
	return func() {
		for i := range many {
			ctx, cancel := context.WithTimeout(context.Background(), backplaneHang/2)
			err := pub.try(ctx, topic, fmt.Sprintf("%s #%d", who, i))
			cancel()
			if err != nil {
				pub.e.Errorf("Publish beside others: got %v, want nil", err)
				return
			}
		}
	}
}

// Deliver is never called concurrently for one topic, however many publish.
func checkDeliverIsNotConcurrent(e *backplaneEnv) {
	const workers, many = 4, 100
	topics := []hub.Topic{"c:alone-1", "c:alone-2"}
	under := map[hub.Topic]*atomic.Int32{topics[0]: {}, topics[1]: {}}
	var overlaps atomic.Int32
	sub := e.unstarted()
	sub.on = func(d hub.Delivery) {
		if under[d.Topic].Add(1) > 1 {
			overlaps.Add(1)
		}
		for range 10 {
			runtime.Gosched() // so that another call has the chance to come in
		}
		under[d.Topic].Add(-1)
	}
	sub.connect()
	pubs := []*suiteMember{e.connected(), e.connected()}
	sub.join(pubs[0], topics...)
	sub.reachable(pubs[1], topics...)
	e.within("concurrent publishers", func() {
		var all sync.WaitGroup
		for _, pub := range pubs {
			for w := range workers {
				all.Go(publishCounting(pub, topics[w%2], fmt.Sprint("publisher ", e.next()), many))
			}
		}
		all.Wait()
	})
	for _, topic := range topics {
		pubs[0].publish(topic, "end")
	}
	sub.await("all publications", func(r *suiteReceiver) bool {
		n := 0
		for _, topic := range topics {
			for _, envelope := range r.envelopes[topic] {
				if strings.Contains(envelope, " #") {
					n++
				}
			}
		}
		return n >= workers*len(pubs)*many
	})
	if n := overlaps.Load(); n > 0 {
		e.Errorf("Deliver for one topic: got %d calls beside another one, want none", n)
	}
}
