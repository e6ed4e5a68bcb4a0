package redistest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// hang is when waiting for a server ends the test.
	hang = time.Minute
	// ready is what a server says when it is listening.
	ready         = "Ready to accept connections"
	sentinelReady = "Sentinel ID is"
	// portTries is how many ports are tried.
	portTries = 20
)

// Afterlife is the function of go-redis that outlives a client's Close where dialling
// failed: it sleeps for a second before it sees that its pool is closed. A test main
// whose servers go away ignores it:
//
//	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction(redistest.Afterlife))
const Afterlife = "github.com/redis/go-redis/v9/internal/pool.(*ConnPool).tryDial"

// Server is one redis-server. Its methods are called from the test's goroutine.
type Server struct {
	t    testing.TB
	addr string
	dir  string
	args []string
	port int
	// config is the file that a Sentinel, or a server that keeps its settings,
	// writes to.
	config string
	done   string

	process *process
}

// Start starts a server with these settings ("--name", "value", …) beside those
// that make it listen, keep nothing and write to the test's folder.
func Start(t testing.TB, settings ...string) *Server {
	t.Helper()
	s := &Server{t: t, dir: t.TempDir(), args: settings, done: ready}
	s.startSomewhere()
	return s
}

// startSomewhere looks for a port that is free, and stays so until the server
// has it.
func (s *Server) startSomewhere() {
	s.t.Helper()
	s.t.Cleanup(func() {
		if s.process != nil {
			s.process.kill()
		}
	})
	for range portTries {
		s.port = freePort()
		s.addr = net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port))
		err := s.try()
		if err == nil {
			return
		}
		if !errors.Is(err, errPortTaken) {
			s.t.Fatal(err)
		}
	}
	s.t.Fatalf("redistest: no free port in %d tries", portTries)
}

// freePort is below the ports that the system gives to clients, and so is the
// one of a Cluster's bus, 10,000 above.
func freePort() int {
	for {
		port := 10000 + rand.N(12000)
		a, err := net.Listen("tcp", fmt.Sprint("127.0.0.1:", port))
		if err != nil {
			continue
		}
		a.Close()
		b, err := net.Listen("tcp", fmt.Sprint("127.0.0.1:", port+10000))
		if err != nil {
			continue
		}
		b.Close()
		return port
	}
}

var errPortTaken = errors.New("redistest: the port is taken")

func (s *Server) try() error {
	args := []string{}
	if s.config != "" {
		args = append(args, s.config)
	}
	args = append(args, "--port", strconv.Itoa(s.port), "--bind", "127.0.0.1", "--dir", s.dir, "--daemonize", "no")
	if s.done == ready {
		args = append(args, "--save", "", "--appendonly", "no")
	}
	args = append(args, s.args...)
	p, err := startProcess(s.done, args...)
	if err != nil {
		return err
	}
	s.process = p
	return nil
}

// Addr is host:port of the server. It stays the same after Restart.
func (s *Server) Addr() string { return s.addr }

// Kill ends the server without a word to anybody, and waits for its end.
func (s *Server) Kill() { s.process.kill() }

// Restart starts a server anew that was killed, with nothing in it.
func (s *Server) Restart() {
	s.t.Helper()
	// Its port is its own: nobody else uses ports of this kind for long.
	end := time.Now().Add(hang)
	for {
		err := s.try()
		if err == nil {
			return
		}
		if !errors.Is(err, errPortTaken) || time.Now().After(end) {
			s.t.Fatalf("redistest: restarting: %v", err)
		}
	}
}

// Freeze stops the server in the midst of what it does; its connections stay. It
// has stopped when Freeze returns.
func (s *Server) Freeze() {
	s.t.Helper()
	s.process.signal(s.t, syscall.SIGSTOP)
	ctx, cancel := context.WithTimeout(s.t.Context(), hang)
	defer cancel()
	poll(ctx, s.t, "the server to stop", func() bool {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.process.cmd.Process.Pid))
		if err != nil {
			s.t.Fatalf("redistest: %v", err)
		}
		_, state, _ := strings.Cut(string(stat), ") ")
		return strings.HasPrefix(state, "T")
	})
}

// Thaw lets it go on.
func (s *Server) Thaw() { s.process.signal(s.t, syscall.SIGCONT) }

// Client is a client of go-redis's to look at the server with. The test closes it
// at its end.
func (s *Server) Client() *redis.Client {
	c := redis.NewClient(&redis.Options{Addr: s.addr, MaxRetries: -1, PoolSize: 2})
	s.t.Cleanup(func() { c.Close() })
	return c
}

// process is a child that dies with us.
type process struct {
	cmd    *exec.Cmd
	exited chan struct{}
	output *output
}

func startProcess(word string, args ...string) (*process, error) {
	out := &output{}
	p := &process{cmd: exec.Command("redis-server", args...), exited: make(chan struct{}), output: out}
	// Its own group, so that a key press for us is not one for it. The death
	// signal comes when the thread that started it ends: that one has to live.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.cmd.Stderr = p.cmd.Stdout
	started := make(chan error, 1)
	said := make(chan struct{})
	go func() {
		defer close(p.exited)
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := p.cmd.Start()
		started <- err
		if err != nil {
			return
		}
		out.copy(stdout, word, said)
		_ = p.cmd.Wait() // killed, as a rule
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("redistest: %w", err)
	}
	timer := time.NewTimer(hang)
	defer timer.Stop()
	select {
	case <-said:
		return p, nil
	case <-p.exited:
		if strings.Contains(out.text(), "in use") {
			return nil, errPortTaken
		}
		return nil, fmt.Errorf("redistest: redis-server has ended:\n%s", out.text())
	case <-timer.C:
		p.kill()
		return nil, fmt.Errorf("redistest: redis-server is not ready after %v:\n%s", hang, out.text())
	}
}

func (p *process) kill() {
	select {
	case <-p.exited:
		return
	default:
	}
	_ = p.cmd.Process.Kill() // it may have ended just now
	<-p.exited
}

func (p *process) signal(t testing.TB, s syscall.Signal) {
	t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		t.Fatalf("redistest: %v: %v", s, err)
	}
}

// output keeps what a process has said.
type output struct {
	mu   sync.Mutex
	said strings.Builder
}

func (o *output) text() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.said.String()
}

// copy reads to the end, and closes said when a line has the word.
func (o *output) copy(r io.Reader, word string, said chan<- struct{}) {
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		o.mu.Lock()
		if o.said.Len() < 1<<20 {
			o.said.WriteString(lines.Text() + "\n")
		}
		o.mu.Unlock()
		if said != nil && strings.Contains(lines.Text(), word) {
			close(said)
			said = nil
		}
	}
}

// writeConfig makes the file that a server writes its settings to.
func (s *Server) writeConfig(text string) {
	s.t.Helper()
	s.config = filepath.Join(s.dir, "redis.conf")
	if err := os.WriteFile(s.config, []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
}
