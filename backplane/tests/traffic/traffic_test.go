package traffic_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"forge.lthn.ai/core/go-ws/backplane/tests/traffic"
	"forge.lthn.ai/core/go-ws/hub"
	"forge.lthn.ai/core/go-ws/hub/hubtest"
)

// judge is a test that writes down its errors.
type judge struct {
	testing.TB
	mu     sync.Mutex
	errors []string
}

func (j *judge) Helper()             {}
func (j *judge) Logf(string, ...any) {}
func (j *judge) Errorf(format string, args ...any) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.errors = append(j.errors, fmt.Sprintf(format, args...))
}
func (j *judge) Fatalf(format string, args ...any) { j.Errorf(format, args...); runtime.Goexit() }

// wants fails unless there is exactly one error, which begins as given; none
// where that is empty.
func (j *judge) wants(begin string) {
	j.TB.Helper()
	j.mu.Lock()
	defer j.mu.Unlock()
	switch {
	case begin == "" && len(j.errors) == 0:
	case begin != "" && len(j.errors) == 1 && strings.HasPrefix(j.errors[0], begin):
	default:
		j.TB.Errorf("got errors %q, want one that begins with %q", j.errors, begin)
	}
}

// fleet runs over a fake broker, whose members it returns in their order.
func fleet(t testing.TB, cfg traffic.Config) (*traffic.Run, *hubtest.Broker, []*hubtest.Backplane) {
	t.Helper()
	broker := hubtest.NewBroker(hubtest.BrokerConfig{})
	var links []*hubtest.Backplane
	cfg.New = func(testing.TB) hub.Backplane {
		links = append(links, broker.Join())
		return links[len(links)-1]
	}
	return traffic.Start(t, cfg), broker, links
}

// kinds are both kinds of fleets.
func kinds(t *testing.T, f func(t *testing.T, bare bool)) {
	for name, bare := range map[string]bool{"bare": true, "hubs": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { f(t, bare) })
		})
	}
}

func TestAFleetThatIsWellPasses(t *testing.T) {
	kinds(t, func(t *testing.T, bare bool) {
		j := &judge{TB: t}
		run, _, _ := fleet(j, traffic.Config{Bare: bare, Members: 3, Padding: 100})
		run.Flow()
		report := run.Stop()
		report.Check()
		j.wants("")
		if report.Published == 0 || report.Acknowledged != report.Published || report.Deliveries > 3*report.Published ||
			bare && report.Deliveries < 3*report.Published { // a hub's client may join after the first ones
			t.Errorf("got %d published, %d acknowledged, %d deliveries, want all acknowledged and delivered at 3 members",
				report.Published, report.Acknowledged, report.Deliveries)
		}
	})
}

func TestLossesAreFound(t *testing.T) {
	kinds(t, func(t *testing.T, bare bool) {
		j := &judge{TB: t}
		run, _, links := fleet(j, traffic.Config{Bare: bare})
		links[1].SetFaults(hubtest.BackplaneFaults{Deliver: hubtest.DropNext(5)})
		run.Flow()
		report := run.Stop()
		report.Check()
		j.wants("lost outside of all spans: got")
		for _, e := range report.Lost {
			if e.Member != 1 || e.Delivered != 0 || e.Err != nil {
				t.Errorf("lost: got %v, want acknowledged ones at member 1 alone", e)
			}
		}
		// A hub does not wait for its own.
		if n := len(report.Lost); bare && n != 5 || n == 0 {
			t.Errorf("lost: got %d, want 5", n)
		}
	})
}

func TestLossesAndErrorsWithinASpanAreExcused(t *testing.T) {
	kinds(t, func(t *testing.T, bare bool) {
		j := &judge{TB: t}
		run, broker, links := fleet(j, traffic.Config{Bare: bare})
		links[0].SetFaults(hubtest.BackplaneFaults{Deliver: hubtest.DropNext(5)})
		span := run.Begin("away")
		broker.Break()
		time.Sleep(time.Second) // of the bubble
		broker.Heal()
		span.End()
		report := run.Stop()
		report.Check()
		j.wants("")
		if len(traffic.In("away", report.Failed)) == 0 || len(traffic.In("away", report.Lost)) == 0 {
			t.Errorf("within the span: got %d failed and %d lost, want some", len(report.Failed), len(report.Lost))
		}
		if bare {
			if down, up := run.Members()[0].Signals(); down != 1 || up != 2 || len(report.Signals) != 6 {
				t.Errorf("signals: got %d disrupted and %d restored, %d in all, want 1, 2 and 6", down, up, len(report.Signals))
			}
		}
	})
}

