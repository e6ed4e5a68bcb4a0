package hub_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"testing"

	"forge.lthn.ai/core/go-ws/hub"
	"forge.lthn.ai/core/go-ws/hub/hubtest"
)

// crowdRun drives clients on channels, and beside each client the model of an
// outbox that knows of no streams: both must do the same.
type crowdRun struct {
	t        *testing.T
	r        *rand.Rand
	c        *hub.Crowd
	m        []outboxModel
	on       []map[string]bool
	batches  [][]hub.Frame
	owes     []bool
	channels []string
	n        int
	log      []string
	followed int
}

func (x *crowdRun) fail(format string, args ...any) {
	x.t.Helper()
	if len(x.log) > 60 {
		x.log = x.log[len(x.log)-60:]
	}
	x.t.Fatalf("%s\nafter %q", fmt.Sprintf(format, args...), x.log)
}

func (x *crowdRun) frame() numberedFrame {
	x.n++
	return numberedFrame{x.n, 1 + x.r.IntN(30)}
}

// publish sends up to a few messages to a channel, one after another.
func (x *crowdRun) publish() {
	channel := x.channels[x.r.IntN(len(x.channels))]
	for range 1 + x.r.IntN(6) {
		f, key := x.frame(), []string{"", "a"}[x.r.IntN(2)]
		x.log = append(x.log, fmt.Sprintf("publish %d of %d bytes on %s, key %q", f.n, f.size, channel, key))
		queued, scheduled, overflowed := x.c.Publish(channel, f, key)
		var to []int
		for i := range x.m {
			if x.on[i][channel] {
				to = append(to, i)
			}
		}
		x.appended(to, f, key, queued, scheduled, overflowed)
	}
}

func (x *crowdRun) send() {
	i, f := x.r.IntN(len(x.m)), x.frame()
	x.log = append(x.log, fmt.Sprintf("send %d of %d bytes to %d", f.n, f.size, i))
	queued, scheduled, overflowed := x.c.Send(i, f, "")
	x.appended([]int{i}, f, "", queued, scheduled, overflowed)
}

func (x *crowdRun) appended(to []int, f numberedFrame, key string, queued int, scheduled, overflowed []int) {
	var wantScheduled, wantOverflowed []int
	want := 0
	for _, i := range to {
		switch schedule, sealed, overflow := x.m[i].append(f, key); {
		case overflow:
			wantOverflowed = append(wantOverflowed, i)
		case !sealed:
			want++
			if schedule {
				wantScheduled = append(wantScheduled, i)
			}
		}
	}
	if queued != want || !slices.Equal(scheduled, wantScheduled) || !slices.Equal(overflowed, wantOverflowed) {
		x.fail("got queued for %d, scheduled %v, overflowed %v; want %d, %v, %v",
			queued, scheduled, overflowed, want, wantScheduled, wantOverflowed)
	}
}

func (x *crowdRun) step() {
	i := x.r.IntN(len(x.m))
	m := &x.m[i]
	switch p := x.r.IntN(100); {
	case p < 40:
		x.publish()
	case p < 45:
		x.send()
	case p < 50:
		channel := x.channels[x.r.IntN(len(x.channels))]
		if x.on[i][channel] {
			x.log = append(x.log, fmt.Sprint(i, " leaves ", channel))
			x.c.Leave(i, channel)
		} else {
			x.log = append(x.log, fmt.Sprint(i, " joins ", channel))
			x.c.Join(i, channel)
		}
		x.on[i][channel] = !x.on[i][channel]
	case p < 70 && m.scheduled:
		x.take(i)
	case p < 90 && m.flying:
		taken := len(x.batches[i])
		blocked, failed := x.r.IntN(3) == 0, x.r.IntN(100) == 0
		if blocked || failed {
			taken = x.r.IntN(taken + 1)
		}
		blocked = blocked && !failed
		x.owes[i] = blocked
		x.settle(i, taken, blocked, failed)
	case p < 97 && x.owes[i]:
		x.wake(i)
	case p == 98 && x.r.IntN(20) == 0:
		x.log = append(x.log, fmt.Sprint("seal ", i))
		x.c.Seal(i)
		m.sealed = true
	case p == 99 && x.r.IntN(20) == 0:
		x.log = append(x.log, fmt.Sprint("abandon ", i))
		x.c.Abandon(i)
		m.clear()
		m.drained = true
	}
	x.compare()
}

