package house_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/mod/modfile"
)

func gomod(t *testing.T, module string) *modfile.File {
	t.Helper()
	f, err := modfile.Parse(module+"/go.mod", []byte(read(t, module+"/go.mod")), nil)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestModulePathsFollowTheirFolders(t *testing.T) {
	for _, m := range modules(t) {
		if got, want := gomod(t, m).Module.Mod.Path, prefix+m; got != want {
			t.Errorf("%s/go.mod: got module %s, want %s", m, got, want)
		}
	}
}

func TestSiblingsAreReplacedByTheirFolders(t *testing.T) {
	all := modules(t)
	for _, m := range all {
		f := gomod(t, m)
		replaced := map[string]string{}
		for _, r := range f.Replace {
			if !strings.HasPrefix(r.Old.Path, prefix) {
				t.Errorf("%s/go.mod replaces %s. A consumer's build ignores replace lines: "+
					"it would build with something else than is tested here", m, r.Old.Path)
			}
			replaced[r.Old.Path] = r.New.Path
		}
		for _, r := range f.Require {
			sibling, ours := strings.CutPrefix(r.Mod.Path, prefix)
			if !ours {
				continue
			}
			if !slices.Contains(all, sibling) {
				t.Errorf("%s/go.mod requires %s, which is no module of this repository", m, r.Mod.Path)
				continue
			}
			want, _ := filepath.Rel(m, sibling)
			if !strings.HasPrefix(want, ".") {
				want = "./" + want
			}
			if got := replaced[r.Mod.Path]; got != want {
				t.Errorf("%s/go.mod: got %s replaced by %q, want %q: each module builds without go.work too",
					m, r.Mod.Path, got, want)
			}
		}
	}
}

func TestWorkspaceHasEveryModule(t *testing.T) {
	work, err := modfile.ParseWork("go.work", []byte(read(t, "go.work")), nil)
	if err != nil {
		t.Fatal(err)
	}
	var used []string
	for _, u := range work.Use {
		used = append(used, filepath.ToSlash(filepath.Clean(u.Path)))
	}
	for _, u := range used {
		if !slices.Contains(modules(t), u) {
			t.Errorf("go.work uses ./%s, which holds no module", u)
		}
	}
	for _, m := range modules(t) {
		goFiles := slices.DeleteFunc(files(t, m+"/*.go"), func(f string) bool { return within(modules(t), f) != m })
		if len(goFiles) > 0 && !slices.Contains(used, m) {
			t.Errorf("go.work does not use ./%s: make test would pass it by", m)
		}
	}
}

// topLevel is what may stand in the repository's root folder, beside files that
// begin with a dot.
var topLevel = []string{
	"auth", "backplane", "client", "examples", "hub", "observe", "transport",
	"docs", "scripts",
	"CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "Makefile", "README.md", "SECURITY.md",
	"go.work", "staticcheck.conf",
}

func TestTopLevelIsTheDesigns(t *testing.T) {
	for _, file := range files(t) {
		name, _, _ := strings.Cut(file, "/")
		if !strings.HasPrefix(name, ".") && !slices.Contains(topLevel, name) {
			t.Errorf("%s: %q does not belong into the root folder", file, name)
		}
	}
	for _, name := range strings.Fields("go.work hub transport backplane auth client examples README.md") {
		if _, err := os.Stat(filepath.Join(root, name)); err != nil {
			t.Errorf("the design's layout: %v", err)
		}
	}
}
