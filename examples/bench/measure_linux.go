package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"forge.lthn.ai/core/go-ws/examples/bench/internal/control"
	"forge.lthn.ai/core/go-ws/examples/bench/internal/process"
	"forge.lthn.ai/core/go-ws/examples/bench/internal/server"
)

// plan is what to measure.
type plan struct {
	kinds     []server.Kind
	scenarios []scenario
	rounds    int
	// scale shrinks connections and times.
	scale   float64
	bare    bool
	profile string
	stderr  io.Writer
}

// round is what one measurement of one server gave.
type round struct {
	Values values `json:"values,omitempty"`
	Err    string `json:"error,omitempty"`
}

// row is one server in one scenario.
type row struct {
	Server string  `json:"server"`
	Rounds []round `json:"rounds"`
}

// result is one scenario.
type result struct {
	Scenario string `json:"scenario"`
	About    string `json:"about"`
	Rows     []row  `json:"rows"`
}

func (r *result) row(name string) *row {
	i := slices.IndexFunc(r.Rows, func(row row) bool { return row.Server == name })
	if i < 0 {
		return nil
	}
	return &r.Rows[i]
}

// processors are where servers and loads run: apart, if there are two.
func processors() (servers, loads int, err error) {
	all, err := process.Processors()
	if err != nil {
		return 0, 0, err
	}
	return all[0], all[len(all)-1], nil
}

// measure measures one scenario: in each round all servers, so that the speed
// of the machine has as little time as possible to change between them.
func (p *plan) measure(s scenario) result {
	r := result{Scenario: s.name, About: s.about}
	for _, k := range p.kinds {
		if slices.Contains(s.servers, k.Name) {
			r.Rows = append(r.Rows, row{Server: k.Name})
		}
	}
	for n := range p.rounds {
		for i := range r.Rows {
			began := time.Now()
			v, err := p.once(s, r.Rows[i].Server, n)
			if err != nil {
				r.Rows[i].Rounds = append(r.Rows[i].Rounds, round{Err: err.Error()})
			} else {
				r.Rows[i].Rounds = append(r.Rows[i].Rounds, round{Values: v})
			}
			fmt.Fprintf(p.stderr, "%s, round %d, %s: %.1f s %s\n", s.name, n+1, r.Rows[i].Server, time.Since(began).Seconds(), r.Rows[i].Rounds[n].Err)
		}
	}
	return r
}

func (p *plan) once(s scenario, name string, round int) (values, error) {
	kind, err := server.Find(name)
	if err != nil {
		return nil, err
	}
	serverCPU, loadCPU, err := processors()
	if err != nil {
		return nil, err
	}
	pair, err := startPair(kind, control.Start{Waiting: s.waiting, Bare: p.bare}, serverCPU, loadCPU, p.stderr)
	if err != nil {
		return nil, err
	}
	defer pair.stop()
	if p.profile != "" {
		pair.profile = fmt.Sprintf("%s-%s-%s-%d.pprof", p.profile, s.name, name, round+1)
	}
	v, err := s.measure(pair, p.scale)
	if p.profile != "" && err == nil {
		_, err = pair.askServer(control.ServerRequest{Usage: &control.Usage{EndProfile: true}})
	}
	return v, err
}

// failures is an error that names what could not be measured.
func failures(results []result) error {
	var errs []error
	for _, r := range results {
		for _, row := range r.Rows {
			for _, round := range row.Rounds {
				if round.Err != "" {
					errs = append(errs, fmt.Errorf("%s, %s: %s", r.Scenario, row.Server, round.Err))
				}
			}
		}
	}
	return errors.Join(errs...)
}
