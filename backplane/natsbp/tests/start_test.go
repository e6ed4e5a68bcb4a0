package tests

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"forge.lthn.ai/core/go-ws/backplane/natsbp"
	"forge.lthn.ai/core/go-ws/backplane/natsbp/tests/natstest"
	"forge.lthn.ai/core/go-ws/backplane/tests/netfault"
	"forge.lthn.ai/core/go-ws/hub"
)

func TestAServerThatComesLaterIsFound(t *testing.T) {
	on := natstest.FreePort(t)
	m := newMember(t, natsbp.Config{URL: natstest.URL(fmt.Sprintf("127.0.0.1:%d", on))})
	m.start()
	if got := m.Stats(); got.Connected {
		t.Errorf("Stats before there is a server: got %+v, want it not connected", got)
	}
	s := natstest.Start(t, server.Options{Port: on, ServerName: "late"})
	m.await("Restored", func(m *member) bool { return m.restored > 0 })
	m.join("c:x")
	m.publish("c:x", "end")
	m.arrives("c:x", "end")
	if got := m.said(); len(got) != 1 {
		t.Errorf("signals: got %q, want one Restored", got)
	}
	if got := m.Stats(); !got.Connected || got.Server != s.Name() || got.Sessions != 1 {
		t.Errorf("Stats: got %+v, want it connected to %s, once", got, s.Name())
	}
}

func TestStartFailsWhereThatIsAskedFor(t *testing.T) {
	p := natstest.Proxy(t, natstest.Addr(natstest.Start(t, server.Options{})))
	there := newMember(t, natsbp.Config{URL: natstest.URL(p.Addr()), RequireBroker: true})
	there.start()
	there.await("Restored", func(m *member) bool { return m.restored > 0 })
	p.Freeze(netfault.Swallow)
	for name, url := range map[string]string{
		"nobody listens": natstest.URL(natstest.NoServer),
		"nobody answers": natstest.URL(p.Addr()),
	} {
		m := newMember(t, natsbp.Config{URL: url, RequireBroker: true})
		if err := m.Start(within(t, time.Second), m); err == nil {
			t.Errorf("%s: Start: got nil, want an error", name)
		} else {
			t.Logf("%s: %v", name, err)
		}
	}
}

// A name server that does not answer holds up neither Start nor Close.
func TestANameThatIsNotAnsweredHoldsUpNobody(t *testing.T) {
	asked := make(chan struct{}, 100)
	silent := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		asked <- struct{}{}
		<-ctx.Done()
		return nil, ctx.Err()
	}}
	m := newMember(t, natsbp.Config{URL: "nats://broker.example:4222", Options: []nats.Option{
		nats.Dialer(&net.Dialer{Resolver: silent, Timeout: natstest.Hang}), nats.Timeout(natstest.Hang),
	}})
	if err := m.Start(within(t, 100*time.Millisecond), m); err != nil {
		t.Errorf("Start: got %v, want nil", err)
	}
	<-asked
	start := time.Now()
	if err := m.Close(); err != nil {
		t.Errorf("Close: got %v, want nil", err)
	}
	if took := time.Since(start); took > natstest.Hang/4 {
		t.Errorf("Close: took %v, want it at once", took)
	}
}

// On most machines the name leads to two addresses, and at one of them nobody is.
func TestAllAddressesOfANameAreTried(t *testing.T) {
	s := natstest.Start(t, server.Options{})
	for range 5 {
		m := connected(t, natsbp.Config{URL: fmt.Sprintf("nats://localhost:%d", natstest.Port(s))})
		m.publish("c:x", "1")
	}
}

const password = "hunter2"

// Whatever goes wrong: neither errors nor log lines hold a password or a token.
func TestWrongCredentialsAreSaidAndNeverShown(t *testing.T) {
	s := natstest.Start(t, server.Options{Users: []*server.User{{Username: "hub", Password: "right"}}})
	at := natstest.Addr(s)
	for name, cfg := range map[string]natsbp.Config{
		"password in the URL":   {URL: "nats://hub:" + password + "@" + at},
		"token in the URL":      {URL: "nats://" + password + "@" + at},
		"password as an option": {URL: natstest.URL(at), Options: []nats.Option{nats.UserInfo("hub", password)}},
		"token as an option":    {URL: natstest.URL(at), Options: []nats.Option{nats.Token(password)}},
		"two servers":           {URL: "nats://hub:" + password + "@" + at + ",nats://hub:" + password + "@" + at},
		"none":                  {URL: natstest.URL(at)},
	} {
		log := &logged{}
		cfg.Logger = log.logger()
		err := startRefused(t, cfg)
		if err == nil {
			t.Errorf("%s: Start: got nil, want an error", name)
			continue
		}
		if want := "refuses the credentials"; !strings.Contains(err.Error(), want) {
			t.Errorf("%s: Start: got %q, want it to say %q", name, err, want)
		}
		if all := err.Error() + log.String(); strings.Contains(all, password) {
			t.Errorf("%s: got %q, want no password in it", name, all)
		}
	}
}

// startRefused returns what Start says of its first attempt. Where that took longer
// than Start waits, which is two seconds, it is asked again.
func startRefused(t *testing.T, cfg natsbp.Config) error {
	t.Helper()
	for end := time.Now().Add(natstest.Hang); ; {
		m, began := newMember(t, cfg), time.Now()
		err := m.Start(within(t, natstest.Hang), m)
		if err != nil || time.Since(began) < 2*time.Second || time.Now().After(end) {
			return err
		}
	}
}

