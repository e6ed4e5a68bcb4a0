package tests

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"forge.lthn.ai/core/go-ws/client"
	"forge.lthn.ai/core/go-ws/hub"
	"forge.lthn.ai/core/go-ws/transport"
)

func init() {
	roles["server"] = serverProgram
	roles["client"] = clientProgram
}

// serverProgram is a hub on the address that it is told, which publishes each
// line of its standard input on the channel news.
func serverProgram() {
	sockets, err := transport.New(transport.Config{})
	must(err)
	h, err := hub.New(hub.Config{Transport: sockets, Logger: quiet, HeartbeatInterval: 100 * time.Millisecond, PongTimeout: 2 * time.Second})
	must(err)
	listener, err := net.Listen("tcp", os.Getenv("CLIENT_TESTS_ADDR"))
	must(err)
	go func() { must(h.Run(context.Background())) }()
	<-h.Started()
	go func() { must((&http.Server{Handler: h.Handler(), ReadHeaderTimeout: hang}).Serve(listener)) }()
	fmt.Println("listening on " + listener.Addr().String())
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		_, err := h.SendToChannel(context.Background(), "news", hub.Message{Data: lines.Text()})
		must(err)
	}
}

// clientProgram prints what happens to a client on the channel news.
func clientProgram() {
	c, err := client.New(client.ReconnectConfig{
		URL: "ws://" + os.Getenv("CLIENT_TESTS_ADDR") + "/ws", InitialBackoff: 10 * time.Millisecond, Logger: quiet,
		OnDisconnect: func(error) { fmt.Println("lost") },
	})
	must(err)
	must(c.Subscribe("news", func(_ context.Context, d client.Delivery) { fmt.Println(d.Type, string(d.Data)) }))
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin) // its end is ours
		os.Exit(0)
	}()
	must(c.Run(context.Background()))
}

func must(err error) {
	if err != nil {
		fmt.Println("failed:", err)
		os.Exit(1)
	}
}

// process is this test binary in a role. It dies with us.
type process struct {
	t     testing.TB
	cmd   *exec.Cmd
	in    io.WriteCloser
	lines chan string
	ended chan struct{}
}

func start(t testing.TB, program, addr string) *process {
	t.Helper()
	p := &process{t: t, cmd: exec.Command(os.Args[0]), lines: make(chan string, 10_000), ended: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), role+"="+program, "CLIENT_TESTS_ADDR="+addr)
	p.cmd.Stderr = os.Stderr
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	started := make(chan error, 1)
	go func() {
		defer close(p.ended)
		// The death signal comes when the thread that started it ends.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := p.cmd.Start()
		started <- err
		if err != nil {
			return
		}
		for lines := bufio.NewScanner(out); lines.Scan(); {
			p.lines <- lines.Text()
		}
		_ = p.cmd.Wait() // killed, as a rule
	}()
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.kill)
	return p
}

func (p *process) kill() {
	_ = p.cmd.Process.Kill() // it may have ended
	<-p.ended
}

func (p *process) signal(s syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

// line waits for a line that begins so, and returns the rest.
func (p *process) line(begin string) string {
	p.t.Helper()
	for {
		line := take(p.t, "a line that begins with "+begin, p.lines)
		if rest, ok := strings.CutPrefix(line, begin); ok {
			return rest
		}
		if strings.HasPrefix(line, "failed") {
			p.t.Fatal(line)
		}
	}
}

func (p *process) say(line string) {
	p.t.Helper()
	if _, err := io.WriteString(p.in, line+"\n"); err != nil {
		p.t.Fatal(err)
	}
}

func TestAServerIsKilledAndStartedAgainOnTheSamePort(t *testing.T) {
	server := start(t, "server", "127.0.0.1:0")
	addr := server.line("listening on ")
	u := connected(t, quick(addr))
	u.join("news")
	for _, text := range []string{"first", "second", "third"} {
		server.say(text)
		u.wantText("news", text)
		server.kill()
		if closed, ok := errors.AsType[*client.CloseError](take(t, "OnDisconnect", u.lost)); !ok {
			t.Errorf("OnDisconnect: got %v, want a CloseError", closed)
		}
		take(t, "an attempt that fails", u.errs)
		server = start(t, "server", addr)
		server.line("listening on ")
		u.comesBack()
		u.live("news")
	}
}

// TestAClientThatWasStoppedComesBack stops a client's process for longer than the
// server is patient, as a laptop does when it sleeps.
func TestAClientThatWasStoppedComesBack(t *testing.T) {
	s := serve(t, hub.Config{HeartbeatInterval: 50 * time.Millisecond, PongTimeout: 500 * time.Millisecond})
	p := start(t, "client", s.addr)
	p.line("subscribed")
	p.signal(syscall.SIGSTOP)
	for deadline := time.Now().Add(hang); s.ClientCount() > 0; {
		if time.Now().After(deadline) {
			t.Fatal("the hub keeps a client that is silent")
		}
		tick := time.NewTimer(10 * time.Millisecond)
		<-tick.C
	}
	p.signal(syscall.SIGCONT)
	p.line("lost")
	p.line("subscribed")
	s.publish(t, "news", "awake")
	p.line(`event "awake"`)
}
