package hubtest

import "testing"

// HistoryCheckNames are the subtests of TestHistory.
func HistoryCheckNames() []string {
	names := make([]string, len(historyChecks))
	for i, c := range historyChecks {
		names[i] = c.name
	}
	return names
}

// RunHistoryCheck runs one subtest of TestHistory on tb.
func RunHistoryCheck(tb testing.TB, h HistoryHarness, name string) {
	for _, c := range historyChecks {
		if c.name == name {
			if c.needs == nil || c.needs(h) {
				c.run(newHistoryEnv(tb, h))
			}
			return
		}
	}
	tb.Fatalf("no check %q", name)
}