func (x *crowdRun) take(i int) {
	if x.c.Follows(i) {
		x.followed++
	}
	want := x.m[i].take()
	x.batches[i] = x.c.Take(i)
	x.log = append(x.log, fmt.Sprint("take ", len(x.batches[i]), " of ", i))
	got := []int(nil)
	for _, f := range x.batches[i] {
		got = append(got, f.(numberedFrame).n)
	}
	if !slices.Equal(got, want) {
		x.fail("take of %d: got messages %v, want %v", i, got, want)
	}
}

func (x *crowdRun) settle(i, taken int, blocked, failed bool) {
	bytes := 0
	for _, f := range x.batches[i][:taken] {
		bytes += f.Size()
	}
	x.log = append(x.log, fmt.Sprintf("settle %d of %d of %d, blocked %v, failed %v", taken, len(x.batches[i]), i, blocked, failed))
	got, want := x.c.Settle(i, taken, bytes, blocked, failed), x.m[i].settle(taken, blocked, failed)
	if got != want {
		x.fail("settle of %d: got again %v, want %v", i, got, want)
	}
}

func (x *crowdRun) wake(i int) {
	x.owes[i] = false
	x.log = append(x.log, fmt.Sprint("wake ", i))
	if got, want := x.c.Wake(i), x.m[i].wake(); got != want {
		x.fail("wake of %d: got schedule %v, want %v", i, got, want)
	}
}

func (x *crowdRun) compare() {
	for i := range x.m {
		wantMessages, wantBytes := x.m[i].load()
		if x.m[i].cleared {
			wantMessages, wantBytes = 0, 0
		}
		if messages, bytes := x.c.Waiting(i); messages != wantMessages || bytes != wantBytes {
			x.fail("%d: got %d messages of %d bytes waiting, want %d of %d", i, messages, bytes, wantMessages, wantBytes)
		}
	}
	for _, channel := range x.channels {
		messages, bytes, followers, apart, left, _ := x.c.Stream(channel)
		on := 0
		for i := range x.on {
			if x.on[i][channel] {
				on++
			}
		}
		if followers+apart-left != on {
			x.fail("%s: got %d followers and %d apart, %d of them gone; want %d", channel, followers, apart, left, on)
		}
		if left > apart/2 {
			x.fail("%s: got %d subscriptions remembered that have gone, of %d", channel, left, apart)
		}
		if followers == 0 && (messages != 0 || bytes != 0) {
			x.fail("%s: nobody follows: got %d messages of %d bytes kept, want none", channel, messages, bytes)
		}
	}
}

// rest lets everything that is under way come to its end.
func (x *crowdRun) rest() {
	for i := range x.m {
		m := &x.m[i]
		for m.flying || m.scheduled || x.owes[i] {
			switch {
			case m.flying:
				x.settle(i, len(x.batches[i]), false, false)
			case m.scheduled:
				x.take(i)
			default:
				x.wake(i)
			}
			x.compare()
		}
		if !slices.IsSorted(m.written) {
			x.fail("%d: got written in the order %v, want that of publishing", i, m.written)
		}
	}
}

func TestWhoFollowsAStreamGetsWhatAPlainQueueGives(t *testing.T) {
	r := seeded(t)
	for _, policy := range []hub.OverflowPolicy{hub.OverflowDisconnect, hub.OverflowDropOldest, hub.OverflowKeepLatest} {
		followed := 0
		for range 150 {
			cfg := hub.Config{
				Transport: hubtest.NewTransport(), Overflow: policy,
				OutboxMessages: 4 + r.IntN(60), OutboxBytes: 64 + r.IntN(1000),
			}
			h, err := hub.New(cfg)
			if err != nil {
				t.Fatal(err)
			}
			clients := 1 + r.IntN(5)
			x := &crowdRun{
				t: t, r: r, c: hub.NewCrowd(h, clients), channels: []string{"a", "b", "c"}[:1+r.IntN(3)],
				m: make([]outboxModel, clients), batches: make([][]hub.Frame, clients), owes: make([]bool, clients),
			}
			for i := range x.m {
				x.m[i].cfg = cfg
				x.on = append(x.on, map[string]bool{})
			}
			for range 400 {
				x.step()
			}
			if policy != hub.OverflowKeepLatest {
				x.rest()
			}
			followed += x.followed
		}
		if followed == 0 && policy != hub.OverflowKeepLatest {
			t.Errorf("policy %d: nobody ever followed a stream: nothing was tested", policy)
		}
		if followed > 0 && policy == hub.OverflowKeepLatest {
			t.Errorf("policy %d: got %d that followed, want none: keys must find their message", policy, followed)
		}
	}
}

