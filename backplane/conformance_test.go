package backplane_test

import (
	"testing"

	"forge.lthn.ai/core/go-ws/backplane"
	"forge.lthn.ai/core/go-ws/hub"
	"forge.lthn.ai/core/go-ws/hub/hubtest"
)

func TestConformance(t *testing.T) {
	bus := backplane.NewMemory(backplane.MemoryConfig{MaxPayload: 64 << 10})
	hubtest.TestBackplane(t, hubtest.BackplaneHarness{
		New:      func(testing.TB) hub.Backplane { return bus.Join() },
		Break:    func(testing.TB) { bus.Break() },
		Heal:     func(testing.TB) { bus.Heal() },
		Features: hubtest.BackplaneFeatures{MaxPayload: 64 << 10},
	})
}
