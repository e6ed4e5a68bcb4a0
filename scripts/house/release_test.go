package house_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// clone copies the repository, with the scripts as they stand in the work tree.
func clone(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "clone")
	run(t, "git", "clone", "-q", ".", dir)
	for _, file := range append(files(t, "scripts"), "CHANGELOG.md") {
		to := filepath.Join(dir, file)
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(filepath.Join(root, file))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to, []byte(read(t, file)), info.Mode()); err != nil {
			t.Fatal(err)
		}
	}
	git(t, dir, "add", "-A")
	git(t, dir, "commit", "-q", "--allow-empty", "-m", "the scripts of the work tree")
	return dir
}

// in runs a command in a clone and returns what it prints.
func in(dir, name string, args ...string) (string, error) {
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(),
		"GIT_AUTHOR_NAME=Test", "GIT_AUTHOR_EMAIL=test@example.com",
		"GIT_COMMITTER_NAME=Test", "GIT_COMMITTER_EMAIL=test@example.com")
	out, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

func git(t *testing.T, dir string, args ...string) string {
	t.Helper()
	out, err := in(dir, "git", args...)
	if err != nil {
		t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

func TestReleaseTagsWhatIsPublished(t *testing.T) {
	const version = "v0.1.0-test.1"
	dir := clone(t)
	before := git(t, dir, "rev-parse", "HEAD")
	var want []string
	for _, m := range strings.Fields(strings.Join(run(t, filepath.Join(dir, "scripts/modules"), "-tree", "HEAD", "-published"), " ")) {
		want = append(want, m+"/"+version)
	}
	slices.Sort(want)

	dry, err := in(dir, "scripts/release", "-n", version)
	if err != nil {
		t.Fatalf("release -n: %v\n%s", err, dry)
	}
	for _, tag := range want {
		if !strings.Contains(dry, tag) {
			t.Errorf("release -n does not speak of %s:\n%s", tag, dry)
		}
	}
	if got := git(t, dir, "status", "--porcelain") + git(t, dir, "tag", "-l", "*"+version); got != "" {
		t.Errorf("release -n changed something: %s", got)
	}
	if got := git(t, dir, "rev-parse", "HEAD"); got != before {
		t.Errorf("release -n committed")
	}

	if out, err := in(dir, "scripts/release", version); err != nil {
		t.Fatalf("release: %v\n%s", err, out)
	}
	got := strings.Fields(git(t, dir, "tag", "-l", "*"+version))
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("tags: got %v, want %v", got, want)
	}
	for tag := range strings.Lines(strings.Join(got, "\n")) {
		if git(t, dir, "rev-parse", strings.TrimSpace(tag)+"^{commit}") != git(t, dir, "rev-parse", "HEAD") {
			t.Errorf("%s is not at the release's commit", tag)
		}
	}
	for _, m := range run(t, filepath.Join(dir, "scripts/modules")) {
		for line := range strings.Lines(git(t, dir, "show", "HEAD:"+m+"/go.mod")) {
			sibling := strings.Contains(line, prefix) && !strings.Contains(line, "=>") && !strings.HasPrefix(line, "module")
			// Of tests, which are never tagged, there is no version to require.
			if sibling && !strings.Contains(line, "/tests ") && !strings.Contains(line, " "+version) {
				t.Errorf("%s/go.mod still says %q", m, strings.TrimSpace(line))
			}
		}
	}
	if log := git(t, dir, "show", "HEAD:CHANGELOG.md"); !strings.Contains(log, "\n## ["+version[1:]+"] - 2") {
		t.Errorf("CHANGELOG.md has no heading for %s", version)
	}

	out, err := in(dir, "scripts/release", "-n", version)
	if err == nil || !strings.Contains(out, "exists") {
		t.Errorf("a second release of %s: got %v, %q, want a refusal", version, err, out)
	}
}

func TestReleaseRefusesADirtyTree(t *testing.T) {
	dir := clone(t)
	if err := os.WriteFile(filepath.Join(dir, "LICENSE"), []byte("mine"), 0o644); err != nil {
		t.Fatal(err)
	}
	out, err := in(dir, "scripts/release", "-n", "v0.1.0-test.1")
	if err == nil || !strings.Contains(out, "not committed") {
		t.Errorf("got %v, %q, want a refusal", err, out)
	}
}

func TestReleaseRefusesWhatIsNoVersion(t *testing.T) {
	dir := clone(t)
	for _, version := range []string{"", "0.1.0", "v0.1", "v2.0.0", "v01.0.0", "v0.1.0 x"} {
		if out, err := in(dir, "scripts/release", "-n", version); err == nil {
			t.Errorf("%q: got %q, want a refusal", version, out)
		}
	}
}
