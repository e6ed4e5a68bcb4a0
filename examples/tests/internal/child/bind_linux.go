package child

import (
	"os/exec"
	"syscall"
)

// bind has the kernel kill the program when the thread ends that starts it.
func bind(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
