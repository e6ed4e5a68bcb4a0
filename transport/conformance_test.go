package transport_test

import (
	"testing"

	"forge.lthn.ai/core/go-ws/hub"
	"forge.lthn.ai/core/go-ws/hub/hubtest"
	"forge.lthn.ai/core/go-ws/transport"
)

func TestConformance(t *testing.T) {
	hubtest.TestTransport(t, hubtest.TransportHarness{New: func(t testing.TB) hub.Transport {
		tr, err := transport.New(transport.Config{})
		if err != nil {
			t.Fatalf("New: got %v, want a transport", err)
		}
		return tr
	}})
}
