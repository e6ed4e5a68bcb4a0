package tests

import (
	"os"
	"strings"
	"testing"
)

// TestTheFirstProgramOfTheDocumentIsTheExample, which is compiled, and short.
func TestTheFirstProgramOfTheDocumentIsTheExample(t *testing.T) {
	between := func(file, from, to string) []string {
		t.Helper()
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		_, rest, ok := strings.Cut(string(text), from)
		part, _, closed := strings.Cut(rest, to)
		if !ok || !closed {
			t.Fatalf("%s has no part from %q to %q", file, from, to)
		}
		return strings.Split(part, "\n")
	}
	program := between("../../docs/clients.md", "```go\nfunc main() {\n", "\n}\n```")
	example := between("../example_test.go", "func Example() {\n", "\n}\n")
	if got, want := strings.Join(program, "\n"), strings.Join(example, "\n"); got != want {
		t.Errorf("docs/clients.md: got\n%s\nwant\n%s", got, want)
	}
	if got := len(program) + 2; got >= 15 {
		t.Errorf("it has %d lines, want fewer than 15", got)
	}
}
