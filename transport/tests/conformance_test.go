package tests

import (
	"net/http"
	"testing"

	"forge.lthn.ai/core/go-ws/hub"
	"forge.lthn.ai/core/go-ws/hub/hubtest"
)

// TestConformance runs the suite where Send does not write by itself, and with
// compression. Plain TCP has it in the transport's own module.
func TestConformance(t *testing.T) {
	for _, n := range networks {
		if n.name != "tls" && n.name != "pipe" && n.name != "deflate" {
			continue
		}
		t.Run(n.name, func(t *testing.T) {
			hubtest.TestTransport(t, hubtest.TransportHarness{
				New: func(t testing.TB) hub.Transport { return newTransport(t, n.config) },
				Serve: func(t testing.TB, _ hub.Transport, handler http.Handler) hubtest.TransportDialer {
					dial := n.serve(t, handler)
					return func(o hubtest.TransportDialOptions) (hubtest.TransportClient, int, error) {
						nc, err := dial()
						if err != nil {
							return nil, 0, err
						}
						if n.config.Compression && !o.Plain {
							o.Compress = true
						}
						c, status, err := handshake(nc, o)
						if c == nil {
							return nil, status, err
						}
						return c, status, nil
					}
				},
				Features: hubtest.TransportFeatures{Compression: n.config.Compression},
			})
		})
	}
}
