package hubtest

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"time"
)

func checkRestoredOnceAtStart(e *backplaneEnv) {
	m, pub := e.pair("c:news")
	pub.publish("c:news", "end")
	m.expect("c:news", "end")
	if got := m.signalled(); len(got) != 1 {
		e.Errorf("signals of a first start: got %q, want one Restored", got)
	}
}

// A hub starts while the broker is away, and is connected as soon as it can be.
func checkStartWhileAway(e *backplaneEnv) {
	pub := e.connected()
	e.cut(pub)
	m := e.unstarted()
	err := e.prompt("Start while the broker is away", brokenPatience, func(ctx context.Context) error { return m.bp.Start(ctx, m.suiteReceiver) })
	if err != nil {
		e.Fatalf("Start while the broker is away: got %v, want nil", err)
	}
	err = e.prompt("Publish while the broker is away", brokenPatience, func(ctx context.Context) error { return m.try(ctx, "c:news", "1") })
	if err == nil {
		e.Error("Publish while the broker is away: got nil, want an error")
	}
	err = e.prompt("Subscribe while the broker is away", brokenPatience, func(ctx context.Context) error { return m.bp.Subscribe(ctx, "c:news") })
	if err == nil {
		e.Error("Subscribe while the broker is away: got nil, want an error")
	}
	if n := m.restorations(); n > 0 {
		e.Errorf("while the broker is away: got Restored %d times, want never", n)
	}
	e.mend(pub, m)
	m.join(pub, "c:news")
	pub.publishAgain("c:news", "end")
	if !m.arrives("c:news", "end", backplaneHang) {
		e.Errorf("published after the first connection: got nothing for %v, want a delivery", backplaneHang)
	}
	if n := m.restorations(); n != 1 {
		e.Errorf("first connection: got Restored %d times, want once", n)
	}
}

func checkCloseWhileBroken(e *backplaneEnv) {
	m, pub := e.pair("c:news")
	e.cut(m, pub)
	away := e.unstarted()
	away.start()
	for _, m := range []*suiteMember{m, away} {
		var err error
		e.within("Close while broken", func() { err = m.bp.Close() })
		if err != nil {
			e.Errorf("Close while broken: got %v, want nil", err)
		}
	}
}

func checkCloseBeforeStart(e *backplaneEnv) {
	m := e.unstarted()
	var err error
	e.within("Close before Start", func() { err = m.bp.Close() })
	if err != nil {
		e.Errorf("Close before Start: got %v, want nil", err)
	}
	if err := e.prompt("Start after Close", backplaneHang/2, func(ctx context.Context) error { return m.bp.Start(ctx, m.suiteReceiver) }); err == nil {
		e.Error("Start after Close: got nil, want an error")
	}
	if got := m.signalled(); len(got) > 0 {
		e.Errorf("signals after Close: got %q, want none", got)
	}
}

func checkCloseTwice(e *backplaneEnv) {
	m, _ := e.pair("c:news")
	closeIt := func() {
		if err := m.bp.Close(); err != nil {
			e.Errorf("Close: got %v, want nil", err)
		}
	}
	e.within("Close by several goroutines", func() {
		var all sync.WaitGroup
		for range 8 {
			all.Go(closeIt)
		}
		all.Wait()
	})
	e.within("a later Close", closeIt)
}

func checkCloseLeavesOthersAlone(e *backplaneEnv) {
	sub, pub := e.pair("c:news")
	other := e.connected()
	other.join(pub, "c:news")
	e.within("Close", func() { other.bp.Close() })
	pub.publish("c:news", "1", "end")
	sub.expect("c:news", "end", "1")
	if sub.disruptions() > 0 || pub.disruptions() > 0 {
		e.Error("another member was closed: got Disrupted, want nothing")
	}
}

