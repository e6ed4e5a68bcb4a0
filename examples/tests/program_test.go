package tests_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"forge.lthn.ai/core/go-ws/examples/tests/internal/child"
)

// program is an example that runs as a person runs it.
type program struct {
	*child.Process
	t   *testing.T
	url string
}

var (
	buildFolder string
	buildOnce   sync.Map // name → func() (string, error)
)

func TestMain(m *testing.M) {
	folder, err := os.MkdirTemp("", "examples-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	buildFolder = folder
	code := m.Run()
	if running != nil {
		if err := running.stop(); err != nil {
			fmt.Fprintln(os.Stderr, "the browser's driver:", err)
			code = 1
		}
	}
	os.RemoveAll(folder)
	os.Exit(code)
}

// build compiles an example, once for all tests, and as they are compiled: with
// the race detector or without.
func build(t *testing.T, name string) string {
	t.Helper()
	once, _ := buildOnce.LoadOrStore(name, sync.OnceValues(func() (string, error) {
		binary := filepath.Join(buildFolder, name)
		if runtime.GOOS == "windows" {
			binary += ".exe"
		}
		args := []string{"build", "-o", binary}
		if raceDetector {
			args = append(args, "-race")
		}
		cmd := exec.Command("go", append(args, "./"+name)...)
		cmd.Dir = ".."
		if out, err := cmd.CombinedOutput(); err != nil {
			return "", fmt.Errorf("go build %s: %w\n%s", name, err, out)
		}
		return binary, nil
	}))
	binary, err := once.(func() (string, error))()
	if err != nil {
		t.Fatal(err)
	}
	return binary
}

// start runs a program until it says where it listens. The test's end stops it.
func start(t *testing.T, binary string, args ...string) *program {
	t.Helper()
	p := &program{t: t, Process: child.Start(t, nil, binary, args...)}
	url, listens := p.Line("listening on ")
	if !listens {
		t.Fatalf("%s ended before it listened", filepath.Base(binary))
	}
	p.url = url
	return p
}

// stop ends the program as a service manager does, and wants it to end well.
func (p *program) stop() {
	p.t.Helper()
	p.Terminate()
	p.Ends(0)
}

func (p *program) host() string { return strings.TrimPrefix(p.url, "http://") }

// post publishes as a program would.
func (p *program) post(path, body string) {
	p.t.Helper()
	answer, err := http.Post(p.url+path, "application/json", strings.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	defer answer.Body.Close()
	if text, _ := io.ReadAll(answer.Body); answer.StatusCode != http.StatusOK {
		p.t.Fatalf("POST %s: got %d %s, want 200", path, answer.StatusCode, text)
	}
}

type figures struct{ Clients, Channels, Published, Delivered int }

func (p *program) stats() figures {
	p.t.Helper()
	answer, err := http.Get(p.url + "/stats")
	if err != nil {
		p.t.Fatal(err)
	}
	defer answer.Body.Close()
	var f figures
	if err := json.NewDecoder(answer.Body).Decode(&f); err != nil {
		p.t.Fatal(err)
	}
	return f
}
