package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"forge.lthn.ai/core/go-ws/examples/bench/internal/child"
	"forge.lthn.ai/core/go-ws/examples/bench/internal/process"
)

// player is this program once more, in a role.
type player struct{ *child.Child }

func startRole(processor int, r role, stderr io.Writer) (player, error) {
	c, err := child.Self(processor, r, stderr)
	return player{c}, err
}

func (c player) ask(q request) (a reply, err error) {
	if err := c.Send(q); err != nil {
		return a, err
	}
	if err := c.Receive(&a); err != nil {
		return a, err
	}
	if a.Err != "" {
		return a, errors.New(a.Err)
	}
	return a, nil
}

// broker is a broker's process.
type broker struct {
	*child.Child
	url string
}

// startBroker starts a broker on a free port of 127.0.0.1.
func startBroker(name string, processor int, stderr io.Writer) (*broker, error) {
	if name == "redis" {
		return startRedis(processor, stderr)
	}
	c, err := startRole(processor, role{Serve: true}, stderr)
	if err != nil {
		return nil, err
	}
	a, err := c.ask(request{})
	if err != nil {
		c.Stop()
		return nil, err
	}
	return &broker{c.Child, a.URL}, nil
}

// startRedis tries ports, since somebody else may get one that was free.
func startRedis(processor int, stderr io.Writer) (*broker, error) {
	for range 20 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		addr := l.Addr().String()
		l.Close()
		_, port, err := net.SplitHostPort(addr)
		if err != nil {
			return nil, err
		}
		ready := &waited{word: "Ready to accept connections", said: make(chan struct{})}
		cmd := exec.Command("redis-server", "--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no")
		cmd.Stdout, cmd.Stderr = ready, stderr
		c, err := child.Start(processor, cmd)
		if err != nil {
			return nil, err
		}
		select {
		case <-ready.said:
			return &broker{c, "redis://" + addr}, nil
		case <-c.Ended:
		case <-time.After(patience):
			c.Stop()
			return nil, fmt.Errorf("redis-server is not ready within %v", patience)
		}
		c.Stop()
	}
	return nil, errors.New("redis-server does not start on any of 20 free ports")
}

// waited closes said when the word has been written. One goroutine writes.
type waited struct {
	word string
	said chan struct{}
	text []byte // until then
	done bool
}

func (w *waited) Write(p []byte) (int, error) {
	if !w.done {
		w.text = append(w.text, p...)
		if w.done = bytes.Contains(w.text, []byte(w.word)); w.done {
			w.text = nil
			close(w.said)
		}
	}
	return len(p), nil
}

// usage is the memory that is resident and the CPU time of all threads so far.
func (b *broker) usage() (rss int64, cpu time.Duration, err error) {
	pid := b.PID()
	// clock_getcpuclockid(3): the clock of another process.
	var ts unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|2), &ts); err != nil {
		return 0, 0, fmt.Errorf("the broker's clock: %w", err)
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		return 0, 0, err
	}
	for line := range strings.Lines(string(status)) {
		if value, ok := strings.CutPrefix(line, "Rss:"); ok {
			var kb int64
			_, err := fmt.Sscanf(value, "%d kB", &kb)
			return kb << 10, time.Duration(ts.Nano()), err
		}
	}
	return 0, 0, errors.New("no Rss of the broker's")
}

// fleet is a broker on one processor, and on another a hub that publishes and a
// process with some that receive.
type fleet struct {
	broker          *broker
	publisher, hubs player
}

func startFleet(name string, hubs int, stderr io.Writer) (f *fleet, err error) {
	all, err := process.Processors()
	if err != nil {
		return nil, err
	}
	f = &fleet{}
	defer func() {
		if err != nil {
			f.stop()
		}
	}()
	if f.broker, err = startBroker(name, all[len(all)-1], stderr); err != nil {
		return nil, err
	}
	if f.publisher, err = startRole(all[0], role{URL: f.broker.url, Hubs: 1}, stderr); err != nil {
		return nil, err
	}
	if f.hubs, err = startRole(all[0], role{URL: f.broker.url, Hubs: hubs}, stderr); err != nil {
		return nil, err
	}
	for _, c := range []player{f.publisher, f.hubs} {
		if _, err = c.ask(request{}); err != nil {
			return nil, err
		}
	}
	return f, nil
}

func (f *fleet) stop() {
	f.publisher.Stop()
	f.hubs.Stop()
	if f.broker != nil {
		f.broker.Stop()
	}
}

// cost is the CPU time of each process, and the bytes that the receiving hubs
// have read.
type cost struct {
	publisher, broker, hubs time.Duration
	bytes                   int64
}

// publish lets the publisher publish, and waits until all hubs have everything.
func (f *fleet) publish(q request, hubs int) (c cost, err error) {
	before, err := f.hubs.ask(request{})
	if err != nil {
		return c, err
	}
	_, brokerBefore, err := f.broker.usage()
	if err != nil {
		return c, err
	}
	published, err := f.publisher.ask(q)
	if err != nil {
		return c, err
	}
	after, err := f.hubs.ask(request{Await: before.Received + uint64(q.Publish*hubs)})
	if err != nil {
		return c, err
	}
	_, brokerAfter, err := f.broker.usage()
	return cost{published.Spent, brokerAfter - brokerBefore, after.CPU - before.CPU, after.Read - before.Read}, err
}
