package hubtest_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"

	"forge.lthn.ai/core/go-ws/hub"
	"forge.lthn.ai/core/go-ws/hub/hubtest"
	"forge.lthn.ai/core/go-ws/hub/wire"
)

func TestFakeTransportConformance(t *testing.T) {
	hubtest.TestTransport(t, fakeHarness(func(testing.TB) hub.Transport { return hubtest.NewTransport() }))
}

// fakeHarness reaches a fake, or what was built around one.
func fakeHarness(newTransport func(testing.TB) hub.Transport) hubtest.TransportHarness {
	return hubtest.TransportHarness{New: newTransport, Serve: serveFake}
}

func serveFake(_ testing.TB, tr hub.Transport, handler http.Handler) hubtest.TransportDialer {
	return func(o hubtest.TransportDialOptions) (hubtest.TransportClient, int, error) {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header = o.Header.Clone()
		r.Header["Sec-Websocket-Protocol"] = o.Subprotocols
		if o.Plain {
			r.Header.Set("Upgrade", "none")
		}
		peer, resp := tr.(interface {
			Dial(http.Handler, *http.Request) (*hubtest.Peer, *hubtest.Response)
		}).Dial(handler, r)
		if peer == nil {
			return nil, resp.Status, nil
		}
		peer.Stall()
		if f, ok := tr.(*faultyTransport); ok && f.overlooks {
			return rawFakeClient{fakeClient{peer}}, resp.Status, nil
		}
		return fakeClient{peer}, resp.Status, nil
	}
}

// fakeClient is a Peer that reads in Receive alone.
type fakeClient struct{ *hubtest.Peer }

func (c fakeClient) Pongs() int { return c.Stats().Pongs }

func (c fakeClient) Send(t hub.FrameType, parts ...[]byte) error {
	var whole []byte
	for _, p := range parts {
		whole = append(whole, p...)
	}
	return c.Peer.Send(t, whole)
}

func (c fakeClient) Receive() (hub.FrameType, []byte, error) {
	c.Unstall()
	defer c.Stall()
	t, payload, err := c.Peer.Receive(context.Background())
	var ce *hub.CloseError
	if errors.As(err, &ce) && ce.Code == wire.CloseAbnormal {
		err = errors.New("cut")
	}
	return t, payload, err
}

// rawFakeClient has a server that overlooks what breaks the protocol.
type rawFakeClient struct{ fakeClient }

func (rawFakeClient) SendRaw([]byte) error { return nil }
