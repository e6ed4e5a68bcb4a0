package main

import (
	"errors"
	"fmt"
	"io"
	"time"

	"forge.lthn.ai/core/go-ws/examples/bench/internal/child"
	"forge.lthn.ai/core/go-ws/examples/bench/internal/control"
	"forge.lthn.ai/core/go-ws/examples/bench/internal/server"
)

// pair is a server and its load, for one scenario.
type pair struct {
	kind         server.Kind
	server, load *child.Child
	hello        control.Hello
	// received is how many messages each reading client has.
	received int
	// stopped is how many fragile clients don't read any more.
	stopped int
	profile string
}

func startPair(kind server.Kind, start control.Start, serverCPU, loadCPU int, stderr io.Writer) (p *pair, err error) {
	p = &pair{kind: kind}
	defer func() {
		if err != nil {
			p.stop()
		}
	}()
	start.Server = kind.Name
	if p.server, err = child.Self(serverCPU, start, stderr); err != nil {
		return nil, err
	}
	if err := p.server.Receive(&p.hello); err != nil {
		return nil, fmt.Errorf("the server process: %w", err)
	}
	p.load, err = child.Self(loadCPU, control.Start{}, stderr)
	return p, err
}

// stop ends the load first: a client that leaves is the server's least surprise.
func (p *pair) stop() {
	p.load.Stop()
	p.server.Stop()
}

func (p *pair) askServer(q control.ServerRequest) (a control.ServerReply, err error) {
	if err := p.server.Send(q); err != nil {
		return a, fmt.Errorf("the server process: %w", err)
	}
	return p.serverReply()
}

func (p *pair) serverReply() (a control.ServerReply, err error) {
	if err := p.server.Receive(&a); err != nil {
		return a, fmt.Errorf("the server process: %w", err)
	}
	if a.Err != "" {
		return a, errors.New(a.Err)
	}
	return a, nil
}

func (p *pair) askLoad(q control.LoadRequest) (a control.LoadReply, err error) {
	if err := p.load.Send(q); err != nil {
		return a, fmt.Errorf("the load process: %w", err)
	}
	return p.loadReply()
}

func (p *pair) loadReply() (a control.LoadReply, err error) {
	if err := p.load.Receive(&a); err != nil {
		return a, fmt.Errorf("the load process: %w", err)
	}
	if a.Err != "" {
		return a, errors.New(a.Err)
	}
	return a, nil
}

func (p *pair) usage(memory bool) (control.ServerReply, error) {
	return p.askServer(control.ServerRequest{Usage: &control.Usage{Memory: memory}})
}

// connect makes the connections and returns the server's CPU time for it.
func (p *pair) connect(c control.Connect) (cpu time.Duration, err error) {
	before, err := p.usage(false)
	if err != nil {
		return 0, err
	}
	c.Addr, c.Certificate, c.Protocol, c.Deflate = p.hello.Addr, p.hello.Certificate, p.kind.Protocol, p.kind.Deflate
	if _, err := p.askLoad(control.LoadRequest{Connect: &c}); err != nil {
		return 0, err
	}
	after, err := p.usage(false)
	return after.CPU - before.CPU, err
}

// patience is how long messages may take beyond the time of publishing: a
// million deliveries, a frame at a time, on a machine that does other things too.
const patience = 4 * time.Minute

// outcome is one stretch of publishing, until all has arrived.
type outcome struct {
	cpu  time.Duration
	load control.LoadReply
}

// publish lets the server publish and waits until each reading client has each
// of the messages.
func (p *pair) publish(q control.Publish, perConn int, latency bool) (o outcome, err error) {
	p.received += q.Messages * perConn
	expect := &control.Expect{Messages: p.received, Stopped: p.stopped, Latency: latency, Within: patience + time.Duration(q.Messages)*q.Every}
	if err := p.load.Send(control.LoadRequest{Expect: expect}); err != nil {
		return o, fmt.Errorf("the load process: %w", err)
	}
	began, err := p.askServer(control.ServerRequest{Publish: &q})
	if err != nil {
		return o, err
	}
	if o.load, err = p.loadReply(); err != nil {
		return o, err
	}
	ended, err := p.usage(false)
	o.cpu = ended.CPU - began.CPU
	return o, err
}
