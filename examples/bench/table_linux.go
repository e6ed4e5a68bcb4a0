package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"text/tabwriter"

	"golang.org/x/sys/unix"

	"forge.lthn.ai/core/go-ws/examples/bench/internal/server"
	"forge.lthn.ai/core/go-ws/examples/bench/internal/stats"
)

// about is what the figures were measured with.
type about struct {
	Go        string            `json:"go"`
	Kernel    string            `json:"kernel"`
	ServerCPU int               `json:"serverProcessor"`
	LoadCPU   int               `json:"loadProcessor"`
	Rounds    int               `json:"rounds"`
	Scale     float64           `json:"scale"`
	Bare      bool              `json:"bareFloors"`
	Servers   map[string]string `json:"servers"`
	order     []string
}

func describe(p plan) (about, error) {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return about{}, err
	}
	a := about{
		Go: runtime.Version(), Kernel: unix.ByteSliceToString(name.Release[:]),
		Rounds: p.rounds, Scale: p.scale, Bare: p.bare, Servers: map[string]string{},
	}
	var err error
	if a.ServerCPU, a.LoadCPU, err = processors(); err != nil {
		return about{}, err
	}
	for _, k := range p.kinds {
		text := k.About
		if k.Module != "" {
			text = k.Module + " " + server.Version(k.Module) + ": " + text
		}
		a.Servers[k.Name] = text
		a.order = append(a.order, k.Name)
	}
	return a, nil
}

func printAbout(w io.Writer, a about) {
	fmt.Fprintf(w, "%s, Linux %s, servers on processor %d, load on processor %d, rounds: %d\n", a.Go, a.Kernel, a.ServerCPU, a.LoadCPU, a.Rounds)
	if a.ServerCPU == a.LoadCPU {
		fmt.Fprintln(w, "There is only one processor: latencies say little.")
	}
	if a.Scale != 1 {
		fmt.Fprintf(w, "Sizes and times are %g of the full ones: compare nothing.\n", a.Scale)
	}
	if a.Bare {
		fmt.Fprintln(w, "The floors send the payload alone.")
	} else {
		fmt.Fprintln(w, "The floors send frames as long as the hub's.")
	}
	for _, name := range a.order {
		fmt.Fprintf(w, "  %-12s %s\n", name, a.Servers[name])
	}
}

// printTable prints medians over the rounds, and beside them the medians of the
// ratios within each round.
func printTable(w io.Writer, s scenario, r result) {
	fmt.Fprintf(w, "\n%s: %s\n", s.name, s.about)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	head := []string{"server"}
	for _, f := range s.figures {
		head = append(head, f.title)
		for _, to := range f.to {
			head = append(head, "× "+to)
		}
	}
	fmt.Fprintln(t, strings.Join(head, "\t")+"\t")
	for _, row := range r.Rows {
		cells := []string{row.Server}
		for _, f := range s.figures {
			cells = append(cells, number(stats.Median(row.column(f.key))))
			for _, to := range f.to {
				cells = append(cells, number(stats.Median(ratios(row, r.row(to), f.key))))
			}
		}
		fmt.Fprintln(t, strings.Join(cells, "\t")+"\t")
	}
	t.Flush()
}

func (r row) column(key string) (column []float64) {
	for _, round := range r.Rounds {
		if v, ok := round.Values[key]; ok {
			column = append(column, v)
		}
	}
	return column
}

// ratios divides by the other row's figure of the same round.
func ratios(r row, to *row, key string) (found []float64) {
	if to == nil {
		return nil
	}
	for i, round := range r.Rounds {
		v, ok := round.Values[key]
		base, ok2 := to.Rounds[i].Values[key]
		if ok && ok2 && base > 0 {
			found = append(found, v/base)
		}
	}
	return found
}

func number(v float64, ok bool) string {
	switch {
	case !ok:
		return "–"
	case v >= 100 || v <= -100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10 || v <= -10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}

func writeJSON(file string, a about, results []result) error {
	b, err := json.MarshalIndent(struct {
		About   about    `json:"about"`
		Results []result `json:"results"`
	}{a, results}, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(b, '\n'), 0o644)
}
