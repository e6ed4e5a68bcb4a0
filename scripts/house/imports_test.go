package house_test

import (
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// importing is one import in one file.
type importing struct {
	file   string // where
	from   string // the module that the file belongs to, as a folder
	path   string // the import path
	target string // the module of this repository that path belongs to, or ""
}

func imports(t *testing.T) []importing {
	t.Helper()
	all := modules(t)
	var found []importing
	for _, file := range files(t, "*.go") {
		parsed, err := parser.ParseFile(token.NewFileSet(), filepath.Join(root, file), nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, spec := range parsed.Imports {
			path, _ := strconv.Unquote(spec.Path.Value)
			i := importing{file: file, from: within(all, file), path: path}
			if rest, ours := strings.CutPrefix(path, prefix); ours {
				if i.target = within(all, rest); i.target == "" {
					t.Errorf("%s imports %s, which no module of this repository holds", file, path)
				}
			}
			found = append(found, i)
		}
	}
	return found
}

func standard(path string) bool {
	first, _, _ := strings.Cut(path, "/")
	return !strings.Contains(first, ".")
}

func isTests(module string) bool { return strings.HasSuffix(module, "/tests") }

func TestHubImportsOnlyTheStandardLibrary(t *testing.T) {
	for _, i := range imports(t) {
		if i.from == "hub" && i.target != "hub" && !standard(i.path) {
			t.Errorf("%s imports %s. The core depends on nothing, its tests neither: "+
				"what it imports comes to every user of every adapter. Put it behind a port, "+
				"or the test into another module's tests", i.file, i.path)
		}
	}
	if t.Failed() {
		return
	}
	for line := range strings.Lines(read(t, "hub/go.mod")) {
		if first, _, _ := strings.Cut(strings.TrimSpace(line), " "); first == "require" || first == "replace" || first == "tool" {
			t.Errorf("hub/go.mod says %q: the core requires nothing", strings.TrimSpace(line))
		}
	}
}

// shared are the exceptions from the rule that adapters know the ports alone:
// what the two brokers' adapters truly share lives in backplane.
var shared = map[string][]string{
	"backplane/redisbp": {"backplane"},
	"backplane/natsbp":  {"backplane"},
}

func TestAdaptersImportNoOtherAdapter(t *testing.T) {
	adapters := published(t)
	for _, i := range imports(t) {
		if i.from == "hub" || !slices.Contains(adapters, i.from) || i.target == "" {
			continue // no adapter, or of somebody else
		}
		if i.target != i.from && i.target != "hub" && !slices.Contains(shared[i.from], i.target) {
			t.Errorf("%s imports %s. An adapter knows the ports in hub and no other adapter, "+
				"in its tests neither: whoever takes one must not get another's dependencies. "+
				"A test that needs both belongs into %s/tests", i.file, i.path, i.from)
		}
	}
}

func TestNothingImportsExamplesOrTests(t *testing.T) {
	for _, i := range imports(t) {
		switch {
		case i.target == "" || i.target == i.from:
		case i.target == "examples" && !strings.HasPrefix(i.from, "examples/"):
			t.Errorf("%s imports %s. Examples are programs for people to run and to change: "+
				"nothing may depend on them", i.file, i.path)
		case isTests(i.target) && isTests(i.from): // neither is tagged
		case isTests(i.target), i.target == "scripts":
			t.Errorf("%s imports %s, a module that is never tagged: no consumer could get it", i.file, i.path)
		}
	}
}

func TestNoInternalImportAcrossModules(t *testing.T) {
	for _, i := range imports(t) {
		if i.target == "" || i.target == i.from || !strings.Contains("/"+i.path+"/", "/internal/") {
			continue
		}
		t.Errorf("%s imports %s. The go command allows it within one path prefix, but modules "+
			"are versioned apart: an internal package may change in any release, and then "+
			"two versions that a consumer combines no longer build", i.file, i.path)
	}
}