// A member is closed in the midst of deliveries.
func checkNoCallAfterClose(e *backplaneEnv) {
	witness, pub := e.pair("c:flood")
	stop := make(chan struct{})
	var flood sync.WaitGroup
	halt := sync.OnceFunc(func() { close(stop) })
	e.Cleanup(func() { // a check that fails ends before its flood does
		halt()
		e.within("the flood's end", flood.Wait)
	})
	flood.Go(func() {
		pace := time.NewTicker(200 * time.Microsecond) // lets fake time pass too
		defer pace.Stop()
		for {
			select {
			case <-stop:
				return
			case <-pace.C:
			}
			ctx, cancel := context.WithTimeout(context.Background(), backplaneHang/2)
			if err := pub.try(ctx, "c:flood", "x"); err != nil {
				e.Errorf("Publish while a member closes: got %v, want nil", err)
			}
			cancel()
		}
	})
	var closed []*suiteMember
	var calls []int
	for range 5 {
		m := e.connected()
		m.join(pub, "c:flood")
		m.await("a flood", func(r *suiteReceiver) bool { return r.total > 20 })
		e.within("Close", func() { m.bp.Close() })
		closed, calls = append(closed, m), append(calls, m.called())
	}
	halt()
	e.within("the flood's end", flood.Wait)
	pub.publish("c:flood", "end")
	if !witness.arrives("c:flood", "end", backplaneHang) {
		e.Fatalf("another member: got nothing for %v, want a delivery", backplaneHang)
	}
	e.cut(witness, pub)
	e.mend(witness, pub)
	for i, m := range closed {
		if got := m.called(); got != calls[i] {
			e.Errorf("receiver of a closed member: got %d calls after Close, want none", got-calls[i])
		}
	}
}

func checkUseAfterClose(e *backplaneEnv) {
	m, _ := e.pair("c:news")
	e.within("Close", func() { m.bp.Close() })
	for what, call := range map[string]func(context.Context) error{
		"Publish":       func(ctx context.Context) error { return m.try(ctx, "c:news", "1") },
		"Subscribe":     func(ctx context.Context) error { return m.bp.Subscribe(ctx, "c:new") },
		"another Start": func(ctx context.Context) error { return m.bp.Start(ctx, m.suiteReceiver) },
	} {
		if err := e.prompt(what, backplaneHang/2, call); err == nil {
			e.Errorf("%s after Close: got nil, want an error", what)
		}
	}
	// What is left of its result is of no use to anybody.
	_ = e.prompt("Unsubscribe", backplaneHang/2, func(ctx context.Context) error { return m.bp.Unsubscribe(ctx, "c:news") })
	m.bp.Abilities()
}

func checkAbilitiesNeverChange(e *backplaneEnv) {
	m := e.unstarted()
	same := func(when string) {
		e.Helper()
		// Not whether the abilities are equal: their types need not be comparable.
		if got, want := m.bp.Abilities().History != nil, e.h.Features.History; got != want {
			e.Errorf("Abilities %s: got a History %t, want %t as the features say", when, got, want)
		}
	}
	same("before Start")
	m.connect()
	same("after Start")
	e.must("Subscribe", func(ctx context.Context) error { return m.bp.Subscribe(ctx, "c:news") })
	same("after Subscribe")
	e.cut(m)
	same("while broken")
	e.mend(m)
	same("after Heal")
	e.within("Close", func() { m.bp.Close() })
	same("after Close")
}

func checkNoGoroutineLeft(e *backplaneEnv) {
	use := func() {
		m, pub := e.pair("c:news", "c:more")
		m.publish("c:more", "1")
		pub.publish("c:news", "end")
		m.expect("c:news", "end")
		for _, m := range []*suiteMember{m, pub, e.unstarted()} {
			e.within("Close", func() { m.bp.Close() })
		}
	}
	use() // what is made once and shared is there before the count
	before := goroutines()
	for range 3 {
		use()
	}
	// A goroutine that has done its last deed may still be there for a moment.
	var left []string
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); {
		if left = e.leftOver(before); len(left) == 0 {
			return
		}
		pause := time.NewTimer(20 * time.Millisecond)
		<-pause.C
	}
	e.Errorf("goroutines after Close: got %d more than before, want none:\n\n%s", len(left), strings.Join(left, "\n\n"))
}

// leftOver are the stacks of goroutines that were not there before.
func (e *backplaneEnv) leftOver(before map[string]string) []string {
	var left []string
	for id, stack := range goroutines() {
		_, old := before[id]
		if !old && (e.h.OtherGoroutine == nil || !e.h.OtherGoroutine(stack)) {
			left = append(left, stack)
		}
	}
	return left
}

// goroutines are the stacks of all goroutines by their number.
func goroutines() map[string]string {
	buf := make([]byte, 1<<20)
	for {
		n := runtime.Stack(buf, true)
		if n < len(buf) {
			buf = buf[:n]
			break
		}
		buf = make([]byte, 2*len(buf))
	}
	stacks := make(map[string]string)
	for stack := range strings.SplitSeq(string(buf), "\n\n") {
		var id string
		if _, err := fmt.Sscanf(stack, "goroutine %s ", &id); err == nil {
			stacks[id] = stack
		}
	}
	return stacks
}
