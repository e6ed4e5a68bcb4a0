// Command names checks docs/names.md: that each test which is said to show a
// row of the specification exists, ran and passed.
//
//	names [-complete] [-logs .cache/test]
//
// The table it reads is the one whose head is | Row | Shown by |. A cell of the
// second column names, each in backticks,
//
//	hub/wire.TestX     a test, benchmark, fuzz target or example of the package
//	                   in that folder; hub.TestX/y is a subtest
//	scripts/x          a script that CI runs
//
// -logs names the folder of recorded runs: *.json by go test -json, and
// scripts.txt with a line for each script that succeeded. Without it only
// existence is checked. -complete refuses a table in which a row is missing.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

const (
	table  = "docs/names.md"
	prefix = "forge.lthn.ai/core/go-ws/"
)

// required are the rows that a complete table has.
var required = rows("C", 1, 8) + rows("S0.", 1, 11) + rows("S1.", 1, 3) + rows("S2.", 1, 7) + rows("S3.", 1, 4)

func rows(prefix string, from, to int) string {
	var b strings.Builder
	for i := from; i <= to; i++ {
		fmt.Fprintf(&b, "%s%d ", prefix, i)
	}
	return b.String()
}

func main() {
	complete := flag.Bool("complete", false, "refuse a table in which a row is missing")
	logs := flag.String("logs", "", "folder of recorded test runs")
	flag.Parse()
	problems, n, err := check(*complete, *logs)
	if err != nil {
		problems = append(problems, err.Error())
	}
	for _, p := range problems {
		fmt.Fprintf(os.Stderr, "%s: %s\n", table, p)
	}
	if len(problems) > 0 {
		os.Exit(1)
	}
	fmt.Printf("%s: %d entries hold\n", table, n)
}

func check(complete bool, logs string) (problems []string, n int, err error) {
	shown, err := read(table)
	if err != nil {
		return nil, 0, err
	}
	var ran *results
	if logs != "" {
		if ran, err = load(logs); err != nil {
			return nil, 0, err
		}
	}
	known := strings.Fields(required)
	for row, names := range shown {
		if !slices.Contains(known, row) {
			problems = append(problems, fmt.Sprintf("row %s is none of the specification's", row))
		}
		if len(names) == 0 {
			problems = append(problems, fmt.Sprintf("row %s names no test in backticks", row))
		}
		for _, name := range names {
			n++
			if err := verify(name, ran); err != nil {
				problems = append(problems, fmt.Sprintf("row %s: %s %v", row, name, err))
			}
		}
	}
	if complete {
		for _, row := range known {
			if _, ok := shown[row]; !ok {
				problems = append(problems, fmt.Sprintf("row %s is missing", row))
			}
		}
	}
	slices.Sort(problems)
	return problems, n, nil
}

var (
	tableHead = regexp.MustCompile(`(?i)^\|\s*row\s*\|\s*shown by\s*\|\s*$`)
	ticked    = regexp.MustCompile("`([^`]+)`")
	testName  = regexp.MustCompile(`^([a-z0-9_/]+)\.((?:Test|Benchmark|Fuzz|Example)[^/]*)(/.+)?$`)
)

// read takes the rows from the table, with the names that each row's second
// cell holds.
func read(file string) (map[string][]string, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	shown := map[string][]string{}
	inside := false
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, "|") {
			inside = false
			continue
		}
		if tableHead.MatchString(line) {
			inside = true
			continue
		}
		cells := strings.Split(strings.Trim(line, "|"), "|")
		if !inside || len(cells) != 2 || strings.Trim(cells[0], " -:") == "" {
			continue
		}
		row := strings.Trim(cells[0], " `*")
		if _, twice := shown[row]; twice {
			return nil, fmt.Errorf("row %s stands there twice", row)
		}
		shown[row] = nil
		for _, m := range ticked.FindAllStringSubmatch(cells[1], -1) {
			shown[row] = append(shown[row], m[1])
		}
	}
	if len(shown) == 0 {
		return nil, errors.New("no table with the head | Row | Shown by |")
	}
	return shown, nil
}

// verify says what is wrong with one name. ran is nil where no run is known.
func verify(name string, ran *results) error {
	if strings.HasPrefix(name, "scripts/") && !strings.Contains(name, ".") {
		if info, err := os.Stat(name); err != nil || info.Mode()&0o111 == 0 {
			return errors.New("is no script that can be run")
		}
		if ran != nil && !ran.scripts[name] {
			return errors.New("did not run, or failed")
		}
		return nil
	}
	m := testName.FindStringSubmatch(name)
	if m == nil {
		return errors.New("is neither folder.TestX nor scripts/x")
	}
	folder, function := m[1], m[2]
	if !declares(folder, function) {
		return fmt.Errorf("does not exist: no func %s in %s/*_test.go", function, folder)
	}
	if ran == nil {
		return nil
	}
	switch key := prefix + folder + "." + function + m[3]; {
	case ran.failed[key]:
		return errors.New("failed")
	case ran.skipped[key] && !ran.passed[key]:
		return errors.New("was skipped")
	case !ran.passed[key]:
		return errors.New("did not run")
	}
	return nil
}

func declares(folder, function string) bool {
	files, _ := filepath.Glob(filepath.Join(folder, "*_test.go"))
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err == nil && strings.Contains("\n"+string(text), "\nfunc "+function+"(") {
			return true
		}
	}
	return false
}

// results of recorded runs. A test's key is its package's import path, a dot
// and its name. One that both passed and failed, in two runs, failed.
type results struct {
	passed, failed, skipped map[string]bool
	scripts                 map[string]bool
}

func load(dir string) (*results, error) {
	r := &results{map[string]bool{}, map[string]bool{}, map[string]bool{}, map[string]bool{}}
	if text, err := os.ReadFile(filepath.Join(dir, "scripts.txt")); err == nil {
		for line := range strings.Lines(string(text)) {
			r.scripts[strings.TrimSpace(line)] = true
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil {
		return nil, err
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("no recorded run in %s: run the tests first", dir)
	}
	for _, file := range files {
		if err := r.add(file); err != nil {
			return nil, fmt.Errorf("%s: %w", path.Base(file), err)
		}
	}
	return r, nil
}

func (r *results) add(file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	// A benchmark has no pass event: it passed when it ran, did not fail, and
	// its package passed.
	running := map[string][]string{}
	d := json.NewDecoder(bufio.NewReader(f))
	for {
		var e struct{ Action, Package, Test string }
		if err := d.Decode(&e); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		key := e.Package + "." + e.Test
		switch e.Action {
		case "run":
			if strings.HasPrefix(e.Test, "Benchmark") {
				running[e.Package] = append(running[e.Package], key)
			}
		case "fail":
			r.failed[key] = true
		case "skip":
			r.skipped[key] = true
		case "pass":
			r.passed[key] = true
			if e.Test == "" {
				for _, key := range running[e.Package] {
					r.passed[key] = !r.skipped[key]
				}
			}
		}
	}
}
