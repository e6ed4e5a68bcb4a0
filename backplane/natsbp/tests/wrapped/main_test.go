package wrapped

import (
	"testing"

	"go.uber.org/goleak"

	"forge.lthn.ai/core/go-ws/backplane/redisbp/tests/redistest"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction(redistest.Afterlife))
}
