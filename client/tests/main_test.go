package tests

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

// role, where it is set, makes the test binary another program: see process_linux_test.go.
const role = "CLIENT_TESTS_ROLE"

// roles are those programs.
var roles = map[string]func(){}

func TestMain(m *testing.M) {
	if program := roles[os.Getenv(role)]; program != nil {
		program()
		return
	}
	goleak.VerifyTestMain(m)
}
