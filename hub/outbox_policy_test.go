package hub_test

import (
	"fmt"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"forge.lthn.ai/core/go-ws/hub"
	"forge.lthn.ai/core/go-ws/hub/wire"
)

// stalled is a hub with one client on "news" that does not read, and whose
// socket has just become full.
func stalled(t *testing.T, cfg hub.Config) (*world, *peer, int) {
	t.Helper()
	w := start(t, cfg)
	p := w.on("news")
	p.Stall()
	sent := 0
	for p.Stats().Blocked == 0 {
		must(t)(w.SendToChannel(t.Context(), "news", hub.Message{Data: sent}))
		sent++
		synctest.Wait()
	}
	return w, p, sent
}

func TestOverflowDisconnectTellsTheClientWhy(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w, p, _ := stalled(t, hub.Config{OutboxMessages: 50})
		for i := range 50 {
			must(t)(w.SendToChannel(t.Context(), "news", hub.Message{Data: i}))
		}
		synctest.Wait()
		if n := w.ClientCount(); n != 1 {
			t.Fatalf("%d clients with a full outbox, want 1 still", n)
		}
		must(t)(w.SendToChannel(t.Context(), "news", text("one too many")))
		synctest.Wait()
		if n := w.ClientCount(); n != 0 {
			t.Errorf("%d clients past a full outbox, want 0", n)
		}
		p.Unstall()
		p.wantClosed(wire.CloseSlowClient)
		if s := w.Stats(); s.Dropped.Overflow != 1 || s.Dropped.Gone != 50 {
			t.Errorf("Dropped %+v, want 1 for overflow and 50 gone", s.Dropped)
		}
	})
}

func TestOutboxIsBoundedInBytes(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w, _, _ := stalled(t, hub.Config{OutboxBytes: 10_000})
		for range 9 {
			must(t)(w.SendToChannel(t.Context(), "news", text(repeat("x", 900))))
		}
		synctest.Wait()
		if n := w.ClientCount(); n != 1 {
			t.Fatalf("%d clients below the bound, want 1", n)
		}
		must(t)(w.SendToChannel(t.Context(), "news", text(repeat("x", 2000))))
		synctest.Wait()
		if n := w.ClientCount(); n != 0 {
			t.Errorf("%d clients past the bound, want 0", n)
		}
	})
}

func TestOverflowDropOldestKeepsTheClientAndTheNewest(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w, p, sent := stalled(t, hub.Config{OutboxMessages: 10, Overflow: hub.OverflowDropOldest})
		for i := range 100 {
			must(t)(w.SendToChannel(t.Context(), "news", hub.Message{Data: 1000 + i}))
		}
		p.Unstall()
		for i := range sent {
			p.want(hub.TypeEvent, fmt.Sprint(i))
		}
		for i := range 10 {
			p.want(hub.TypeEvent, fmt.Sprint(1090+i))
		}
		p.wantNothing()
		if s := w.Stats(); s.Dropped.Overflow != 90 || s.Clients != 1 {
			t.Errorf("dropped %d with %d clients, want 90 and 1", s.Dropped.Overflow, s.Clients)
		}
	})
}

func TestOverflowKeepLatestReplacesWhatWaits(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w, p, sent := stalled(t, hub.Config{OutboxMessages: 10, Overflow: hub.OverflowKeepLatest})
		p2 := w.on("sport")
		p.send(`{"type":"subscribe","data":"sport"}`)
		synctest.Wait()
		for i := range 100 {
			must(t)(w.SendToChannel(t.Context(), "news", hub.Message{Data: i, Key: "a"}))
			must(t)(w.SendToChannel(t.Context(), "news", hub.Message{Data: i, Key: "b"}))
			must(t)(w.SendToChannel(t.Context(), "sport", hub.Message{Data: i, Key: "a"}))
		}
		must(t)(w.SendToChannel(t.Context(), "news", text("no key")))
		must(t)(w.SendToChannel(t.Context(), "news", text("no key")))
		p.Unstall()
		for i := range sent {
			p.want(hub.TypeEvent, fmt.Sprint(i))
		}
		p.want(wire.TypeSubscribed, "")
		p.want(hub.TypeEvent, `99`)
		p.want(hub.TypeEvent, `99`)
		if f := p.want(hub.TypeEvent, `99`); f.Channel != "sport" {
			t.Errorf("channel %q, want sport: a key is one channel's", f.Channel)
		}
		p.want(hub.TypeEvent, `"no key"`)
		p.want(hub.TypeEvent, `"no key"`)
		p.wantNothing()
		p2.Cut()
		if n := w.Stats().Dropped.Replaced; n < 3*99 {
			t.Errorf("replaced %d, want %d at least", n, 3*99)
		}
	})
}

