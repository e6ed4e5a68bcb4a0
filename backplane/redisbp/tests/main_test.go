package tests

import (
	"testing"

	"github.com/redis/go-redis/v9/logging"
	"go.uber.org/goleak"

	"forge.lthn.ai/core/go-ws/backplane/redisbp/tests/redistest"
)

func TestMain(m *testing.M) {
	logging.Disable() // go-redis tells standard error of every dial that fails
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction(redistest.Afterlife))
}
