package main

import (
	"bufio"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"forge.lthn.ai/core/go-ws/examples/internal/probe"
)

// TestNothingOutlivesTheProgram kills the program in a way that it can't
// notice, and also ends a command that leaves something behind.
func TestNothingOutlivesTheProgram(t *testing.T) {
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for name, end := range map[string]func(*exec.Cmd) error{
		"killed":     func(c *exec.Cmd) error { return c.Process.Kill() },
		"terminated": func(c *exec.Cmd) error { return c.Process.Signal(syscall.SIGTERM) },
	} {
		t.Run(name, func(t *testing.T) {
			pidFile := filepath.Join(t.TempDir(), "pid")
			cmd := exec.Command(program, "-addr", "127.0.0.1:0", "-wait=false", "--", "sh", "-c", "echo $$ > "+pidFile+".new; mv "+pidFile+".new "+pidFile+"; exec sleep 1000")
			cmd.Env = append(os.Environ(), "PROCESS_TEST_COMMAND=main")
			stdout, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			wait := probe.Start(t, cmd)
			lines := bufio.NewScanner(stdout)
			for lines.Scan() && !strings.HasPrefix(lines.Text(), "listening") {
			}
			pid := readPid(t, pidFile)
			if err := end(cmd); err != nil {
				t.Fatal(err)
			}
			wait()
			awaitGone(t, pid)
		})
	}
}

// TestWhatACommandLeavesBehindIsEnded has a command end whose child holds the
// output open.
func TestWhatACommandLeavesBehindIsEnded(t *testing.T) {
	pidFile := filepath.Join(t.TempDir(), "pid")
	_, ended := launch(t, t.Context(), []string{"-addr", "127.0.0.1:0", "-wait=false", "--",
		"sh", "-c", "sleep 1000 & echo $! > " + pidFile + ".new; mv " + pidFile + ".new " + pidFile + "; exit 3"})
	if code, ok := errors.AsType[exitCode](<-ended); !ok || code != 3 {
		t.Errorf("run: got exit code %d, want 3", code)
	}
	awaitGone(t, readPid(t, pidFile))
}

func readPid(t *testing.T, file string) int {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.After(probe.Bound); ; {
		if text, err := os.ReadFile(file); err == nil {
			pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
			if err != nil {
				t.Fatal(err)
			}
			return pid
		}
		select {
		case <-tick.C:
		case <-end:
			t.Fatal("the command did not start")
		}
	}
}

// awaitGone waits until a process is no more, or only waits to be buried.
func awaitGone(t *testing.T, pid int) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.After(probe.Bound); ; {
		stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
		if err != nil {
			return
		}
		if _, rest, ok := strings.Cut(string(stat), ") "); ok && strings.HasPrefix(rest, "Z") {
			return
		}
		select {
		case <-tick.C:
		case <-end:
			syscall.Kill(pid, syscall.SIGKILL)
			t.Fatalf("the command, %d, has outlived the program", pid)
		}
	}
}