func TestKeysOfOneReceiverAreNoOthers(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := start(t, hub.Config{Overflow: hub.OverflowKeepLatest, Authenticator: userFromQuery})
		p := w.connectAs(as("ann"))
		for _, channel := range []string{"ann", "a", "a\x00b"} {
			p.subscribe(channel)
		}
		p.Stall()
		sent := 0
		for p.Stats().Blocked == 0 {
			must(t)(w.SendToChannel(t.Context(), "a", hub.Message{Data: 0}))
			sent++
			synctest.Wait()
		}
		must(t)(w.SendToChannel(t.Context(), "ann", hub.Message{Key: "k", Data: 1}))
		must(t)(w.SendToUser(t.Context(), "ann", hub.Message{Key: "k", Data: 2}))
		must(t)(w.Broadcast(t.Context(), hub.Message{Key: "k", Data: 3}))
		must(t)(w.SendToChannel(t.Context(), "a", hub.Message{Key: "b\x00c", Data: 4}))
		must(t)(w.SendToChannel(t.Context(), "a\x00b", hub.Message{Key: "c", Data: 5}))
		must(t)(w.SendToChannel(t.Context(), "a\x00b", hub.Message{Key: "c", Data: 6}))
		p.Unstall()
		for range sent {
			p.want(hub.TypeEvent, `0`)
		}
		for _, want := range []string{"1", "2", "3", "4", "6"} {
			p.want(hub.TypeEvent, want)
		}
		p.wantNothing()
	})
}

// A worker may have the whole outbox in its hands when the next message comes.
func TestOverflowDropOldestNeverDisconnects(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := start(t, hub.Config{OutboxMessages: 8, Overflow: hub.OverflowDropOldest})
		p := w.on("news")
		stop := make(chan struct{})
		var publishers sync.WaitGroup
		for range 4 {
			publishers.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
						must(t)(w.SendToChannel(t.Context(), "news", text(repeat("x", 500))))
						// Where there are few processors nobody else would have a turn.
						runtime.Gosched()
					}
				}
			})
		}
		for range 300 {
			p.Stall()
			for blocked := p.Stats().Blocked; p.Stats().Blocked == blocked; {
				runtime.Gosched()
			}
			p.Unstall()
			p.next()
		}
		close(stop)
		publishers.Wait()
		if n := w.ClientCount(); n != 1 {
			t.Errorf("%d clients, want 1", n)
		}
	})
}

func TestASocketThatStaysFullIsClosedAfterWriteTimeout(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w, p, _ := stalled(t, hub.Config{WriteTimeout: 7 * time.Second})
		other := w.connect()
		began := time.Now()
		for w.ClientCount() == 2 {
			time.Sleep(100 * time.Millisecond)
		}
		if took := time.Since(began); took < 7*time.Second || took > 8*time.Second {
			t.Errorf("closed after %v, want 7s and a tick at most", took)
		}
		synctest.Wait()
		p.Cut()
		other.wantNothing()
		time.Sleep(10 * time.Second)
		if n := w.Stats().Disconnected[hub.DisconnectedSlow]; n != 1 {
			t.Errorf("Disconnected[slow] %d, want 1", n)
		}
	})
}

func TestASlowClientThatReadsOnLosesNothing(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w, p, sent := stalled(t, hub.Config{})
		for i := range 1000 {
			must(t)(w.SendToChannel(t.Context(), "news", hub.Message{Data: sent + i}))
			if i%100 == 0 {
				p.Unstall()
				synctest.Wait()
				p.Stall()
			}
		}
		p.Unstall()
		for i := range sent + 1000 {
			p.want(hub.TypeEvent, fmt.Sprint(i))
		}
		p.wantNothing()
	})
}
