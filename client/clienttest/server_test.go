package clienttest_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"forge.lthn.ai/core/go-ws/client"
	"forge.lthn.ai/core/go-ws/client/clienttest"
	"forge.lthn.ai/core/go-ws/hub/wire"
)

// connect runs a client on the server and returns it, and the server's side.
func connect(t *testing.T, server *clienttest.Server) (*client.ReconnectingClient, *clienttest.Conn) {
	t.Helper()
	c, err := client.New(client.ReconnectConfig{
		URL: server.URL(), HTTPClient: server.HTTPClient(), Logger: slog.New(slog.DiscardHandler), DisableJitter: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Connect(t.Context()); err != nil {
		t.Fatal(err)
	}
	conn, err := server.Accepted(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return c, conn
}

func TestTheServerAnswersAsAHub(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := clienttest.NewServer(clienttest.Config{})
		defer server.Close()
		c, conn := connect(t, server)
		defer c.Close()
		got := make(chan client.Delivery, 10)
		if err := c.Subscribe("news", func(_ context.Context, d client.Delivery) { got <- d }); err != nil {
			t.Fatal(err)
		}
		if err := server.Subscribed(t.Context(), "news"); err != nil {
			t.Fatal(err)
		}
		if d := <-got; d.Type != wire.TypeSubscribed || d.Timestamp.IsZero() {
			t.Errorf("got %+v, want subscribed with a time", d)
		}
		for _, f := range []wire.Frame{{Type: "a", Channel: "news"}, {Type: "b", Channel: "other"}, {Type: "c", Channel: "news"}} {
			if err := server.Publish(t.Context(), f); err != nil {
				t.Fatal(err)
			}
		}
		if a, c := <-got, <-got; a.Type != "a" || c.Type != "c" {
			t.Errorf("got %q and %q, want a and c", a.Type, c.Type)
		}
		if f, err := conn.Next(t.Context()); err != nil || f.Type != wire.TypeSubscribe {
			t.Errorf("Next: got %+v, %v, want the subscribe", f, err)
		}
	})
}

func TestTheServerRefusesFailsAndHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := clienttest.NewServer(clienttest.Config{})
		defer server.Close()
		c, conn := connect(t, server)
		defer c.Close()
		server.Refuse(http.StatusServiceUnavailable, http.Header{"Retry-After": {"3"}})
		conn.Cut()
		time.Sleep(2 * time.Second)
		server.Fail(errors.New("away"))
		time.Sleep(4 * time.Second)
		server.Hang()
		time.Sleep(6 * time.Second)
		server.Admit()
		if _, err := server.Accepted(t.Context()); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		var got []int
		for _, a := range server.Attempts() {
			got = append(got, a.Status)
		}
		if len(got) != 4 || got[0] != 101 || got[1] != 503 || got[2] != 0 || got[3] != 101 {
			t.Errorf("attempts: got %v, want 101, 503, 0, 101", got)
		}
	})
}

func TestWaitsEndWithTheirContexts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := clienttest.NewServer(clienttest.Config{})
		defer server.Close()
		c, conn := connect(t, server)
		defer c.Close()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, accepted := server.Accepted(ctx)
		_, next := conn.Next(ctx)
		_, _, gone := conn.Gone(ctx)
		for what, err := range map[string]error{
			"Accepted": accepted, "Next": next, "Gone": gone, "Subscribed": server.Subscribed(ctx, "news"),
		} {
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%s: got %v, want deadline exceeded", what, err)
			}
		}
	})
}

func TestFreezeHoldsAndThawLetsGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := clienttest.NewServer(clienttest.Config{})
		defer server.Close()
		c, conn := connect(t, server)
		defer c.Close()
		conn.Freeze()
		if err := c.Send(t.Context(), client.Message{Type: "say"}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if got := conn.Frames(); len(got) != 0 {
			t.Errorf("frozen: got %v, want nothing", got)
		}
		conn.Thaw()
		if f, err := conn.Next(t.Context()); err != nil || f.Type != "say" {
			t.Errorf("thawed: got %v, %v, want the message", f.Type, err)
		}
	})
}

// TestCloseWaitsForWhoIsJustConnecting is for the race detector: attempts that
// were held up are let in while the server is closed.
func TestCloseWaitsForWhoIsJustConnecting(t *testing.T) {
	for range 60 {
		server := clienttest.NewServer(clienttest.Config{})
		server.Hang()
		ctx, cancel := context.WithCancel(t.Context())
		var ran sync.WaitGroup
		for range 30 {
			c, err := client.New(client.ReconnectConfig{URL: server.URL(), HTTPClient: server.HTTPClient(), Logger: slog.New(slog.DiscardHandler)})
			if err != nil {
				t.Fatal(err)
			}
			ran.Go(func() { _ = c.Run(ctx) })
		}
		for len(server.Attempts()) < 30 {
			runtime.Gosched()
		}
		server.Admit()
		for range 3 {
			runtime.Gosched()
		}
		server.Close()
		cancel()
		ran.Wait()
	}
}
