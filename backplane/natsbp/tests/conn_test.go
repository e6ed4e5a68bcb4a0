package tests

import (
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"forge.lthn.ai/core/go-ws/backplane/natsbp"
	"forge.lthn.ai/core/go-ws/backplane/natsbp/tests/natstest"
	"forge.lthn.ai/core/go-ws/backplane/tests/netfault"
	"forge.lthn.ai/core/go-ws/hub"
	"forge.lthn.ai/core/go-ws/hub/hubtest"
)

func TestSettingsOfAProgramsConnectionAreChecked(t *testing.T) {
	at := natstest.Addr(natstest.Start(t, server.Options{}))
	for want, option := range map[string]nats.Option{
		"nats.NoEcho":           nats.NoEcho(),
		"nats.MaxReconnects(3)": nats.MaxReconnects(3),
		"nats.NoReconnect":      nats.NoReconnect(),
		"nats.ReconnectBufSize": nats.ReconnectBufSize(0), // the client's default: 8 MiB
	} {
		_, err := natsbp.New(natsbp.Config{Conn: connect(t, at, option)})
		if err == nil || !strings.Contains(err.Error(), "Config.Conn: "+want) {
			t.Errorf("New with %s: got %v, want an error that names it", want, err)
		}
	}
	b, err := natsbp.New(natsbp.Config{Conn: connect(t, at, nats.MaxReconnects(3)), AcceptFiniteReconnects: true})
	if err != nil {
		t.Errorf("New with finite reconnects, accepted: got %v, want nil", err)
	} else if err := b.Close(); err != nil {
		t.Errorf("Close: got %v, want nil", err)
	}
	if _, err := natsbp.New(natsbp.Config{Conn: connect(t, at), URL: natstest.URL(at)}); err == nil {
		t.Error("New with Conn and URL: got nil, want an error")
	}
	closed := connect(t, at)
	closed.Close()
	if _, err := natsbp.New(natsbp.Config{Conn: closed}); err == nil {
		t.Error("New with a closed Conn: got nil, want an error")
	}
}

// The suite, on connections that a program made.
func TestConformanceOfAProgramsConnection(t *testing.T) {
	p := natstest.Proxy(t, natstest.Addr(natstest.Start(t, withForbidden(server.Options{}))))
	h := behind(p, refuse)
	h.New = func(t testing.TB) hub.Backplane {
		// RetryOnFailedConnect: members are made while there is no server too.
		return mustNew(t, natsbp.Config{Conn: connect(t, forbidding+p.Addr(), nats.RetryOnFailedConnect(true))})
	}
	theirs := h.OtherGoroutine
	h.OtherGoroutine = func(stack string) bool { return theirs(stack) || strings.Contains(stack, "/nats.go@") }
	hubtest.TestBackplane(t, h)
}

func TestAProgramsConnectionThatFallsSilentIsMadeAnew(t *testing.T) {
	s := natstest.Start(t, server.Options{})
	for name, mode := range map[string]netfault.Mode{"Swallow": netfault.Swallow, "Hold": netfault.Hold} {
		t.Run(name, func(t *testing.T) {
			p := natstest.Proxy(t, natstest.Addr(s))
			m := connected(t, natsbp.Config{Conn: connect(t, p.Addr(), nats.Timeout(time.Second), nats.RetryOnFailedConnect(true)), ProbeTimeout: silence})
			m.join("c:x")
			p.Freeze(mode)
			m.await("Disrupted", func(m *member) bool { return m.disrupted > 0 })
			if err := m.try(within(t, natstest.Hang), "c:x", "1"); !errors.Is(err, hub.ErrUnavailable) {
				t.Errorf("Publish: got %v, want %v", err, hub.ErrUnavailable)
			}
			p.Thaw()
			m.await("Restored again", func(m *member) bool { return m.restored > 1 })
			m.publish("c:x", "end")
			m.arrives("c:x", "end")
		})
	}
}

// Close leaves the connection to the program, without subscriptions, and its
// error handler goes on.
func TestAProgramsConnectionStaysItsOwn(t *testing.T) {
	s := natstest.Start(t, server.Options{})
	var errs atomic.Int64
	nc := connect(t, natstest.Addr(s), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) { errs.Add(1) }))
	before := nc.NumSubscriptions()
	m := connected(t, natsbp.Config{Conn: nc})
	m.join("c:x", "c:y")
	m.publish("c:x", "end")
	m.arrives("c:x", "end")
	slow := func() {
		t.Helper()
		had := errs.Load()
		sub, err := nc.ChanSubscribe("elsewhere", make(chan *nats.Msg))
		if err != nil {
			t.Fatal(err)
		}
		if err := nc.Publish("elsewhere", nil); err != nil {
			t.Fatal(err)
		}
		natstest.Eventually(t, "a call of the program's error handler", func() error {
			if errs.Load() == had {
				return errors.New("none")
			}
			return nil
		})
		if err := sub.Unsubscribe(); err != nil {
			t.Fatal(err)
		}
	}
	slow()
	if n := m.disruptions(); n > 0 {
		t.Errorf("a slow subscription of the program's: got %d times Disrupted, want none", n)
	}
	if err := m.Close(); err != nil {
		t.Errorf("Close: got %v, want nil", err)
	}
	if !nc.IsConnected() {
		t.Errorf("after Close: got the connection %v, want it connected", nc.Status())
	}
	if got := nc.NumSubscriptions(); got != before {
		t.Errorf("after Close: got %d subscriptions, want %d", got, before)
	}
	slow()
}

// The program closes it too early.
func TestAProgramsConnectionThatIsClosedIsUnavailable(t *testing.T) {
	nc := connect(t, natstest.Addr(natstest.Start(t, server.Options{})))
	m := connected(t, natsbp.Config{Conn: nc})
	m.join("c:x")
	nc.Close()
	m.await("Disrupted", func(m *member) bool { return m.disrupted > 0 })
	if err := m.try(within(t, natstest.Hang), "c:x", "1"); err == nil {
		t.Error("Publish: got nil, want an error")
	}
	if err := m.Unsubscribe(within(t, natstest.Hang), "c:x"); err != nil {
		t.Errorf("Unsubscribe: got %v, want nil", err)
	}
}
