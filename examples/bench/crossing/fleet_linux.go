package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"forge.lthn.ai/core/go-ws/examples/bench/internal/control"
	"forge.lthn.ai/core/go-ws/examples/bench/internal/process"
)

// child is a process of this program's.
type child struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	enc *json.Encoder
	dec *json.Decoder
}

// start starts a command on a processor. It dies with this program: main is bound
// to the thread that starts it.
func start(processor int, cmd *exec.Cmd) (*child, error) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := process.StartOn(processor, cmd); err != nil {
		return nil, err
	}
	return &child{cmd, in, json.NewEncoder(in), json.NewDecoder(out)}, nil
}

func startRole(processor int, r role, stderr io.Writer) (*child, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	encoded, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), control.Child+"="+string(encoded))
	cmd.Stderr = stderr
	return start(processor, cmd)
}

// stop ends the process, which has nothing to save.
func (c *child) stop() {
	if c == nil {
		return
	}
	c.in.Close()
	_ = c.cmd.Process.Kill()
	_ = c.cmd.Wait()
}

func (c *child) ask(q request) (a reply, err error) {
	if err := c.enc.Encode(q); err != nil {
		return a, fmt.Errorf("a child: %w", err)
	}
	if err := c.dec.Decode(&a); err != nil {
		return a, fmt.Errorf("a child: %w", err)
	}
	if a.Err != "" {
		return a, errors.New(a.Err)
	}
	return a, nil
}

// broker is a broker's process.
type broker struct {
	*child
	url string
}

// startBroker starts a broker on a free port of 127.0.0.1.
func startBroker(name string, processor int, stderr io.Writer) (*broker, error) {
	if name == "nats" {
		c, err := startRole(processor, role{Serve: true}, stderr)
		if err != nil {
			return nil, err
		}
		a, err := c.ask(request{})
		if err != nil {
			c.stop()
			return nil, err
		}
		return &broker{c, a.URL}, nil
	}
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
	cmd := exec.Command("redis-server", "--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--loglevel", "warning")
	c, err := start(processor, cmd)
	if err != nil {
		return nil, err
	}
	err = until("Redis at "+addr, func() bool {
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
	if err != nil {
		c.stop()
		return nil, err
	}
	return &broker{c, "redis://" + addr}, nil
}

// usage is the memory that is resident and the CPU time of all threads so far.
func (b *broker) usage() (rss int64, cpu time.Duration, err error) {
	pid := b.cmd.Process.Pid
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
	publisher, hubs *child
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
	for _, c := range []*child{f.publisher, f.hubs} {
		if _, err = c.ask(request{}); err != nil {
			return nil, err
		}
	}
	return f, nil
}

func (f *fleet) stop() {
	f.publisher.stop()
	f.hubs.stop()
	if f.broker != nil {
		f.broker.stop()
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