// What was lost before the span, and before something that came, has no excuse.
func TestASpanExcusesNothingThatWasBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := &judge{TB: t}
		run, broker, links := fleet(j, traffic.Config{Bare: true})
		links[0].SetFaults(hubtest.BackplaneFaults{Deliver: hubtest.DropNext(5)})
		run.Flow()
		span := run.Begin("away")
		broker.Break()
		broker.Heal()
		span.End()
		run.Stop().Check()
		j.wants("lost outside of all spans: got 5")
	})
}

// Acknowledged, and not delivered when the span began: it was under way.
func TestWhatIsUnderWayWhenASpanBeginsIsExcused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := &judge{TB: t}
		run, _, links := fleet(j, traffic.Config{Bare: true})
		var stuck atomic.Bool
		stuck.Store(true)
		links[0].SetFaults(hubtest.BackplaneFaults{Deliver: func(d hub.Delivery) []hub.Delivery {
			if stuck.Load() {
				return nil
			}
			return []hub.Delivery{d}
		}})
		time.Sleep(time.Second)
		span := run.Begin("killed")
		stuck.Store(false)
		span.End()
		report := run.Stop()
		report.Check()
		j.wants("")
		if len(report.Lost) == 0 {
			t.Error("lost: got none, want some within the span")
		}
	})
}

func TestErrorsOutsideOfSpansAreFound(t *testing.T) {
	kinds(t, func(t *testing.T, bare bool) {
		j := &judge{TB: t}
		run, _, links := fleet(j, traffic.Config{Bare: bare})
		var failed atomic.Bool
		links[0].SetFaults(hubtest.BackplaneFaults{Acknowledge: func(context.Context, hub.Publication) error {
			if failed.CompareAndSwap(false, true) {
				return errors.New("no answer")
			}
			return nil
		}})
		run.Flow()
		run.Stop().Check()
		j.wants("failed outside of all spans: got 1")
	})
}

func TestDoublesAreFound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := &judge{TB: t}
		run, _, links := fleet(j, traffic.Config{Bare: true})
		span := run.Begin("no excuse")
		links[0].SetFaults(hubtest.BackplaneFaults{Deliver: hubtest.Duplicate})
		span.End()
		run.Stop().Check()
		j.wants("delivered twice: got")
	})
}

func TestReorderingIsFoundWithinSpansToo(t *testing.T) {
	kinds(t, func(t *testing.T, bare bool) {
		j := &judge{TB: t}
		run, _, links := fleet(j, traffic.Config{Bare: bare, Publishers: 1, Channels: 1})
		span := run.Begin("no excuse")
		links[0].SetFaults(hubtest.BackplaneFaults{Deliver: swapOne()})
		span.End()
		run.Stop().Check()
		j.wants("delivered after a later one: got 1")
	})
}

// swapOne lets one publication of the other member's publisher be overtaken by
// the next one.
func swapOne() func(hub.Delivery) []hub.Delivery {
	var kept []hub.Delivery
	done := false
	return func(d hub.Delivery) []hub.Delivery {
		switch {
		case done || !strings.Contains(string(d.Envelope), "1 0 "):
			return []hub.Delivery{d}
		case kept == nil:
			kept = []hub.Delivery{d}
			return nil
		}
		done = true
		return append([]hub.Delivery{d}, kept...)
	}
}

// A publication whose publish failed comes later: excused where the run says so.
func TestLateAfterAnErrorIsExcusedOnRequest(t *testing.T) {
	for _, accept := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			j := &judge{TB: t}
			run, _, links := fleet(j, traffic.Config{Bare: true, Publishers: 1, Channels: 1, LateAfterError: accept})
			span := run.Begin("a publish fails")
			swap := swapOne()
			links[0].SetFaults(hubtest.BackplaneFaults{Deliver: swap})
			var failed atomic.Bool
			links[1].SetFaults(hubtest.BackplaneFaults{Acknowledge: func(context.Context, hub.Publication) error {
				if failed.CompareAndSwap(false, true) {
					return errors.New("no answer")
				}
				return nil
			}})
			span.End()
			run.Stop().Check()
			if accept {
				j.wants("")
			} else {
				j.wants("delivered after a later one: got 1")
			}
		})
	}
}