func TestAStreamKeepsNoMemoryOfABurst(t *testing.T) {
	h, err := hub.New(hub.Config{Transport: hubtest.NewTransport()})
	if err != nil {
		t.Fatal(err)
	}
	c := hub.NewCrowd(h, 2)
	c.Join(0, "a")
	c.Join(1, "a")
	for i := range 3000 {
		c.Publish("a", numberedFrame{i, 1}, "")
	}
	if !c.Follows(0) || !c.Follows(1) {
		t.Fatal("a burst: got somebody that does not follow, want both to")
	}
	for i := range 2 {
		if n := len(c.Take(i)); n != 3000 {
			t.Errorf("got %d messages, want 3000", n)
		}
		c.Settle(i, 3000, 3000, false, false)
	}
	if messages, bytes, _, _, _, capacity := c.Stream("a"); messages != 0 || bytes != 0 || capacity > 64 {
		t.Errorf("after a burst of 3000: got %d messages of %d bytes, room for %d; want none, room for at most 64", messages, bytes, capacity)
	}
}

// Whoever joins and leaves a channel on which nothing is published must leave
// nothing behind.
func TestAQuietChannelForgetsWhoLeft(t *testing.T) {
	h, err := hub.New(hub.Config{Transport: hubtest.NewTransport()})
	if err != nil {
		t.Fatal(err)
	}
	c := hub.NewCrowd(h, 2)
	c.Join(0, "a")
	for range 10_000 {
		c.Join(1, "a")
		c.Leave(1, "a")
	}
	if _, _, _, apart, _, _ := c.Stream("a"); apart > 4 {
		t.Errorf("after 10,000 that came and went: got %d remembered, want 4 at most", apart)
	}
}

// Publishers, workers and those who come and go at the same time: whoever stays
// gets every message once, and each publisher's in its order, whatever channel
// they come by.
func TestStreamsLoseAndReorderNothingWhileOthersComeAndGo(t *testing.T) {
	const stay, publishers, messages = 6, 3, 1500
	w := start(t, hub.Config{OutboxMessages: publishers*messages + 100, OutboxBytes: 64 << 20})
	var peers []*peer
	for range stay {
		peers = append(peers, w.on("a", "b"))
	}
	stop := make(chan struct{})
	var churn, publishing sync.WaitGroup
	for i := range 2 {
		churn.Go(func() {
			c := w.connect()
			for {
				select {
				case <-stop:
					return
				default:
				}
				c.SendText(`{"type":"subscribe","data":"` + []string{"a", "b"}[i] + `"}`)
				c.SendText(`{"type":"unsubscribe","data":"` + []string{"a", "b"}[i] + `"}`)
				for {
					if _, _, ok := c.TryReceive(); !ok {
						break
					}
				}
				runtime.Gosched()
			}
		})
	}
	for p := range publishers {
		publishing.Go(func() {
			for n := range messages {
				m := hub.Message{Data: []int{p, n}}
				var err error
				switch n / 7 % 4 {
				case 0, 1:
					_, err = w.SendToChannel(t.Context(), "a", m)
				case 2:
					_, err = w.SendToChannel(t.Context(), "b", m)
				default:
					_, err = w.Broadcast(t.Context(), m)
				}
				if err != nil {
					t.Errorf("publishing: %v", err)
					return
				}
			}
		})
	}
	for i, p := range peers {
		next := make([]int, publishers)
		for range publishers * messages {
			var got []int
			if f := p.next(); json.Unmarshal(f.Data, &got) != nil || len(got) != 2 {
				t.Fatalf("client %d: got %s", i, f.Data)
			}
			if got[1] != next[got[0]] {
				t.Fatalf("client %d, publisher %d: got message %d, want %d", i, got[0], got[1], next[got[0]])
			}
			next[got[0]]++
		}
	}
	publishing.Wait()
	close(stop)
	churn.Wait()
}
