//go:build !linux

package probe

import (
	"os/exec"
	"sync"
	"testing"
)

// Start starts a program that lives no longer than the test, unless that
// panics. wait is cmd.Wait.
func Start(t *testing.T, cmd *exec.Cmd) (wait func() error) {
	t.Helper()
	if err := cmd.Start(); err != nil {
		t.Fatalf("starting %s: %v", cmd.Path, err)
	}
	wait = sync.OnceValue(cmd.Wait)
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended
		_ = wait()
	})
	return wait
}
