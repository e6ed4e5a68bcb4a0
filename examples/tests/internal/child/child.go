// Package child starts programs that live no longer than the test that starts
// them, whatever way that ends.
package child

import (
	"bytes"
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

// Bound is how long anything may take before it counts as hung.
const Bound = 60 * time.Second

// Process is a program that runs, or has run.
type Process struct {
	Exited <-chan struct{} // closed when it has ended

	t     *testing.T
	name  string
	cmd   *exec.Cmd
	mu    sync.Mutex
	said  bytes.Buffer
	spoke chan struct{} // has one element when there is more to read
}

// Write takes what the program says.
func (p *Process) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case p.spoke <- struct{}{}:
	default:
	}
	return p.said.Write(b)
}

// Output is all that it has said so far, on both its outputs. A test that fails
// shows it.
func (p *Process) Output() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.said.String()
}

// Start starts a program with some more environment variables. That it is
// missing is a failure. The test's end kills it.
func Start(t *testing.T, env []string, name string, args ...string) *Process {
	t.Helper()
	// Debian has servers where not every user's PATH looks.
	if _, err := exec.LookPath(name); err != nil && !strings.Contains(name, "/") {
		name = "/usr/sbin/" + name
	}
	exited := make(chan struct{})
	p := &Process{t: t, name: filepath.Base(name), cmd: exec.Command(name, args...), Exited: exited, spoke: make(chan struct{}, 1)}
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.Stdout, p.cmd.Stderr = p, p
	bind(p.cmd)
	started := make(chan error, 1)
	go func() {
		defer close(exited)
		// Where it is bound, it dies when the thread ends that has started it.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := p.cmd.Start()
		started <- err
		if err == nil {
			_ = p.cmd.Wait() // the exit code says it
		}
	}()
	if err := <-started; err != nil {
		t.Fatalf("starting %s: %v; make deps installs what the tests need", name, err)
	}
	t.Cleanup(func() {
		p.Kill()
		if t.Failed() {
			t.Logf("%s said:\n%s", p.name, p.Output())
		}
	})
	return p
}

// Kill ends it without a word, and waits for that.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill() // it may have ended
	<-p.Exited
}

// Terminate asks it to end, as a service manager does.
func (p *Process) Terminate() {
	p.t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		p.t.Fatalf("%s: %v", p.name, err)
	}
}

// Ends waits for the end and wants an exit code.
func (p *Process) Ends(code int) {
	p.t.Helper()
	select {
	case <-p.Exited:
		if got := p.cmd.ProcessState.ExitCode(); got != code {
			p.t.Errorf("%s: got exit code %d, want %d", p.name, got, code)
		}
	case <-time.After(Bound):
		p.t.Fatalf("%s has not ended after %v", p.name, Bound)
	}
}

// Says waits until it has said this word. It is false where the program has
// ended instead.
func (p *Process) Says(word string) bool {
	p.t.Helper()
	return p.await("said "+word, func() bool { return strings.Contains(p.Output(), word) })
}

// Line waits for the line that begins like this, and returns its rest. It is
// false where the program has ended instead.
func (p *Process) Line(begin string) (rest string, ok bool) {
	p.t.Helper()
	ok = p.await("said a line "+begin, func() bool {
		_, after, found := strings.Cut("\n"+p.Output(), "\n"+begin)
		if !found {
			return false
		}
		rest, _, found = strings.Cut(after, "\n")
		return found
	})
	return rest, ok
}

// await waits until what the program has said is right. It is false where the
// program has ended instead.
func (p *Process) await(what string, right func() bool) bool {
	p.t.Helper()
	hung := time.After(Bound)
	for !right() {
		select {
		case <-p.spoke:
		case <-p.Exited:
			return right()
		case <-hung:
			p.t.Fatalf("%s has not %s after %v", p.name, what, Bound)
		}
	}
	return true
}

// Listens waits until it takes connections at its address. It is false where
// the program has ended instead, such as when somebody else has the port.
func (p *Process) Listens(addr string) bool {
	p.t.Helper()
	hung := time.After(Bound)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-p.Exited:
			return false
		case <-hung:
			p.t.Fatalf("%s does not listen on %s after %v", p.name, addr, Bound)
		case <-tick.C:
			// Some try for a while to get a port that somebody else has.
			if strings.Contains(p.Output(), "Address already in use") {
				p.Kill()
				return false
			}
			conn, err := net.Dial("tcp", addr)
			if err == nil {
				conn.Close()
				return true
			}
		}
	}
}

// OnFreePort calls start with free ports until it has not lost its port to
// somebody else.
func OnFreePort[T any](t *testing.T, start func(port string) (T, bool)) T {
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

// Redis starts a redis-server on a free port of 127.0.0.1.
func Redis(t *testing.T, args ...string) (p *Process, addr string) {
	t.Helper()
	p = OnFreePort(t, func(port string) (*Process, bool) {
		addr = "127.0.0.1:" + port
		p := Start(t, nil, "redis-server", append([]string{"--port", port, "--bind", "127.0.0.1", "--dir", t.TempDir(), "--save", "", "--appendonly", "no"}, args...)...)
		return p, p.Says("Ready to accept connections")
	})
	return p, addr
}
