//go:build unix

package main

import (
	"bufio"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"forge.lthn.ai/core/go-ws/examples/internal/probe"
)

// spawn runs the gateway as a process of its own.
func spawn(t *testing.T, args ...string) (cmd *exec.Cmd, wait func() error, url string) {
	t.Helper()
	binary, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd = exec.Command(binary, append([]string{"-addr", "127.0.0.1:0", "-log-level", "error"}, args...)...)
	cmd.Env = append(os.Environ(), "GATEWAY_TEST_RUN_MAIN=1")
	cmd.Stderr = os.Stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	wait = probe.Start(t, cmd)
	line, err := bufio.NewReader(stdout).ReadString('\n')
	url, ok := strings.CutPrefix(strings.TrimSpace(line), "listening on ")
	if err != nil || !ok {
		t.Fatalf("the first line: got %q, %v, want listening on http://…", line, err)
	}
	return cmd, wait, url
}

func TestSignalsDrainAndEndWell(t *testing.T) {
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		cmd, wait, url := spawn(t)
		ann := probe.Dial(t, url+"/ws")
		ann.Join("news")
		if err := cmd.Process.Signal(signal); err != nil {
			t.Fatal(err)
		}
		if code, _ := ann.Closed(); code != 1012 {
			t.Errorf("%v: got close code %d, want 1012", signal, code)
		}
		if err := wait(); err != nil {
			t.Errorf("%v: got %v, want exit code 0", signal, err)
		}
	}
}

func TestASecondSignalEndsAtOnce(t *testing.T) {
	cmd, wait, url := spawn(t, "-drain-timeout", "10m", "-drain-spread", "0")
	ann := probe.Dial(t, url+"/ws")
	ann.Join("news")
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	// Ann never answers the close, so the gateway drains on.
	ann.CloseFrame()
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	wait()
	if got, want := cmd.ProcessState.ExitCode(), 128+int(syscall.SIGTERM); got != want {
		t.Errorf("got exit code %d, want %d", got, want)
	}
}
