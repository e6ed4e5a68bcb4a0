package client_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"forge.lthn.ai/core/go-ws/client"
	"forge.lthn.ai/core/go-ws/client/clienttest"
	"forge.lthn.ai/core/go-ws/hub/wire"
)

var modelSeed = flag.Uint64("client.seed", 0, "run TestRandomSequencesAgreeWithTheModel with this seed alone")

// TestRandomSequencesAgreeWithTheModel subscribes, unsubscribes, publishes, sends,
// disconnects and closes at random, and holds what arrives against a model.
func TestRandomSequencesAgreeWithTheModel(t *testing.T) {
	seeds := []uint64{*modelSeed}
	if *modelSeed == 0 {
		seeds = nil
		for range 50 {
			seeds = append(seeds, rand.Uint64())
		}
	}
	for _, seed := range seeds {
		t.Run(fmt.Sprintf("-client.seed=%d", seed), func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, seed))
			cfg := client.ReconnectConfig{
				StableAfter: time.Second, InitialBackoff: 100 * ms, MaxBackoff: s,
				QueueWhileAway: random.IntN(2) == 0, QueueMessages: 20,
			}
			bubble(t, cfg, func(b *bed) {
				m := &model{bed: b, random: random, queues: cfg.QueueWhileAway, subs: map[string]*modelSub{}}
				client.SetDraw(b.client, func(limit time.Duration) time.Duration { return limit / 2 })
				m.play()
			})
		})
	}
}

// model knows what must have arrived.
type model struct {
	*bed
	random *rand.Rand
	queues bool
	log    []string

	conn *clienttest.Conn // the present one; nil while away
	subs map[string]*modelSub
	old  []*modelSub // that were left
	// number of the last message that was published or sent.
	number int
	sends  []modelSend
	got    []int // numbers that the server got, of connections that are over
}

// modelSub is one subscription.
type modelSub struct {
	channel string
	// live: the client is connected and had time to subscribe.
	live bool
	must []int // must arrive
	may  []int // may arrive

	mu   sync.Mutex
	came []int
}

type modelSend struct {
	number  int
	outcome <-chan error
	quiet   bool // the connection was there, and not cut before the next rest
}

func (x *modelSub) handle(_ context.Context, d client.Delivery) {
	if d.Type != wire.TypeEvent {
		return
	}
	n, err := strconv.Atoi(word(d))
	if err != nil {
		n = -1
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.came = append(x.came, n)
}

func (m *model) play() {
	if err := m.client.Connect(m.Context()); err != nil {
		m.Fatal(err)
	}
	m.rest()
	for range 60 {
		switch channel := string(rune('a' + m.random.IntN(4))); m.random.IntN(8) {
		case 0, 1:
			m.do("subscribe " + channel)
			m.subscribe(channel)
		case 2:
			m.do("unsubscribe " + channel)
			m.unsubscribe(channel)
		case 3, 4:
			m.do("publish " + channel)
			m.publish(channel)
		case 5:
			m.do("send")
			m.send()
		case 6:
			if m.conn != nil && m.random.IntN(2) == 0 {
				m.do("cut")
				m.cut()
			}
		case 7:
			m.do("rest")
			m.rest()
		}
	}
	m.rest()
	if err := m.client.Close(); err != nil {
		m.Error(err)
	}
	m.check()
}

func (m *model) do(what string) { m.log = append(m.log, what) }

func (m *model) subscribe(channel string) {
	x := &modelSub{channel: channel}
	err := m.client.Subscribe(channel, x.handle)
	if m.subs[channel] != nil {
		if !errors.Is(err, client.ErrSubscribed) {
			m.Errorf("a second Subscribe: got %v", err)
		}
		return
	}
	if err != nil {
		m.Errorf("Subscribe: got %v", err)
	}
	m.subs[channel] = x
}

func (m *model) unsubscribe(channel string) {
	m.client.Unsubscribe(channel)
	if x := m.subs[channel]; x != nil {
		x.excuse()
		m.old = append(m.old, x)
		delete(m.subs, channel)
	}
}

func (m *model) publish(channel string) {
	m.number++
	if err := m.server.Publish(m.Context(), event(channel, strconv.Itoa(m.number))); err != nil && m.conn != nil {
		m.Errorf("Publish: got %v", err)
	}
	x := m.subs[channel]
	switch {
	case x == nil:
	case x.live:
		x.must = append(x.must, m.number)
	default:
		x.may = append(x.may, m.number)
	}
}

func (m *model) send() {
	m.number++
	m.sends = append(m.sends, modelSend{m.number, m.client.Post(client.Message{Type: "say", Data: m.number}), m.conn != nil})
}

// cut loses the connection, and with it what is on its way.
func (m *model) cut() {
	m.conn.Cut()
	m.collect()
	for i := range m.sends {
		m.sends[i].quiet = false
	}
	for _, x := range m.subs {
		x.live = false
		x.excuse()
	}
}

// excuse says that what has not come yet need not come any more.
func (x *modelSub) excuse() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.may = append(x.may, x.must...)
	x.must = slices.DeleteFunc(x.must, func(n int) bool { return !slices.Contains(x.came, n) })
}