func TestPublishesThatHangAreFound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := &judge{TB: t}
		run, _, links := fleet(j, traffic.Config{Bare: true, PublishTimeout: time.Second, Pace: 50 * time.Millisecond})
		span := run.Begin("frozen")
		var hung atomic.Bool
		links[0].SetFaults(hubtest.BackplaneFaults{Publish: func(context.Context, hub.Publication) error {
			if hung.CompareAndSwap(false, true) {
				time.Sleep(11 * time.Second) // past its context
				return errors.New("too late")
			}
			return nil
		}})
		span.End()
		run.Stop().Check()
		j.wants("the slowest publish: took 1")
	})
}

func TestWhatNobodyPublishedIsFound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := &judge{TB: t}
		run, broker, _ := fleet(j, traffic.Config{Bare: true, Members: 1})
		broker.Publish("c:traffic-0", []byte("rubbish"))
		broker.Publish("c:traffic-0", []byte("0 1 0 ")) // of another channel
		broker.Publish("c:traffic-0", []byte("0 0 99999999 "))
		run.Stop().Check()
		j.wants("strange: got 3")
	})
}

func TestAClientThatIsClosedIsFound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := &judge{TB: t}
		run, _, _ := fleet(j, traffic.Config{Pace: 100 * time.Millisecond})
		for c := range run.Members()[1].Hub().Clients() {
			c.Close(4000, "")
		}
		done := make(chan struct{})
		go func() { // Stop waits for the client, and gives up
			defer close(done)
			run.Stop()
		}()
		<-done
		j.mu.Lock()
		defer j.mu.Unlock()
		if len(j.errors) != 1 || !strings.Contains(j.errors[0], "member 1 hears nothing") {
			t.Errorf("got %q, want that member 1 hears nothing", j.errors)
		}
	})
}

// A fleet that does not come back fails after a minute and says who is deaf.
func TestWaitingForAFlowThatDoesNotComeBackIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := &judge{TB: t}
		run, _, links := fleet(j, traffic.Config{Bare: true, Pace: 100 * time.Millisecond})
		links[1].Break()
		began := time.Now()
		done := make(chan struct{})
		go func() {
			defer close(done)
			run.Flow()
		}()
		<-done
		if took := time.Since(began); took != time.Minute {
			t.Errorf("gave up after %v, want 1m", took)
		}
		j.wants("traffic: waiting until everything flows: after 1m0s: member")
	})
}

// Members come and go while the others work. Each loses nothing while it is
// there.
func TestMembersJoinAndLeave(t *testing.T) {
	kinds(t, func(t *testing.T, bare bool) {
		j := &judge{TB: t}
		run, broker, links := fleet(j, traffic.Config{Bare: bare})
		old := run.Members()
		for _, m := range old {
			run.Join(broker.Join())
			run.Leave(m)
		}
		if got, want := len(run.Members()), len(old); got != want || run.Members()[0].ID() != 2 {
			t.Errorf("members: got %d, the first %d, want %d and the first 2", got, run.Members()[0].ID(), want)
		}
		if got := len(links[0].Topics()); got != 0 {
			t.Errorf("a member that left: got %d topics, want none", got)
		}
		run.Until("more", func() bool { return true })
		run.Stop().Check()
		j.wants("")
	})
}

// What a member that is about to leave did not get is found.
func TestALossBeforeLeavingIsFound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := &judge{TB: t}
		run, _, links := fleet(j, traffic.Config{Bare: true, Members: 3})
		links[2].SetFaults(hubtest.BackplaneFaults{Deliver: hubtest.DropNext(2)})
		run.Flow()
		run.Leave(run.Members()[2])
		run.Flow()
		run.Stop().Check()
		j.wants("lost outside of all spans: got 2")
	})
}

// Hubs are replaced one by one; one that had to drop something is found.
func TestReplaceChecksThoseThatGo(t *testing.T) {
	for _, sound := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			j := &judge{TB: t}
			run, broker, links := fleet(j, traffic.Config{})
			if !sound {
				links[1].SetFaults(hubtest.BackplaneFaults{Deliver: hubtest.Duplicate})
				run.Flow()
			}
			run.Replace(func() hub.Backplane { return broker.Join() })
			if got := run.Members()[0].ID(); len(run.Members()) != 2 || got != 2 {
				t.Errorf("got %d members, the first %d, want 2 and the first 2", len(run.Members()), got)
			}
			run.Stop().Check()
			if sound {
				j.wants("")
			} else {
				j.wants("hub 1: got")
			}
		})
	}
}
