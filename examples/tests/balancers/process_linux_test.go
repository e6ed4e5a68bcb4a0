package balancers_test

import (
	"bytes"
	"fmt"
	"net"
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

// bound is how long anything may take before it counts as hung.
const bound = 60 * time.Second

var buildFolder string

func TestMain(m *testing.M) {
	folder, err := os.MkdirTemp("", "balancers-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	buildFolder = folder
	code := m.Run()
	os.RemoveAll(folder)
	os.Exit(code)
}

// gatewayBinary compiles the gateway, once for all tests.
var gatewayBinary = sync.OnceValues(func() (string, error) {
	binary := filepath.Join(buildFolder, "gateway")
	cmd := exec.Command("go", "build", "-o", binary, "./gateway")
	cmd.Dir = "../.."
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build gateway: %w\n%s", err, out)
	}
	return binary, nil
})

// process is a program that lives no longer than its test.
type process struct {
	name   string
	cmd    *exec.Cmd
	exited chan struct{}
	mu     sync.Mutex
	said   bytes.Buffer
	spoke  chan struct{} // has one element when there is more to read
}

func (p *process) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case p.spoke <- struct{}{}:
	default:
	}
	return p.said.Write(b)
}

func (p *process) output() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.said.String()
}

// launch starts a program. That it is missing is a failure.
func launch(t *testing.T, env []string, name string, args ...string) *process {
	t.Helper()
	// Debian has servers where not every user's PATH looks.
	if _, err := exec.LookPath(name); err != nil && !strings.Contains(name, "/") {
		name = "/usr/sbin/" + name
	}
	p := &process{name: filepath.Base(name), cmd: exec.Command(name, args...), exited: make(chan struct{}), spoke: make(chan struct{}, 1)}
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.Stdout, p.cmd.Stderr = p, p
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	started := make(chan error, 1)
	go func() {
		defer close(p.exited)
		// The program dies when the thread ends that has started it.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := p.cmd.Start()
		started <- err
		if err == nil {
			p.cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		t.Fatalf("starting %s: %v; make deps installs it", name, err)
	}
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("%s said:\n%s", p.name, p.output())
		}
	})
	return p
}

func (p *process) kill() {
	p.cmd.Process.Kill()
	<-p.exited
}

// says waits until the program's output has this word, and returns the output.
// It is false where the program has ended instead.
func (p *process) says(t *testing.T, word string) (string, bool) {
	t.Helper()
	hung := time.After(bound)
	for {
		if said := p.output(); strings.Contains(said, word) {
			return said, true
		}
		select {
		case <-p.spoke:
		case <-p.exited:
			return p.output(), false
		case <-hung:
			t.Fatalf("%s has not said %q after %v:\n%s", p.name, word, bound, p.output())
		}
	}
}

// listens waits until the program takes connections at its address. It is false
// where the program has ended instead, such as when somebody else has the port.
func (p *process) listens(t *testing.T, addr string) bool {
	t.Helper()
	hung := time.After(bound)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-p.exited:
			return false
		case <-hung:
			t.Fatalf("%s does not listen on %s after %v:\n%s", p.name, addr, bound, p.output())
		case <-tick.C:
			conn, err := net.Dial("tcp", addr)
			if err == nil {
				conn.Close()
				return true
			}
		}
	}
}

// onFreePort calls start with free ports until it has not lost its port to
// somebody else.
func onFreePort[T any](t *testing.T, start func(port string) (T, bool)) T {
	t.Helper()
	for range 20 {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		_, port, _ := net.SplitHostPort(listener.Addr().String())
		listener.Close()
		if started, ok := start(port); ok {
			return started
		}
	}
	t.Fatal("does not start on any of 20 free ports")
	panic("unreachable")
}
