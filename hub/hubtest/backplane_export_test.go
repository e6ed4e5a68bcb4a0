package hubtest

import "testing"

// BackplaneCheckNames are the subtests of TestBackplane.
func BackplaneCheckNames() []string {
	names := make([]string, len(backplaneChecks))
	for i, c := range backplaneChecks {
		names[i] = c.name
	}
	return names
}

// RunBackplaneCheck runs one subtest of TestBackplane on tb.
func RunBackplaneCheck(tb testing.TB, h BackplaneHarness, name string) {
	for _, c := range backplaneChecks {
		if c.name == name {
			if c.needs == nil || c.needs(h.Features) {
				c.run(newBackplaneEnv(tb, h))
			}
			return
		}
	}
	tb.Fatalf("no check %q", name)
}
