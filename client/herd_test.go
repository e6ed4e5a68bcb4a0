package client_test

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"forge.lthn.ai/core/go-ws/client"
	"forge.lthn.ai/core/go-ws/client/clienttest"
)

// TestManyClientsThatLoseTheirServerComeBackSpreadOut counts who comes back
// in which tenth of the first backoff.
func TestManyClientsThatLoseTheirServerComeBackSpreadOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const clients = 400
		server := clienttest.NewServer(clienttest.Config{})
		var all []*client.ReconnectingClient
		var conns []*clienttest.Conn
		for range clients {
			c, err := client.New(client.ReconnectConfig{
				URL: server.URL(), HTTPClient: server.HTTPClient(), Logger: slog.New(slog.DiscardHandler),
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
			all, conns = append(all, c), append(conns, conn)
		}
		lost := time.Now()
		for _, conn := range conns {
			conn.Cut()
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		var tenths [10]int
		for _, a := range server.Attempts()[clients:] {
			if d := a.At.Sub(lost); d <= time.Second {
				tenths[min(int(d*10/time.Second), 9)]++
			} else {
				t.Errorf("an attempt after %v, want them within the first backoff of 1 s", d)
			}
		}
		total := 0
		for i, n := range tenths {
			total += n
			t.Log(fmt.Sprintf("%3d–%4d ms %4d ", i*100, i*100+100, n) + strings.Repeat("#", n))
			// Each has 40 in the mean, and a standard deviation of 6.
			if n < 4 || n > 100 {
				t.Errorf("tenth %d: got %d attempts, want about 40", i, n)
			}
		}
		if total != clients {
			t.Errorf("got %d attempts, want one each", total)
		}
		for _, c := range all {
			_ = c.Close()
			_ = c.Wait(t.Context())
		}
		server.Close()
	})
}