// The password is changed while the hub runs, and changed back.
func TestCredentialsThatAreRefusedLaterAreTriedForEver(t *testing.T) {
	users := func(p string) []*server.User { return []*server.User{{Username: "hub", Password: p}} }
	s := natstest.Start(t, server.Options{Users: users(password)})
	at, on := natstest.Addr(s), natstest.Port(s)
	log := &logged{}
	m := connected(t, natsbp.Config{URL: "nats://hub:" + password + "@" + at, Logger: log.logger()})
	m.join("c:x")
	natstest.Stop(s)
	s = natstest.Start(t, server.Options{Port: on, Users: users("another")})
	natstest.Eventually(t, "a log line about the credentials", func() error {
		if got := log.String(); !strings.Contains(got, "refuses the credentials") {
			return errors.New(got)
		}
		return nil
	})
	if err := m.try(context.Background(), "c:x", "1"); !errors.Is(err, hub.ErrUnavailable) {
		t.Errorf("Publish meanwhile: got %v, want %v", err, hub.ErrUnavailable)
	}
	natstest.Stop(s)
	natstest.Start(t, server.Options{Port: on, Users: users(password)})
	m.await("Restored again", func(m *member) bool { return m.restored > 1 })
	m.publish("c:x", "end")
	m.arrives("c:x", "end")
	if strings.Contains(log.String(), password) {
		t.Errorf("log: got %q, want no password in it", log)
	}
}

// The server ends the connection with an error after which the client gives up
// for good: a topic's subject that is longer than this server's control line.
func TestAConnectionThatTheClientGivesUpIsMadeAnew(t *testing.T) {
	s := natstest.Start(t, server.Options{MaxControlLine: 512})
	m := connected(t, natsbp.Config{URL: natstest.URL(natstest.Addr(s))})
	m.join("c:x")
	for round := range 3 {
		if err := m.try(within(t, natstest.Hang), hub.Topic("c:"+strings.Repeat(" ", 500)), "x"); err == nil {
			t.Error("Publish on a subject that is too long for the server: got nil, want an error")
		}
		m.await("Restored again", func(m *member) bool { return m.restored > round+1 })
		m.publish("c:x", fmt.Sprint("end ", round))
		m.arrives("c:x", fmt.Sprint("end ", round))
	}
}

// The server's settings that lose messages are said.
func TestTheServerIsLookedAt(t *testing.T) {
	for _, c := range []struct {
		name    string
		options server.Options
		url     string
		want    []string
		not     string
	}{
		{name: "ordinary", want: []string{"connected", "max_payload=1048576", "version=" + server.VERSION}, not: "level=WARN"},
		{name: "small payloads", options: server.Options{MaxPayload: 4096}, want: []string{"level=WARN", "max_payload is small"}},
		{name: "alone in a cluster", want: []string{"level=WARN", "names no other server"}, options: server.Options{
			Cluster: server.ClusterOpts{Name: "lonely", Host: "127.0.0.1", Port: server.RANDOM_PORT, NoAdvertise: true},
		}},
		{name: "no probes", url: "nats://hub:secret@", want: []string{"level=WARN", "refuses the probe", "ws.>"}, options: server.Options{
			Users: []*server.User{{Username: "hub", Password: "secret", Permissions: &server.Permissions{
				Publish:   &server.SubjectPermission{Allow: []string{"ws.*"}},
				Subscribe: &server.SubjectPermission{Allow: []string{"ws.*"}},
			}}},
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			log := &logged{}
			s := natstest.Start(t, c.options)
			url := c.url + natstest.Addr(s)
			m := connected(t, natsbp.Config{URL: url, Logger: log.logger()})
			m.join("c:x")
			m.publish("c:x", "end")
			m.arrives("c:x", "end")
			for _, want := range c.want {
				if !strings.Contains(log.String(), want) {
					t.Errorf("log: got %s, want %q in it", log, want)
				}
			}
			if c.not != "" && strings.Contains(log.String(), c.not) {
				t.Errorf("log: got %s, want no %q in it", log, c.not)
			}
		})
	}
}

// Without probes an idle backplane lives on too.
func TestARefusedProbeDoesNotEndTheConnection(t *testing.T) {
	s := natstest.Start(t, server.Options{Users: []*server.User{{Username: "hub", Password: "secret", Permissions: &server.Permissions{
		Publish:   &server.SubjectPermission{Allow: []string{"ws.*"}},
		Subscribe: &server.SubjectPermission{Allow: []string{"ws.>"}},
	}}}})
	m := connected(t, natsbp.Config{
		URL: "nats://hub:secret@" + natstest.Addr(s), ProbeInterval: 10 * time.Millisecond, ProbeTimeout: 50 * time.Millisecond,
	})
	// Long enough for a probe to be missed, several times.
	wait := time.NewTimer(500 * time.Millisecond)
	<-wait.C
	if got := m.said(); len(got) != 1 {
		t.Errorf("signals: got %q, want one Restored", got)
	}
}

// Credentials in the URL, a log at its chattiest: nothing shows.
func TestLogsOfAConnectionShowNoSecret(t *testing.T) {
	s := natstest.Start(t, server.Options{Authorization: password})
	at, on := natstest.Addr(s), natstest.Port(s)
	log := &logged{}
	before := slog.Default()
	slog.SetDefault(log.logger())
	defer slog.SetDefault(before)
	m := connected(t, natsbp.Config{URL: "nats://" + password + "@" + at, Logger: log.logger()})
	natstest.Stop(s)
	m.await("Disrupted", func(m *member) bool { return m.disrupted > 0 })
	natstest.Start(t, server.Options{Port: on, Authorization: password})
	m.await("Restored again", func(m *member) bool { return m.restored > 1 })
	if all := log.String() + fmt.Sprint(m.said()); strings.Contains(all, password) {
		t.Errorf("log and signals: got %q, want no token in it", all)
	}
}
