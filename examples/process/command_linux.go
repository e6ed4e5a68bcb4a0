package main

import (
	"os/exec"
	"syscall"
)

// prepare makes the command the leader of a group, so that all that it starts
// ends with it, and has the kernel kill it when this program is killed.
func prepare(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
}
