//go:build unix

package main

import (
	"os"
	"os/exec"
	"syscall"
)

// killRest kills what the command has left behind in its group.
func killRest(cmd *exec.Cmd) {
	// An error says that nothing was left.
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
}

// codeOf is a command's exit code; 128 and the signal where one killed it, as
// shells have it.
func codeOf(state *os.ProcessState) int {
	if status, ok := state.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return 128 + int(status.Signal())
	}
	return state.ExitCode()
}
