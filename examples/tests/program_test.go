package tests_test

import (
	"bufio"
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
	"syscall"
	"testing"
	"time"
)

// program is an example that runs as a person runs it.
type program struct {
	t    *testing.T
	cmd  *exec.Cmd
	url  string
	said []string // its lines before the one that says where it listens
	done chan error
	log  *log
}

// log shows what a program writes to its standard error, and keeps it.
type log struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	l.text.Write(p)
	l.mu.Unlock()
	return os.Stderr.Write(p)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
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
	p := &program{t: t, cmd: exec.Command(binary, args...), done: make(chan error, 1), log: &log{}}
	p.cmd.Stderr = p.log
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	listening := make(chan string, 1)
	go func() {
		lines := bufio.NewScanner(stdout)
		for lines.Scan() {
			if url, ok := strings.CutPrefix(lines.Text(), "listening on "); ok {
				listening <- url
				break
			}
			p.said = append(p.said, lines.Text())
		}
		io.Copy(io.Discard, stdout)
		p.done <- p.cmd.Wait()
	}()
	t.Cleanup(func() { p.cmd.Process.Kill() })
	select {
	case p.url = <-listening:
	case err := <-p.done:
		t.Fatalf("%s ended before it listened: %v", filepath.Base(binary), err)
	case <-time.After(bound):
		t.Fatalf("%s does not listen", filepath.Base(binary))
	}
	return p
}

// stop ends the program as a service manager does, and wants it to end well.
func (p *program) stop() {
	p.t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		p.t.Fatal(err)
	}
	p.wait(0)
}

// wait waits for the program's end.
func (p *program) wait(code int) {
	p.t.Helper()
	select {
	case <-p.done:
		if got := p.cmd.ProcessState.ExitCode(); got != code {
			p.t.Errorf("%s: got exit code %d, want %d", filepath.Base(p.cmd.Path), got, code)
		}
	case <-time.After(bound):
		p.t.Fatalf("%s does not end", filepath.Base(p.cmd.Path))
	}
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
