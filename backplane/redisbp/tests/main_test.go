package tests

import (
	"testing"

	"github.com/redis/go-redis/v9/logging"
	"go.uber.org/goleak"
)

// afterlife is what go-redis's pool leaves behind where dialling failed: it sleeps
// for a second before it sees that it is closed.
var afterlife = goleak.IgnoreAnyFunction("github.com/redis/go-redis/v9/internal/pool.(*ConnPool).tryDial")

func TestMain(m *testing.M) {
	logging.Disable() // go-redis tells standard error of every dial that fails
	goleak.VerifyTestMain(m, afterlife)
}
