package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime/pprof"
	"syscall"

	"forge.lthn.ai/core/go-ws/examples/bench/internal/control"
	"forge.lthn.ai/core/go-ws/examples/bench/internal/load"
	"forge.lthn.ai/core/go-ws/examples/bench/internal/process"
	"forge.lthn.ai/core/go-ws/examples/bench/internal/server"
)

// runChild is a child process: it lives until its standard input ends.
func runChild(encoded string) error {
	var start control.Start
	if err := json.Unmarshal([]byte(encoded), &start); err != nil {
		return err
	}
	if err := process.RaiseFiles(); err != nil {
		return err
	}
	if start.Server != "" {
		return runServer(start)
	}
	l, err := load.New()
	if err != nil {
		return err
	}
	in, err := requests()
	if err != nil {
		return err
	}
	return control.Serve(in, os.Stdout, l.Answer, func(err error) control.LoadReply {
		return control.LoadReply{Err: err.Error()}
	})
}

// requests is the standard input, in the care of Go's poller. A thread that blocks
// in read(2) keeps its processor until the runtime notices, 10 to 20 ms later: on
// the one processor that a server has, its last message would wait for that.
func requests() (*os.File, error) {
	if err := syscall.SetNonblock(int(os.Stdin.Fd()), true); err != nil {
		return nil, fmt.Errorf("standard input: %w", err)
	}
	return os.NewFile(os.Stdin.Fd(), "requests"), nil
}

// serverChild is a server process.
type serverChild struct {
	server    server.Server
	publisher publisher
	profile   *os.File
}

func runServer(start control.Start) error {
	kind, err := server.Find(start.Server)
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	hello := control.Hello{Addr: l.Addr().String()}
	options := server.Options{Listener: l, Waiting: start.Waiting, Bare: start.Bare}
	if kind.TLS {
		if options.Certificate, hello.Certificate, err = server.NewCertificate(); err != nil {
			return err
		}
	}
	c := &serverChild{}
	if c.server, err = kind.Start(options); err != nil {
		return fmt.Errorf("%s: %w", kind.Name, err)
	}
	if err := json.NewEncoder(os.Stdout).Encode(hello); err != nil {
		return err
	}
	in, err := requests()
	if err != nil {
		return err
	}
	return control.Serve(in, os.Stdout, c.answer, func(err error) control.ServerReply {
		return control.ServerReply{Err: err.Error()}
	})
}

func (c *serverChild) answer(q control.ServerRequest) (a control.ServerReply, err error) {
	switch {
	case q.Publish != nil:
		if q.Publish.Profile != "" && c.profile == nil {
			if c.profile, err = os.Create(q.Publish.Profile); err != nil {
				return a, err
			}
			if err := pprof.StartCPUProfile(c.profile); err != nil {
				return a, err
			}
		}
		a.CPU = process.CPU()
		return a, c.publisher.publish(c.server, *q.Publish)
	case q.Usage != nil:
		a.CPU = process.CPU()
		if q.Usage.EndProfile && c.profile != nil {
			pprof.StopCPUProfile()
			err = c.profile.Close()
			c.profile = nil
		}
		if q.Usage.Memory && err == nil {
			a.RSS, a.Goroutines, err = process.Memory()
		}
		return a, err
	}
	return a, errors.New("an empty request")
}
