// Package control is what the measuring program and its two child processes
// say to each other: one JSON value a line, a request and its reply in turn.
package control

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
)

// Child is how a child process is told what it is: the name of an environment
// variable that holds a Start as JSON.
const Child = "GO_WS_BENCH_CHILD"

// Start makes a process a server or, with no Server, a load generator.
type Start struct {
	// Server is the name of the server.
	Server string
	// Waiting is the most messages that the scenario lets wait for one
	// connection: limits that are lower are set to it.
	Waiting int
	// Bare makes the floors send the payload alone.
	Bare bool
}

// Hello is the first line of a server process.
type Hello struct {
	Addr string
	// Certificate in PEM, of a server that speaks TLS.
	Certificate string
}

// Publish asks a server process to publish.
type Publish struct {
	// Channels to publish on, Messages for each, of Size bytes.
	Channels, Messages, Size int
	// Every is the time from one message on a channel to the next. Zero is a
	// burst: as fast as it goes.
	Every time.Duration
	// Profile is a file to write a CPU profile to, from here to EndProfile,
	// unless one is being written already.
	Profile string
}

// Usage asks a server process what it has used.
type Usage struct {
	// Memory asks for what a collection leaves, which takes time.
	Memory bool
	// EndProfile ends the CPU profile, if there is one.
	EndProfile bool
}

// ServerRequest is one of its fields.
type ServerRequest struct {
	Publish *Publish `json:",omitempty"`
	Usage   *Usage   `json:",omitempty"`
}

// ServerReply answers a ServerRequest.
type ServerReply struct {
	Err string `json:",omitempty"`
	// CPU is the process clock: before the first message after a Publish.
	CPU time.Duration
	// RSS in bytes and Goroutines, after a Usage with Memory.
	RSS        int64
	Goroutines int
}

// Connect asks a load process for connections.
type Connect struct {
	Addr, Protocol, Certificate string
	// Conns to make; each joins PerConn of Channels channels.
	Conns, Channels, PerConn int
	// Fragile of them have small buffers and don't count for latency: they may
	// be told to stop reading.
	Fragile int
	// Deflate offers permessage-deflate.
	Deflate bool
}

// Expect asks a load process to read until each connection that reads has so
// many messages in all, since it joined.
type Expect struct {
	Messages int
	// Stopped is how many of the fragile connections don't read from now on.
	Stopped int
	// Latency asks for percentiles over what arrives in this request.
	Latency bool
	Within  time.Duration
}

// LoadRequest is one of its fields.
type LoadRequest struct {
	Connect *Connect `json:",omitempty"`
	Expect  *Expect  `json:",omitempty"`
}

// LoadReply answers a LoadRequest.
type LoadReply struct {
	Err string `json:",omitempty"`
	// Busy is the share of the time that the load process used its processor.
	Busy float64
	// P50 and P99 in nanoseconds.
	P50, P99 int64
	// FrameBytes is how many bytes a message took on the wire, on average.
	FrameBytes float64
	// PerFrame is how many messages came in one frame, on average.
	PerFrame float64
}

// Serve answers requests until the input ends. answer's error goes into the
// reply by way of fail.
func Serve[Q, A any](r io.Reader, w io.Writer, answer func(Q) (A, error), fail func(error) A) error {
	in, out := json.NewDecoder(r), json.NewEncoder(w)
	for {
		var q Q
		if err := in.Decode(&q); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("control: %w", err)
		}
		a, err := answer(q)
		if err != nil {
			a = fail(err)
		}
		if err := out.Encode(a); err != nil {
			return fmt.Errorf("control: %w", err)
		}
	}
}
