//go:build unix && !linux

package main

import (
	"os/exec"
	"syscall"
)

// prepare makes the command the leader of a group, so that all that it starts
// ends with it.
func prepare(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
}
