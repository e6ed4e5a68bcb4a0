package tests

import (
	"context"
	"crypto/rand"
	"log/slog"
	mrand "math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"forge.lthn.ai/core/go-ws/backplane"
	"forge.lthn.ai/core/go-ws/backplane/tests/traffic"
	"forge.lthn.ai/core/go-ws/hub"
)

// lagging delivers later than it could, in order, on a goroutine of its own, as
// a broker behind a network does.
type lagging struct {
	hub.Backplane
	lag   time.Duration // at most
	queue chan late
	stop  chan struct{}
	once  sync.Once
	work  sync.WaitGroup
}

// late is a delivery that is due after a while.
type late struct {
	hub.Delivery
	due time.Time
}

func behind(bp hub.Backplane, lag time.Duration) *lagging {
	return &lagging{Backplane: bp, lag: lag, queue: make(chan late, 10_000), stop: make(chan struct{})}
}

func (l *lagging) Start(ctx context.Context, r hub.BackplaneReceiver) error {
	l.work.Go(func() {
		for {
			select {
			case d := <-l.queue:
				wait := time.NewTimer(time.Until(d.due))
				select {
				case <-wait.C:
				case <-l.stop:
					wait.Stop()
					return
				}
				r.Deliver(d.Delivery)
			case <-l.stop:
				return
			}
		}
	})
	return l.Backplane.Start(ctx, laggingReceiver{r, l})
}

func (l *lagging) Close() error {
	err := l.Backplane.Close()
	l.once.Do(func() { close(l.stop) })
	l.work.Wait()
	return err
}

type laggingReceiver struct {
	hub.BackplaneReceiver
	l *lagging
}

func (r laggingReceiver) Deliver(d hub.Delivery) {
	r.l.queue <- late{d, time.Now().Add(mrand.N(r.l.lag))}
}

// move is two brokers and the ways to be on them.
type move struct {
	t          testing.TB
	from, to   *backplane.Memory
	key        backplane.Key
	fast, slow time.Duration
}

func newMove(t testing.TB) *move {
	m := &move{
		t: t, from: backplane.NewMemory(backplane.MemoryConfig{}), to: backplane.NewMemory(backplane.MemoryConfig{}),
		key: make(backplane.Key, backplane.KeySize), fast: 100 * time.Microsecond, slow: 3 * time.Millisecond,
	}
	if _, err := rand.Read(m.key); err != nil {
		t.Fatal(err)
	}
	return m
}

// onFrom is on the old broker alone, onTo on the new one, where everything is
// encrypted.
func (m *move) onFrom() hub.Backplane { return behind(m.from.Join(), m.slow) }

func (m *move) onTo() hub.Backplane {
	e, err := backplane.NewEncrypted(behind(m.to.Join(), m.fast), backplane.EncryptedConfig{
		Keys: []backplane.Key{m.key}, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		m.t.Fatal(err)
	}
	return e
}

func (m *move) dual() hub.Backplane     { return m.join(m.onFrom(), m.onTo()) }
func (m *move) dualBack() hub.Backplane { return m.join(m.onTo(), m.onFrom()) }

func (m *move) join(from, to hub.Backplane) hub.Backplane {
	d, err := backplane.NewDual(backplane.DualConfig{From: from, To: to})
	if err != nil {
		m.t.Fatal(err)
	}
	return d
}

// Three hubs move from one broker to another, which encrypts, while all of them
// publish, and back again. No client loses a message, gets one twice or out of
// order. The old broker lags behind the new one.
func TestAFleetMovesBetweenBrokersUnderLoadAndLosesNothing(t *testing.T) {
	m := newMove(t)
	run := traffic.Start(t, traffic.Config{
		New: func(testing.TB) hub.Backplane { return m.onFrom() },
		// A publish that waits for a core is no failure.
		Members: 3, Pace: 4 * time.Millisecond, Padding: 200, PublishTimeout: time.Minute,
	})
	run.Replace(m.dual)
	run.Replace(m.onTo)
	// Nobody needs the old broker any more.
	m.from.Break()
	run.Flow()
	m.from.Heal()
	run.Replace(m.dualBack)
	run.Replace(m.onFrom)
	m.to.Break()
	run.Flow()
	for _, member := range run.Members() {
		member.CheckHub()
	}
	report := run.Stop()
	report.Check()
	if len(report.Lost)+len(report.Failed) > 0 {
		t.Errorf("with no outage: got %d lost and %d failed, want none", len(report.Lost), len(report.Failed))
	}
}

// One of the two brokers is away for a while in the middle of the move: what is
// published meanwhile may fail and be lost, nothing comes twice or out of order,
// and everything flows again by itself.
func TestAnOutageInTheMiddleOfAMoveLosesOnlyWhatIsPublishedMeanwhile(t *testing.T) {
	for name, broker := range map[string]func(*move) *backplane.Memory{
		"from": func(m *move) *backplane.Memory { return m.from },
		"to":   func(m *move) *backplane.Memory { return m.to },
	} {
		t.Run(name, func(t *testing.T) {
			m := newMove(t)
			run := traffic.Start(t, traffic.Config{
				New:     func(testing.TB) hub.Backplane { return m.dual() },
				Members: 3, Pace: 4 * time.Millisecond, PublishTimeout: time.Minute,
			})
			away := run.Begin("away")
			broker(m).Break()
			run.Until("hubs know and publishes fail", func() bool {
				for _, member := range run.Members() {
					s := member.Hub().Stats().Backplane
					if s.Healthy || s.PublishErrors < 10 {
						return false
					}
				}
				return true
			})
			broker(m).Heal()
			// Much flows without the broker that was away. Publishing to both needs it.
			run.Until("hubs that are well", func() bool {
				return !slices.ContainsFunc(run.Members(), func(m *traffic.Member) bool { return !m.Hub().Stats().Backplane.Healthy })
			})
			away.End()
			for _, member := range run.Members() {
				s := member.Hub().Stats().Backplane
				if !s.Healthy || s.Duplicates != 0 || s.Malformed != 0 {
					t.Errorf("hub %d: got %+v, want it healthy, with no duplicates", member.ID(), s)
				}
			}
			report := run.Stop()
			report.Check()
			if len(traffic.In("away", report.Failed)) == 0 {
				t.Error("while a broker was away: got no publish that failed, want some")
			}
		})
	}
}
