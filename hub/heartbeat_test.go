package hub_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"forge.lthn.ai/core/go-ws/hub"
	"forge.lthn.ai/core/go-ws/hub/wire"
)

func TestQuietClientsArePingedOnceAnIntervalAndStay(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := start(t, hub.Config{})
		peers := make([]*peer, 50)
		for i := range peers {
			peers[i] = w.connect()
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		for _, p := range peers {
			// 120 intervals of 30 s; a ping may come a tick late.
			if n := p.Stats().Pings; n < 115 || n > 121 {
				t.Fatalf("%d pings in an hour, want about 120", n)
			}
		}
		if n := w.ClientCount(); n != 50 {
			t.Errorf("%d clients, want all 50", n)
		}
	})
}

func TestPingsAreSpreadOverTheInterval(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := start(t, hub.Config{})
		const n = 3000
		peers := make([]*peer, n)
		for i := range peers {
			peers[i] = w.connect()
		}
		most, before := 0, 0
		for range 30 {
			time.Sleep(time.Second)
			synctest.Wait()
			pings := 0
			for _, p := range peers {
				pings += p.Stats().Pings
			}
			most, before = max(most, pings-before), pings
		}
		// 100 a second on average; all at once would be 3000.
		if most > 300 {
			t.Errorf("%d pings within one second, want at most 300", most)
		}
		if before < n*9/10 || before > n*11/10 {
			t.Errorf("%d pings in an interval, want about %d", before, n)
		}
	})
}

func TestASilentClientIsClosedAfterPongTimeout(t *testing.T) {
	bubble(t, func(t *testing.T) {
		gone := make(chan hub.DisconnectReason, 1)
		w := start(t, hub.Config{OnDisconnect: func(_ *hub.Client, r hub.DisconnectReason) { gone <- r }})
		p := w.on("news")
		p.SetSilent(true)
		p.Stall()
		began := time.Now()
		for w.ClientCount() > 0 {
			time.Sleep(100 * time.Millisecond)
		}
		if took := time.Since(began); took < 59*time.Second || took > 62*time.Second {
			t.Errorf("gone after %v, want 60s and two ticks at most", took)
		}
		if got := <-gone; got != hub.DisconnectedSilent {
			t.Errorf("reason %q, want silent", got)
		}
		if s := w.Stats(); s.Channels != 0 || s.Disconnected[hub.DisconnectedSilent] != 1 {
			t.Errorf("Stats %+v, want nothing left", s)
		}
		if took := time.Since(began); took > 75*time.Second {
			t.Errorf("cleaned up after %v, want PongTimeout and WriteTimeout at most", took)
		}
	})
}

func TestAnyInboundTrafficCountsAsLife(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := start(t, hub.Config{HeartbeatInterval: -1, PongTimeout: 20 * time.Second})
		p := w.connect()
		p.SetSilent(true)
		for range 20 {
			time.Sleep(15 * time.Second)
			p.send(`{"type":"ping"}`)
			p.want(hub.TypePong, "")
		}
		p.wantClosed(wire.ClosePongTimeout)
		if n := p.Stats().Pings; n != 0 {
			t.Errorf("%d pings with HeartbeatInterval off, want none", n)
		}
	})
}

func TestAClientThatTheHubDoesNotReadFromIsNotSilent(t *testing.T) {
	bubble(t, func(t *testing.T) {
		release := make(chan struct{})
		w := start(t, hub.Config{
			MaxMessagesPerSecond: -1,
			OnMessage: func(context.Context, *hub.Client, wire.Frame) (*hub.Message, error) {
				<-release
				return nil, nil
			},
		})
		p := w.connect()
		for range 200 {
			p.send(`{"type":"work"}`)
		}
		time.Sleep(10 * time.Minute)
		if n := w.ClientCount(); n != 1 {
			t.Fatalf("%d clients after a long pause, want 1", n)
		}
		close(release)
		time.Sleep(10 * time.Minute)
		if n := w.ClientCount(); n != 1 {
			t.Errorf("%d clients after the pause, want 1", n)
		}
	})
}

func TestPongTimeoutCanBeOff(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := start(t, hub.Config{PongTimeout: -1})
		p := w.connect()
		p.SetSilent(true)
		time.Sleep(time.Hour)
		if w.ClientCount() != 1 || p.Stats().Pings < 110 {
			t.Errorf("%d clients, %d pings, want 1 and about 120", w.ClientCount(), p.Stats().Pings)
		}
	})
}

func TestHeartbeatsOfSecondsAreKept(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := start(t, hub.Config{HeartbeatInterval: time.Second, PongTimeout: 2 * time.Second})
		p, silent := w.connect(), w.connect()
		silent.SetSilent(true)
		began := time.Now()
		silent.wantClosed(wire.ClosePongTimeout)
		if took := time.Since(began); took < 2*time.Second || took > 2200*time.Millisecond {
			t.Errorf("closed after %v, want 2s and two ticks at most", took)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if n := p.Stats().Pings; n < 57 || n > 63 {
			t.Errorf("%d pings in a minute, want about 62", n)
		}
	})
}
