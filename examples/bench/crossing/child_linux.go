package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"forge.lthn.ai/core/go-ws/backplane/natsbp"
	"forge.lthn.ai/core/go-ws/backplane/redisbp"
	"forge.lthn.ai/core/go-ws/examples/bench/internal/control"
	"forge.lthn.ai/core/go-ws/examples/bench/internal/process"
	"forge.lthn.ai/core/go-ws/hub"
	"forge.lthn.ai/core/go-ws/hub/hubtest"
)

// role is what a child does: serve as a NATS server, or run hubs on a broker.
type role struct {
	Serve bool   `json:",omitempty"`
	URL   string `json:",omitempty"`
	Hubs  int    `json:",omitempty"`
}

// request asks a child for something, and then for its figures.
type request struct {
	// Join so many channels in all, on each hub.
	Join int `json:",omitempty"`
	// Publish so many messages from the first hub, At at once every Every.
	Publish, At int           `json:",omitempty"`
	Every       time.Duration `json:",omitempty"`
	// Await that the hubs together have received so many.
	Await uint64 `json:",omitempty"`
	// Memory lets the process collect its garbage first.
	Memory bool `json:",omitempty"`
}

type reply struct {
	Err string `json:",omitempty"`
	// URL of a NATS server.
	URL string `json:",omitempty"`
	// CPU time so far, and what was Spent while publishing.
	CPU, Spent time.Duration
	// Received messages, and bytes Read.
	Received uint64
	Read     int64
	RSS      int64
}

func runChild(encoded string) error {
	var r role
	if err := json.Unmarshal([]byte(encoded), &r); err != nil {
		return err
	}
	var answer func(request) (reply, error)
	if r.Serve {
		s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, NoLog: true, NoSigs: true})
		if err != nil {
			return err
		}
		s.Start()
		if !s.ReadyForConnections(patience) {
			return errors.New("nats-server: not ready for connections")
		}
		answer = func(request) (reply, error) { return reply{URL: "nats://" + s.Addr().String()}, nil }
	} else {
		var m members
		for range r.Hubs {
			if err := m.add(r.URL); err != nil {
				return err
			}
		}
		answer = m.answer
	}
	return control.Serve(os.Stdin, os.Stdout, answer, func(err error) reply { return reply{Err: err.Error()} })
}

// patience is how long anything may take.
const patience = time.Minute

func until(what string, ok func() bool) error {
	for end := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			return fmt.Errorf("no %s within %v", what, patience)
		}
	}
	return nil
}

// member is a hub on the broker, with one client that has no socket.
type member struct {
	*hub.Hub
	client *hub.Client
}

type members struct {
	all    []member
	joined int
}

func connect(url string) (hub.Backplane, error) {
	quiet := slog.New(slog.DiscardHandler)
	if strings.HasPrefix(url, "redis:") {
		return redisbp.New(redisbp.Config{URL: url, Logger: quiet})
	}
	return natsbp.New(natsbp.Config{URL: url, Logger: quiet})
}

// add adds a hub that is connected to its broker.
func (m *members) add(url string) error {
	bp, err := connect(url)
	if err != nil {
		return err
	}
	transport := &hubtest.Transport{Discard: true}
	clients := make(chan *hub.Client, 1)
	h, err := hub.New(hub.Config{
		Transport: transport, Backplane: bp, Logger: slog.New(slog.DiscardHandler), MaxSubscriptions: 1 << 20,
		OnConnect: func(_ context.Context, c *hub.Client) error { clients <- c; return nil },
	})
	if err != nil {
		return err
	}
	go func() {
		if err := h.Run(context.Background()); err != nil {
			exit(err)
		}
	}()
	if err := until("hub on its broker", func() bool { return h.Ready() == nil && h.Stats().Backplane.Healthy }); err != nil {
		return err
	}
	if peer, response := transport.Dial(h.Handler(), httptest.NewRequest("GET", "/", nil)); peer == nil {
		return fmt.Errorf("dial: status %d", response.Status)
	}
	m.all = append(m.all, member{h, <-clients})
	return nil
}

func (m *members) answer(q request) (a reply, err error) {
	if err := m.join(q.Join); err != nil {
		return a, err
	}
	if q.Publish > 0 {
		began := process.CPU()
		if err := m.publish(q); err != nil {
			return a, err
		}
		a.Spent = process.CPU() - began
	}
	if q.Await > 0 {
		if err := until("message on every hub", func() bool { return m.received() >= q.Await }); err != nil {
			return a, err
		}
	}
	for _, h := range m.all {
		if s := h.Stats().Backplane; s.Disruptions+s.PublishErrors+s.Missed > 0 {
			return a, fmt.Errorf("something was lost: %+v", s)
		}
	}
	if q.Memory {
		if a.RSS, _, err = process.Memory(); err != nil {
			return a, err
		}
	}
	a.CPU, a.Received = process.CPU(), m.received()
	a.Read, err = bytesRead()
	return a, err
}

func (m *members) received() (n uint64) {
	for _, h := range m.all {
		n += h.Stats().Received
	}
	return n
}

func (m *members) join(channels int) error {
	for ; m.joined < channels; m.joined++ {
		for _, h := range m.all {
			if err := h.Subscribe(context.Background(), h.client, "channel-"+strconv.Itoa(m.joined)); err != nil {
				return err
			}
		}
	}
	return nil
}

// publish publishes to the first channel.
func (m *members) publish(q request) error {
	data := strings.Repeat("x", 128)
	errs := make([]error, q.At)
	next := time.Now()
	for left := q.Publish; left > 0; left -= q.At {
		var all sync.WaitGroup
		for i := range min(q.At, left) {
			all.Go(func() {
				if _, err := m.all[0].SendToChannel(context.Background(), "channel-0", hub.Message{Data: data}); err != nil {
					errs[i] = err
				}
			})
		}
		all.Wait()
		next = next.Add(q.Every)
		time.Sleep(time.Until(next))
	}
	return errors.Join(errs...)
}

// bytesRead is what this process has read(2), from sockets too.
func bytesRead() (n int64, err error) {
	b, err := os.ReadFile("/proc/self/io")
	if err != nil {
		return 0, err
	}
	_, err = fmt.Sscanf(string(b), "rchar: %d", &n)
	return n, err
}
