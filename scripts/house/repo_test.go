package house_test

import (
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// root is the checkout, seen from this package's folder.
const root = "../.."

const prefix = "forge.lthn.ai/core/go-ws/"

// run returns the lines that a command prints, run in the checkout.
func run(t *testing.T, name string, args ...string) []string {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir = root
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %s: %v", name, strings.Join(args, " "), err)
	}
	return strings.Split(strings.TrimSpace(string(out)), "\n")
}

// files are the paths, from the checkout on, of all that is or would be
// committed and that matches one of git's patterns; all files without one.
func files(t *testing.T, patterns ...string) []string {
	t.Helper()
	args := append([]string{"ls-files", "--cached", "--others", "--exclude-standard", "--"}, patterns...)
	listed := run(t, "git", args...)
	return slices.DeleteFunc(listed, func(f string) bool {
		_, err := os.Stat(filepath.Join(root, f)) // removed, but not yet from the index
		return f == "" || err != nil
	})
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, file))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// modules are the folders that hold a go.mod.
func modules(t *testing.T) []string { return run(t, "scripts/modules") }

// published are those of them that a release tags.
func published(t *testing.T) []string { return run(t, "scripts/modules", "-published") }

// within returns the folder of the module that a file or a folder belongs to.
func within(modules []string, file string) string {
	for dir := file; dir != "."; dir = path.Dir(dir) {
		if slices.Contains(modules, dir) {
			return dir
		}
	}
	return ""
}
