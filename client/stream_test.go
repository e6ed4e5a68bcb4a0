package client_test

import (
	"errors"
	"io"
	"log/slog"
	"math"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"forge.lthn.ai/core/go-ws/client"
	"forge.lthn.ai/core/go-ws/hub/wire"
)

// through is a transport whose connections pass a wrapper.
type through struct {
	http.RoundTripper
	wrap func(io.ReadWriteCloser) io.ReadWriteCloser
}

func (t through) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := t.RoundTripper.RoundTrip(r)
	if err == nil && resp.StatusCode == http.StatusSwitchingProtocols {
		resp.Body = t.wrap(resp.Body.(io.ReadWriteCloser))
	}
	return resp, err
}

// wrapped is bubble, with a wrapper around the first connection.
func wrapped(t *testing.T, cfg client.ReconnectConfig, wrap func(io.ReadWriteCloser) io.ReadWriteCloser, f func(b *bed, c *client.ReconnectingClient)) {
	t.Helper()
	bubble(t, cfg, func(b *bed) {
		var once sync.Once
		cfg.URL, cfg.Logger = b.server.URL(), slog.New(slog.DiscardHandler)
		cfg.HTTPClient = &http.Client{Transport: through{b.server.HTTPClient().Transport, func(rwc io.ReadWriteCloser) io.ReadWriteCloser {
			once.Do(func() { rwc = wrap(rwc) })
			return rwc
		}}}
		c, err := client.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Connect(b.Context()); err != nil {
			t.Fatal(err)
		}
		f(b, c)
		_ = c.Close()
		_ = c.Wait(b.Context())
	})
}

// half reads the beginning of a message from another stream, and then the end of
// the connection.
type half struct {
	io.ReadWriteCloser
	r io.Reader
}

func (h *half) Read(p []byte) (int, error) { return h.r.Read(p) }

// TestAMessageThatIsCutOffIsNoMessage ends the connection within a message whose
// beginning could be a whole one. The library takes such an end for the message's.
func TestAMessageThatIsCutOffIsNoMessage(t *testing.T) {
	x := &box{}
	text := `{"type":"event","data":"half"}`
	sent := "\x81\x7e\x04\x00" + text + strings.Repeat(" ", 512-len(text)) // of 1,024
	wrap := func(rwc io.ReadWriteCloser) io.ReadWriteCloser { return &half{rwc, strings.NewReader(sent)} }
	wrapped(t, client.ReconnectConfig{DisableJitter: true, OnMessage: x.handle}, wrap, func(b *bed, _ *client.ReconnectingClient) {
		for range 2 {
			if _, err := b.server.Accepted(b.Context()); err != nil {
				b.Fatal(err)
			}
		}
		wantWords(b.T, x)
	})
}

// deaf takes nothing any more once it is told so, and lets what the server has
// said be read a moment after that.
type deaf struct {
	io.ReadWriteCloser
	on     atomic.Bool
	failed chan struct{}
	once   sync.Once
}

func (d *deaf) Write(p []byte) (int, error) {
	if !d.on.Load() {
		return d.ReadWriteCloser.Write(p)
	}
	d.once.Do(func() { close(d.failed) })
	return 0, errors.New("broken pipe")
}

func (d *deaf) Read(p []byte) (int, error) {
	n, err := d.ReadWriteCloser.Read(p)
	if d.on.Load() {
		<-d.failed
		time.Sleep(500 * ms)
	}
	return n, err
}

// TestAFailedWriteDoesNotHideWhyTheServerClosed has the server close with a hint
// while the client is sending.
func TestAFailedWriteDoesNotHideWhyTheServerClosed(t *testing.T) {
	var d *deaf
	wrap := func(rwc io.ReadWriteCloser) io.ReadWriteCloser {
		d = &deaf{ReadWriteCloser: rwc, failed: make(chan struct{})}
		return d
	}
	var lost error
	cfg := client.ReconnectConfig{DisableJitter: true, OnDisconnect: func(err error) { lost = err }}
	wrapped(t, cfg, wrap, func(b *bed, c *client.ReconnectingClient) {
		conn, err := b.server.Accepted(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		d.on.Store(true)
		go conn.Close(wire.CloseServiceRestart, `{"reconnectAfterMs":7000}`)
		synctest.Wait()
		if err := c.Send(b.Context(), say("hello")); !errors.Is(err, client.ErrConnectionLost) {
			b.Errorf("Send: got %v, want ErrConnectionLost", err)
		}
		if _, err := b.server.Accepted(b.Context()); err != nil {
			b.Fatal(err)
		}
		synctest.Wait()
		b.wantDelays(7*s + 500*ms)
		if closed, ok := errors.AsType[*client.CloseError](lost); !ok || closed.Code != wire.CloseServiceRestart {
			b.Errorf("OnDisconnect: got %v, want 1012", lost)
		}
	})
}

func TestTooLongAMessageIsNotRead(t *testing.T) {
	x := &box{}
	bubble(t, client.ReconnectConfig{DisableJitter: true, ReadLimit: 100, OnMessage: x.handle}, func(b *bed) {
		conn := b.connect()
		fits := `{"type":"event","data":"` + strings.Repeat("x", 100-26) + `"}`
		if err := conn.SendText(b.Context(), fits); err != nil {
			b.Fatal(err)
		}
		// The client may have ended the connection before this has returned.
		_ = conn.SendText(b.Context(), fits+" ")
		if code, _, err := conn.Gone(b.Context()); err != nil || code != wire.CloseTooBig {
			b.Errorf("the server saw %d, %v, want 1009", code, err)
		}
		if got := x.take(); len(got) != 1 {
			b.Errorf("got %q, want the one that fits", got)
		}
		b.accepted()
	})
}

func TestTheLongestReadLimitReadsEverything(t *testing.T) {
	x := &box{}
	bubble(t, client.ReconnectConfig{ReadLimit: math.MaxInt, OnMessage: x.handle}, func(b *bed) {
		b.connect()
		b.publish("", "hello")
		wantWords(b.T, x, "hello")
	})
}

func TestTextThatIsNotUTF8EndsTheConnection(t *testing.T) {
	bubble(t, client.ReconnectConfig{DisableJitter: true}, func(b *bed) {
		conn := b.connect()
		// The client may have ended the connection before this has returned.
		_ = conn.SendText(b.Context(), "{\"type\":\"\xff\"}")
		if code, _, err := conn.Gone(b.Context()); err != nil || code != wire.CloseInvalidData {
			b.Errorf("the server saw %d, %v, want 1007", code, err)
		}
		b.accepted()
	})
}
