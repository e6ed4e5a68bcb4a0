package tests_test

import (
	"bufio"
	"fmt"
	"net"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// redisServer is one that runs until the test's end, and dies with the test
// whatever way that ends.
type redisServer struct {
	addr, password string
	kill           func()
}

func startRedis(t *testing.T) *redisServer {
	t.Helper()
	for range 20 {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		addr := listener.Addr().String()
		listener.Close()
		s := &redisServer{addr: addr, password: "pr1vate-w0rd"}
		ready, err := s.try(t)
		if err != nil {
			t.Fatal(err)
		}
		if ready {
			return s
		}
	}
	t.Fatal("no free port for redis-server in 20 tries")
	return nil
}

// try says whether the server is ready. It is not where somebody else has got
// the port.
func (s *redisServer) try(t *testing.T) (ready bool, err error) {
	t.Helper()
	_, port, _ := net.SplitHostPort(s.addr)
	cmd := exec.Command("redis-server", "--port", port, "--bind", "127.0.0.1", "--dir", t.TempDir(), "--save", "", "--appendonly", "no", "--requirepass", s.password)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return false, err
	}
	started, said, exited := make(chan error, 1), make(chan bool, 1), make(chan struct{})
	go func() {
		defer close(exited)
		// The server dies when the thread ends that has started it.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err != nil {
			return
		}
		for lines := bufio.NewScanner(stdout); lines.Scan(); {
			if strings.Contains(lines.Text(), "Ready to accept connections") {
				said <- true
			}
		}
		cmd.Wait()
		said <- false
	}()
	if err := <-started; err != nil {
		return false, fmt.Errorf("starting redis-server: %w; make deps installs it", err)
	}
	s.kill = func() {
		cmd.Process.Kill()
		<-exited
	}
	t.Cleanup(s.kill)
	select {
	case ready := <-said:
		return ready, nil
	case <-time.After(bound):
		return false, fmt.Errorf("redis-server is not ready after %v", bound)
	}
}

func (s *redisServer) url(password string) string { return "redis://:" + password + "@" + s.addr }

func TestAMessagePostedToOneGatewayReachesABrowserOnTheOtherThroughRedis(t *testing.T) {
	redis := startRedis(t)
	binary := build(t, "gateway")
	args := []string{"-addr", "127.0.0.1:0", "-backplane", "redis", "-redis-url", redis.url(redis.password), "-ready-needs-backplane", "-log-level", "debug"}
	first, second := start(t, binary, args...), start(t, binary, args...)
	messagesCross(t, first, second)

	// Nor is the password in what they say when Redis goes.
	redis.kill()
	for _, g := range []*program{first, second} {
		g.answers("/readyz", 503)
		g.stop()
		if said := strings.Join(g.said, "\n") + g.log.String(); strings.Contains(said, redis.password) {
			t.Errorf("the gateway says the password: %s", said)
		} else if !strings.Contains(said, redis.addr) {
			t.Errorf("got %q, want the log to tell of Redis at %s", said, redis.addr)
		}
	}
}

func TestAGatewayWithAWrongPasswordForRedisEndsAndDoesNotSayIt(t *testing.T) {
	redis := startRedis(t)
	cmd := exec.Command(build(t, "gateway"), "-addr", "127.0.0.1:0", "-backplane", "redis", "-redis-url", redis.url("wr0ng-w0rd"), "-log-level", "debug")
	hung := time.AfterFunc(bound, func() { cmd.Process.Kill() })
	defer hung.Stop()
	said, err := cmd.CombinedOutput()
	if err == nil || cmd.ProcessState.ExitCode() != 1 || !strings.Contains(string(said), "password") {
		t.Errorf("got %v, %s, want exit code 1 and a word of the password", err, said)
	}
	if strings.Contains(string(said), "wr0ng-w0rd") {
		t.Errorf("the gateway says the password: %s", said)
	}
}
