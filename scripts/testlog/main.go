// Command testlog reads the events of go test -json on its standard input,
// writes them to a file, and prints what a person wants to see: a line per
// package, and all that a failed test said.
//
//	go test -json ./... | testlog .cache/test/race.json
//	testlog -sum .cache/test
//
// The second form counts the tests of all the files of a folder. Its last line
// is "N passed, N failed". It fails when a test failed or none ran.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// event is a line of go test -json: see go doc test2json.
type event struct {
	Action, Package, Test, Output string
	ImportPath                    string // of build output
	Elapsed                       float64
}

func main() {
	sum := flag.Bool("sum", false, "count the tests of a folder's files")
	flag.Parse()
	if flag.NArg() != 1 {
		fmt.Fprintln(os.Stderr, "usage: testlog file | testlog -sum folder")
		os.Exit(2)
	}
	run := record
	if *sum {
		run = count
	}
	if err := run(flag.Arg(0)); err != nil {
		fmt.Fprintln(os.Stderr, "testlog:", err)
		os.Exit(1)
	}
}

// record copies standard input to a file and prints a digest of it. What go
// test itself thinks of the run is its own exit code.
func record(path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()

	var c counts
	said := map[string]*strings.Builder{} // output of tests that still run
	in := bufio.NewReader(os.Stdin)
	for {
		line, err := in.ReadBytes('\n')
		if len(line) > 0 {
			if _, err := f.Write(line); err != nil {
				return err
			}
			var e event
			if json.Unmarshal(line, &e) != nil {
				os.Stdout.Write(line)
				continue
			}
			c.add(e)
			show(e, said)
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
	}
	fmt.Println(c)
	return f.Close()
}

// show prints a package's result, and what its failures said.
func show(e event, said map[string]*strings.Builder) {
	key := e.Package + " " + e.Test
	switch e.Action {
	case "build-output":
		fmt.Print(e.Output)
	case "output":
		if said[key] == nil {
			said[key] = new(strings.Builder)
		}
		said[key].WriteString(e.Output)
	case "fail", "pass", "skip":
		if b := said[key]; b != nil && e.Action == "fail" {
			fmt.Print(b.String())
		}
		delete(said, key)
		if e.Test == "" && e.Action != "skip" {
			fmt.Printf("%s\t%s\t%.1fs\n", e.Action, e.Package, e.Elapsed)
		}
	}
}

// counts adds up tests, benchmarks and fuzz targets, subtests included. A
// package that fails with no test of it failing, because it does not build or
// leaks a goroutine at its end, counts as a failure too. Benchmarks pass when
// their package does.
type counts struct {
	passed, failed, skipped int
	blamed                  map[string]bool // packages with a failed test
	benchmarks              map[string]int  // by package: they have no event of passing
}

func (c *counts) add(e event) {
	if c.blamed == nil {
		c.blamed = map[string]bool{}
		c.benchmarks = map[string]int{}
	}
	switch {
	case e.Action == "run" && strings.HasPrefix(e.Test, "Benchmark"):
		c.benchmarks[e.Package]++
	case e.Action == "pass" && e.Test == "":
		c.passed += c.benchmarks[e.Package]
	case e.Action == "pass" && e.Test != "":
		c.passed++
	case e.Action == "skip" && e.Test != "":
		c.skipped++
	case e.Action == "fail" && e.Test != "":
		c.failed++
		c.blamed[e.Package] = true
	case e.Action == "fail" && !c.blamed[e.Package]:
		c.failed++
	}
}

func (c counts) String() string {
	s := fmt.Sprintf("%d passed, %d failed", c.passed, c.failed)
	if c.skipped > 0 {
		s = fmt.Sprintf("%d skipped\n%s", c.skipped, s)
	}
	return s
}

// count prints the sum over a folder's recorded runs.
func count(dir string) error {
	paths, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil {
		return err
	}
	var c counts
	for _, path := range paths {
		if err := countFile(&c, path); err != nil {
			return err
		}
	}
	fmt.Println(c)
	if c.passed == 0 || c.failed > 0 {
		return errors.New("tests failed, or none ran")
	}
	return nil
}

func countFile(c *counts, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	c.blamed = nil
	d := json.NewDecoder(f)
	for {
		var e event
		if err := d.Decode(&e); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		c.add(e)
	}
}
