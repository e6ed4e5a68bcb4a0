package hubtest_test

import (
	"fmt"
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"forge.lthn.ai/core/go-ws/hub/hubtest"
)

const fakeMaxPayload = 64 << 10

func TestFakeBackplaneConformance(t *testing.T) {
	hubtest.TestBackplane(t, newWorld().harness(func(*faulty) {}))
}

// A subscription that takes a while to reach publishers fails the suite, unless
// the features say so.
func TestBackplaneSuiteWithEventualInterest(t *testing.T) {
	slow := func(eventual bool) (failed []string) {
		for _, name := range hubtest.BackplaneCheckNames() {
			if name == "NoGoroutineLeft" {
				continue // timers of the slow fake
			}
			messages := runBackplaneCheck(t, name, func(w *world) hubtest.BackplaneHarness {
				h := w.harness(func(m *faulty) { m.liveAfter(15, 0) })
				h.Features.EventualInterest = eventual
				h.Features.PartialSubscribe = false // it says nothing about topics
				return h
			})
			if len(messages) > 0 {
				failed = append(failed, name+": "+messages[0])
			}
		}
		return failed
	}
	if got := slow(true); len(got) > 0 {
		t.Errorf("declared: got failures %q, want none", got)
	}
	if got := slow(false); len(got) < 10 {
		t.Errorf("not declared: got failures %q, want most checks to fail", got)
	}
}

// Every check is failed by a backplane that breaks its promise, and by no
// other one but where the table says so.
func TestBackplaneSuiteFindsFaults(t *testing.T) {
	names := hubtest.BackplaneCheckNames()
	found := make(map[string]bool)
	for _, f := range backplaneFaultTable {
		found[f.breaks] = true
		t.Run(f.name, func(t *testing.T) {
			for _, name := range names {
				messages := runBackplaneCheck(t, name, func(w *world) hubtest.BackplaneHarness {
					return f.harness(w)
				})
				switch failed := len(messages) > 0; {
				case name == f.breaks && !failed:
					t.Errorf("check %s: passed, want it to fail", name)
				case name != f.breaks && failed && !slices.Contains(f.also, name):
					t.Errorf("check %s: got %q, want it to pass", name, messages)
				}
			}
		})
	}
	for _, name := range names {
		if !found[name] {
			t.Errorf("check %s: no fault shows that it can fail", name)
		}
	}
}

// runBackplaneCheck runs a check in a bubble, where a minute's patience costs
// nothing, and returns what it complained about.
func runBackplaneCheck(t *testing.T, name string, harness func(*world) hubtest.BackplaneHarness) (messages []string) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		r := &checkRecorder{TB: t}
		r.run(func() { hubtest.RunBackplaneCheck(r, harness(w), name) })
		r.cleanUp()
		close(w.release)
		messages = r.messages
	})
	return messages
}

// checkRecorder is a testing.TB that keeps failures to itself.
type checkRecorder struct {
	testing.TB
	mu       sync.Mutex
	messages []string
	cleanups []func()
}

func (r *checkRecorder) fail(message string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.messages = append(r.messages, message)
}

func (r *checkRecorder) Helper()                   {}
func (r *checkRecorder) Fail()                     { r.fail("failed") }
func (r *checkRecorder) Error(args ...any)         { r.fail(fmt.Sprint(args...)) }
func (r *checkRecorder) Errorf(f string, a ...any) { r.fail(fmt.Sprintf(f, a...)) }
func (r *checkRecorder) FailNow()                  { r.Fail(); runtime.Goexit() }
func (r *checkRecorder) Fatal(args ...any)         { r.Error(args...); runtime.Goexit() }
func (r *checkRecorder) Fatalf(f string, a ...any) { r.Errorf(f, a...); runtime.Goexit() }

func (r *checkRecorder) Failed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.messages) > 0
}

func (r *checkRecorder) Cleanup(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cleanups = append(r.cleanups, f)
}

// run runs f, which may end early.
func (r *checkRecorder) run(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	<-done
}

func (r *checkRecorder) cleanUp() {
	for _, f := range slices.Backward(r.cleanups) {
		r.run(f)
	}
}