// collect takes what the server has got on the connection.
func (m *model) collect() {
	conn := m.conn
	m.conn = nil
	if conn == nil {
		return
	}
	if _, _, err := conn.Gone(m.Context()); err != nil {
		m.Fatal(err)
	}
	for _, f := range conn.Frames() {
		if f.Type == "say" {
			n, _ := strconv.Atoi(string(f.Data))
			m.got = append(m.got, n)
		}
	}
}

// rest waits until the client is connected and all has arrived, and checks that.
func (m *model) rest() {
	if m.conn == nil {
		conn, err := m.server.Accepted(m.Context())
		if err != nil {
			m.Fatal(err)
		}
		m.conn = conn
	}
	synctest.Wait()
	for _, x := range m.subs {
		x.live = true
		m.checkSub(x)
	}
}

// checkSub holds what a handler got against what it must and may have got.
func (m *model) checkSub(x *modelSub) {
	x.mu.Lock()
	defer x.mu.Unlock()
	allowed := map[int]bool{}
	for _, n := range x.may {
		allowed[n] = true
	}
	must := map[int]bool{}
	for _, n := range x.must {
		must[n] = true
	}
	last := 0
	for _, n := range x.came {
		if n <= last {
			m.fail("channel %s: got %v, want them in order and none twice", x.channel, x.came)
		}
		last = n
		if !must[n] && !allowed[n] {
			m.fail("channel %s: got %d, which was not for it", x.channel, n)
		}
		delete(must, n)
	}
	if len(must) > 0 {
		m.fail("channel %s: got %v, missing %v", x.channel, x.came, must)
	}
}

func (m *model) check() {
	m.collect()
	for _, x := range m.old {
		x.mu.Lock()
		came := append([]int(nil), x.came...)
		x.mu.Unlock()
		for i := 1; i < len(came); i++ {
			if came[i] <= came[i-1] {
				m.fail("channel %s, left: got %v", x.channel, came)
			}
		}
	}
	count := map[int]int{}
	for i, n := range m.got {
		count[n]++
		if i > 0 && n <= m.got[i-1] {
			m.fail("the server got %v, want them in order and none twice", m.got)
		}
	}
	for _, sent := range m.sends {
		err := <-sent.outcome
		switch n := count[sent.number]; {
		case err == nil && sent.quiet && n != 1:
			m.fail("message %d: sent, and the server got it %d times", sent.number, n)
		case errors.Is(err, client.ErrNotConnected), errors.Is(err, client.ErrQueueFull), errors.Is(err, client.ErrClosed):
			if n != 0 {
				m.fail("message %d: %v, and the server got it", sent.number, err)
			}
			if m.queues && errors.Is(err, client.ErrNotConnected) {
				m.fail("message %d: %v, though there is a queue", sent.number, err)
			}
			if sent.quiet {
				m.fail("message %d: %v, though there was a connection", sent.number, err)
			}
		case err != nil && !errors.Is(err, client.ErrConnectionLost):
			m.fail("message %d: got %v", sent.number, err)
		}
	}
}

func (m *model) fail(format string, args ...any) {
	m.Helper()
	m.Errorf(format+"\nafter %q", append(args, m.log)...)
}
