package balancers_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"forge.lthn.ai/core/go-ws/examples/tests/internal/child"
)

// bound is how long anything may take before it counts as hung.
const bound = child.Bound

var buildFolder string

func TestMain(m *testing.M) {
	folder, err := os.MkdirTemp("", "balancers-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	buildFolder = folder
	code := m.Run()
	os.RemoveAll(folder)
	os.Exit(code)
}

// gatewayBinary compiles the gateway, once for all tests.
var gatewayBinary = sync.OnceValues(func() (string, error) {
	binary := filepath.Join(buildFolder, "gateway")
	cmd := exec.Command("go", "build", "-o", binary, "./gateway")
	cmd.Dir = "../.."
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build gateway: %w\n%s", err, out)
	}
	return binary, nil
})
