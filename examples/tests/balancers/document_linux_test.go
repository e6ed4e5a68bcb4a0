package balancers_test

import (
	"os"
	"strings"
	"testing"
)

// listening and gateways are the document's example addresses, which are all that
// the tests change in what it shows.
const listening = "8000"

var gateways = [2]string{"10.0.0.11:8080", "10.0.0.12:8080"}

// blocks returns the document's fenced blocks in this language: the
// configuration, and what gives it affinity.
func blocks(t *testing.T, language string) (plain, affinity string) {
	t.Helper()
	text, err := os.ReadFile("../../../docs/load-balancers.md")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, after := range strings.Split(string(text), "\n```"+language+"\n")[1:] {
		block, _, closed := strings.Cut(after, "\n```\n")
		if !closed {
			t.Fatalf("a block of %s does not end", language)
		}
		found = append(found, block+"\n")
	}
	if len(found) != 2 {
		t.Fatalf("got %d blocks of %s in the document, want 2: without affinity and with it", len(found), language)
	}
	return found[0], found[1]
}

// replaced returns text with part, which must be there once, as the new one.
func replaced(t *testing.T, text, part, by string) string {
	t.Helper()
	if n := strings.Count(text, part); n != 1 || part == "" {
		t.Fatalf("got %q %d times in the document's block, want it once:\n%s", part, n, text)
	}
	return strings.Replace(text, part, by, 1)
}

// section returns the part of text from the line that begins with start to the
// line before the next that is not indented and not end.
func section(t *testing.T, text, start, end string) string {
	t.Helper()
	var part strings.Builder
	for line := range strings.Lines(text) {
		switch {
		case strings.HasPrefix(line, start):
			part.WriteString(line)
		case part.Len() == 0:
		case strings.HasPrefix(line, " ") || strings.HasPrefix(line, "\t"):
			part.WriteString(line)
		default:
			if end != "" && strings.TrimSpace(line) == end {
				part.WriteString(line)
			}
			return part.String()
		}
	}
	if part.Len() == 0 {
		t.Fatalf("the document's block has no %q:\n%s", start, text)
	}
	return part.String()
}

// setting returns the value of the line that begins with name.
func setting(t *testing.T, text, name string) string {
	t.Helper()
	for line := range strings.Lines(text) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), name+" "); ok {
			return strings.TrimRight(strings.TrimSpace(value), ";")
		}
	}
	t.Fatalf("the document's block does not set %s", name)
	return ""
}
