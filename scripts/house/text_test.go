package house_test

import (
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"
)

// longest is how many lines a Go file may have. Most have half of it.
const longest = 600

func TestGoFilesAreShort(t *testing.T) {
	for _, file := range files(t, "*.go") {
		if got := strings.Count(read(t, file), "\n"); got > longest {
			t.Errorf("%s: got %d lines, want at most %d: a file has one concern, split it", file, got, longest)
		}
	}
}

func TestNothingIsLeftForLater(t *testing.T) {
	marks := regexp.MustCompile(`\b(TO` + `DO|FIX` + `ME|X` + `XX)\b`)
	for _, file := range files(t) {
		if path.Base(file) == "package-lock.json" {
			continue // its checksums are any letters
		}
		text := read(t, file)
		if !utf8.ValidString(text) {
			continue // a picture
		}
		n := 0
		for line := range strings.Lines(text) {
			n++
			if m := marks.FindString(line); m != "" {
				t.Errorf("%s:%d: %s: do it, or describe the limit in words and file an issue", file, n, m)
			}
		}
	}
}

func TestLockFilesNameNoRegistry(t *testing.T) {
	resolved := regexp.MustCompile(`"resolved":\s*"([^"]*://[^"]*)"`)
	for _, file := range files(t, "package-lock.json", "*/package-lock.json") {
		for _, m := range resolved.FindAllStringSubmatch(read(t, file), -1) {
			t.Errorf("%s names %s: not everybody can install from there. "+
				"Use npm install --omit-lockfile-registry-resolved", file, m[1])
		}
	}
}

func TestGuaranteesNameTestsThatExist(t *testing.T) {
	named := regexp.MustCompile("`([a-z/]+)\\.(Test\\w+)(?:/\\w+)?`")
	found := named.FindAllStringSubmatch(read(t, "docs/guarantees.md"), -1)
	if len(found) == 0 {
		t.Fatal("docs/guarantees.md names no test: each promise names the one that shows it")
	}
	for _, m := range found {
		exists := false
		for _, file := range files(t, m[1]+"/*_test.go") {
			exists = exists || strings.Contains(read(t, file), "func "+m[2]+"(t *testing.T)")
		}
		if !exists {
			t.Errorf("docs/guarantees.md: %s.%s does not exist: a promise needs a test that shows it", m[1], m[2])
		}
	}
}

var (
	fence    = regexp.MustCompile("(?ms)^ *```.*?^ *```")
	code     = regexp.MustCompile("`[^`\n]*`")
	link     = regexp.MustCompile(`\]\(\s*<?([^)\s>]+)>?[^)]*\)|(?m)^ {0,3}\[[^\]]+\]:\s+(\S+)|(?:src|href)="([^"]+)"`)
	absolute = regexp.MustCompile(`^([a-z]+:|//)`)
	heading  = regexp.MustCompile(`(?m)^#{1,6}\s+(.*?)\s*#*\s*$`)
	notSlug  = regexp.MustCompile(`[^\p{L}\p{N}_ -]`)
)

func TestMarkdownLinksLeadSomewhere(t *testing.T) {
	for _, file := range files(t, "*.md") {
		text := code.ReplaceAllString(fence.ReplaceAllString(read(t, file), ""), "")
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			target := m[1] + m[2] + m[3]
			if absolute.MatchString(target) {
				continue
			}
			name, anchor, _ := strings.Cut(target, "#")
			to := file
			if strings.HasPrefix(name, "/") {
				t.Errorf("%s: link to %s: write it relative to the file", file, target)
				continue
			} else if name != "" {
				to = path.Join(path.Dir(file), name)
			}
			if _, err := os.Stat(filepath.Join(root, to)); err != nil {
				t.Errorf("%s: link to %s: there is no %s", file, target, to)
			} else if anchor != "" && strings.HasSuffix(to, ".md") && !anchors(read(t, to))[anchor] {
				t.Errorf("%s: link to %s: %s has no such heading", file, target, to)
			}
		}
	}
}

// anchors are the fragments that a Markdown file's headings can be linked by.
func anchors(text string) map[string]bool {
	found := map[string]bool{}
	for _, m := range heading.FindAllStringSubmatch(fence.ReplaceAllString(text, ""), -1) {
		slug := notSlug.ReplaceAllString(strings.ToLower(m[1]), "")
		found[strings.ReplaceAll(slug, " ", "-")] = true
	}
	return found
}
