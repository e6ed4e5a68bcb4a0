package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"forge.lthn.ai/core/go-ws/examples/bench/internal/control"
)

// The child processes are this test, started once more.
func TestMain(m *testing.M) {
	if start := os.Getenv(control.Child); start != "" {
		exit(runChild(start))
	}
	os.Exit(m.Run())
}

// Floors, hub and TLS, from the command line to the file: every message must
// come, in order, or run returns an error.
func TestEveryKindOfScenarioEndToEnd(t *testing.T) {
	p := plan{rounds: 1, scale: 0.01, stderr: t.Output()}
	var err error
	if p.kinds, err = chooseKinds("floor1,floorN,ours,ours-tls,ours-deflate,floor1-tls,floorN-tls"); err != nil {
		t.Fatal(err)
	}
	about, err := describe(p)
	if err != nil {
		t.Fatal(err)
	}
	var results []result
	for _, s := range scenarios {
		if !strings.HasSuffix(s.name, "-5000") && s.name != "burst-20" && s.name != "many-channels" &&
			s.name != "latency" && s.name != "slow" && s.name != "deflate" && s.name != "tls-burst-200" {
			continue
		}
		r := p.measure(s)
		var table bytes.Buffer
		printTable(&table, s, r)
		for _, row := range r.Rows {
			for _, f := range s.figures {
				if got, want := len(row.column(f.key)), p.rounds; got != want {
					t.Errorf("%s, %s, %s: got %d values, want %d", s.name, row.Server, f.key, got, want)
				}
			}
			if !strings.Contains(table.String(), row.Server) {
				t.Errorf("%s: the table has no %s:\n%s", s.name, row.Server, table.String())
			}
		}
		results = append(results, r)
	}
	if err := failures(results); err != nil {
		t.Error(err)
	}
	file := filepath.Join(t.TempDir(), "out.json")
	if err := writeJSON(file, about, results); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var read struct{ Results []result }
	if err := json.Unmarshal(b, &read); err != nil || len(read.Results) != len(results) {
		t.Errorf("the file: got %d results, %v, want %d", len(read.Results), err, len(results))
	}
}

func TestChoosing(t *testing.T) {
	for _, tc := range []struct {
		list string
		want int
	}{{"", len(scenarios)}, {"burst-20", 2}, {"steady,latency", 2}} {
		if got, err := chooseScenarios(tc.list); err != nil || len(got) != tc.want {
			t.Errorf("-figures %q: got %d, %v, want %d", tc.list, len(got), err, tc.want)
		}
	}
	if _, err := chooseScenarios("none"); err == nil {
		t.Error("-figures none: got no error, want one")
	}
	if _, err := chooseKinds("ours,none"); err == nil {
		t.Error("-servers ours,none: got no error, want one")
	}
}
