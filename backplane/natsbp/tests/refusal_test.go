package tests

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"forge.lthn.ai/core/go-ws/backplane/natsbp"
	"forge.lthn.ai/core/go-ws/backplane/natsbp/tests/natstest"
	"forge.lthn.ai/core/go-ws/hub"
)

// covering makes the client read something behind a refusal that takes the
// refusal's place in its LastError, before the answer that the caller waits for.
type covering struct {
	tap
	sid    atomic.Value  // of c:flood
	fenced chan struct{} // the client has told itself something
}

var subscribing = regexp.MustCompile(`SUB ws\.c:flood +(\d+)\r\n`)

func cover(with func(sid string) string) *covering {
	c := &covering{fenced: make(chan struct{}, 1)}
	see := func(_ net.Conn, b []byte) (int, error, bool) {
		if m := subscribing.FindSubmatch(b); m != nil {
			c.sid.Store(string(m[1]))
		}
		if bytes.Contains(b, []byte("PUB ws.%probe.")) {
			select {
			case c.fenced <- struct{}{}:
			default:
			}
		}
		return 0, nil, false
	}
	c.onWrite.Store(&see)
	add := func(line string) string {
		if strings.Contains(line, "ws.c:secret") || strings.Contains(line, "ws.c:closed") {
			return with(c.sid.Load().(string))
		}
		return ""
	}
	c.behind.Store(&add)
	return c
}

// The client remembers one error, and calls its error handler late. A refusal that
// another error covers is heard of all the same.
func TestARefusalIsFoundBehindAnotherError(t *testing.T) {
	for name, with := range map[string]func(sid string) string{
		"a message that is none": func(sid string) string {
			return "HMSG ws.c:flood " + sid + " 5 5\r\nrough\r\n"
		},
		"messages that are too many": func(sid string) string {
			return strings.Repeat("MSG ws.c:flood "+sid+" 1\r\nx\r\n", 1000)
		},
	} {
		for _, whose := range []string{"own", "program's"} {
			for _, allow := range []string{"ws.>", "ws.*"} { // the latter forbids what a backplane tells itself
				t.Run(fmt.Sprint(name, ", ", whose, ", ", allow), func(t *testing.T) { refuseCovered(t, cover(with), whose, allow) })
			}
		}
	}
}

func refuseCovered(t *testing.T, c *covering, whose, allow string) {
	s := natstest.Start(t, server.Options{Users: []*server.User{{
		Username: "hub", Password: "secret",
		Permissions: &server.Permissions{
			Publish:   &server.SubjectPermission{Allow: []string{allow}, Deny: []string{"ws.c:secret", "ws.c:first"}},
			Subscribe: &server.SubjectPermission{Allow: []string{allow}, Deny: []string{"ws.c:closed"}},
		},
	}}})
	// The handler is held up by one refusal while others come.
	var late atomic.Pointer[chan struct{}]
	handler := nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
		if strings.Contains(err.Error(), "ws.c:first") {
			<-*late.Load()
		}
	})
	at := natstest.URL(forbidding + natstest.Addr(s))
	cfg := natsbp.Config{URL: at, Options: []nats.Option{c.option(), handler}, PendingMessages: 1, ProbeInterval: -1}
	if whose != "own" {
		nc, err := nats.Connect(at, c.option(), handler, nats.MaxReconnects(-1), nats.ReconnectBufSize(-1))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(nc.Close)
		cfg.URL, cfg.Options, cfg.Conn = "", nil, nc
	}
	m := connected(t, cfg)
	m.join("c:flood")
	for what, call := range map[string]func() error{
		"Publish": func() error { return m.try(within(t, natstest.Hang), "c:secret", "x") },
		"Subscribe": func() error {
			err := m.Subscribe(within(t, natstest.Hang), "c:closed")
			if partial, ok := errors.AsType[*hub.SubscribeError](err); ok {
				return partial.Failed["c:closed"]
			}
			return err
		},
	} {
		gate := make(chan struct{})
		late.Store(&gate)
		if err := m.try(within(t, natstest.Hang), "c:first", "x"); !errors.Is(err, nats.ErrPermissionViolation) {
			t.Errorf("Publish on a forbidden topic: got %v, want %v", err, nats.ErrPermissionViolation)
		}
		select {
		case <-c.fenced: // of what the first refusal found
		default:
		}
		result := make(chan error, 1)
		go func() { result <- call() }()
		select {
		case <-c.fenced:
		case err := <-result:
			result <- err // too early
		}
		close(gate)
		if err := <-result; !errors.Is(err, nats.ErrPermissionViolation) {
			t.Errorf("%s on a forbidden topic: got %v, want %v", what, err, nats.ErrPermissionViolation)
		}
	}
	m.publish("c:open", "x")
	if err := m.Subscribe(within(t, natstest.Hang), "c:open"); err != nil {
		t.Errorf("Subscribe to another topic: got %v, want nil", err)
	}
}
