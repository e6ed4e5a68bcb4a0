// Bench measures hubs beside each other and beside the kernel's own cost: see
// README.md. It runs each server, and the load for it, in processes of their
// own, each bound to a processor.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"forge.lthn.ai/core/go-ws/examples/bench/internal/control"
	"forge.lthn.ai/core/go-ws/examples/bench/internal/server"
)

func main() {
	if start := os.Getenv(control.Child); start != "" {
		exit(runChild(start))
	}
	exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

func exit(err error) {
	switch {
	case err == nil:
		os.Exit(0)
	case errors.Is(err, flag.ErrHelp):
		os.Exit(2)
	}
	fmt.Fprintln(os.Stderr, "bench:", err)
	os.Exit(1)
}

// run is the measuring program.
func run(args []string, stdout, stderr io.Writer) error {
	fs := flag.NewFlagSet("bench", flag.ContinueOnError)
	fs.SetOutput(stderr)
	servers := fs.String("servers", "", "`names` of the servers to measure, with commas between; all by default:\n"+strings.Join(kindNames(), " "))
	figures := fs.String("figures", "", "`names` of the scenarios, or how they begin; all by default:\n"+strings.Join(scenarioNames(), " "))
	rounds := fs.Int("rounds", 3, "`times` that everything is measured")
	quick := fs.Bool("quick", false, "a tenth of the connections and of the time: to see that it works, not to compare")
	bare := fs.Bool("bare", false, "let the floors send the payload alone, not in a frame as long as the hub's")
	jsonFile := fs.String("json", "", "`file` to write all rounds to, for machines")
	profile := fs.String("cpuprofile", "", "write CPU profiles of the server processes to files that begin with this `prefix`")
	if err := fs.Parse(args); err != nil {
		return err
	}
	if fs.NArg() > 0 {
		return fmt.Errorf("unknown argument %q", fs.Arg(0))
	}
	p := plan{rounds: *rounds, scale: 1, bare: *bare, profile: *profile, stderr: stderr}
	if *quick {
		p.scale = 0.1
	}
	var err error
	if p.kinds, err = chooseKinds(*servers); err != nil {
		return err
	}
	if p.scenarios, err = chooseScenarios(*figures); err != nil {
		return err
	}
	about, err := describe(p)
	if err != nil {
		return err
	}
	printAbout(stdout, about)
	var results []result
	for _, s := range p.scenarios {
		r := p.measure(s)
		if len(r.Rows) == 0 {
			continue // none of the chosen servers takes part
		}
		printTable(stdout, s, r)
		results = append(results, r)
		if *jsonFile != "" {
			if err := writeJSON(*jsonFile, about, results); err != nil {
				return err
			}
		}
	}
	return failures(results)
}

func kindNames() (names []string) {
	for _, k := range server.Kinds {
		names = append(names, k.Name)
	}
	return names
}

func scenarioNames() (names []string) {
	for _, s := range scenarios {
		names = append(names, s.name)
	}
	return names
}

func chooseKinds(list string) (kinds []server.Kind, err error) {
	if list == "" {
		return server.Kinds, nil
	}
	names := strings.Split(list, ",")
	for _, name := range names {
		if _, err := server.Find(name); err != nil {
			return nil, fmt.Errorf("-servers: %w", err)
		}
	}
	for _, k := range server.Kinds {
		if slices.Contains(names, k.Name) {
			kinds = append(kinds, k)
		}
	}
	return kinds, nil
}

func chooseScenarios(list string) (chosen []scenario, err error) {
	if list == "" {
		return scenarios, nil
	}
	for _, name := range strings.Split(list, ",") {
		found := false
		for _, s := range scenarios {
			if strings.HasPrefix(s.name, name) {
				chosen, found = append(chosen, s), true
			}
		}
		if !found {
			return nil, fmt.Errorf("-figures: there is no %q", name)
		}
	}
	return chosen, nil
}
