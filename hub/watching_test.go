package hub_test

import (
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"forge.lthn.ai/core/go-ws/hub"
	"forge.lthn.ai/core/go-ws/hub/hubtest"
	"forge.lthn.ai/core/go-ws/hub/wire"
)

func wantWatched(t *testing.T, h *hub.Hub, blocked, standing int) {
	t.Helper()
	synctest.Wait()
	if b, s := h.Watched(); b != blocked || s != standing {
		t.Errorf("got %d clients watched for their full socket and %d on the wheel, want %d and %d", b, s, blocked, standing)
	}
}

// A full socket is watched from the moment that it is found full until it is
// writable again, however often that happens.
func TestOnlyFullSocketsAreWatched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		transport := &hubtest.Transport{Window: 100}
		h := inBubble(t, hub.Config{Transport: transport, WriteTimeout: 10 * time.Second, OutboxMessages: 1000})
		slow, quick := dialled(t, transport, h), dialled(t, transport, h)
		send := func() {
			for range 20 {
				if _, err := h.Broadcast(t.Context(), hub.Message{Data: "0123456789"}); err != nil {
					t.Fatalf("broadcast: %v", err)
				}
			}
			synctest.Wait()
		}
		wantWatched(t, h, 0, 2)
		for range 30 {
			slow.Stall()
			send()
			wantWatched(t, h, 1, 2)
			// Nearly too long, thirty times: the time counts from when the
			// socket became full, not from the first time.
			time.Sleep(9 * time.Second)
			wantWatched(t, h, 1, 2)
			slow.Unstall()
			synctest.Wait()
			time.Sleep(time.Second)
			wantWatched(t, h, 0, 2)
		}
		if got := slow.Stats().Frames; got != 600 {
			t.Errorf("the slow client: got %d messages, want all 600", got)
		}
		slow.Stall()
		send()
		time.Sleep(11 * time.Second)
		wantWatched(t, h, 0, 1) // closed, and forgotten at once
		slow.Unstall()
		for {
			if _, _, err := slow.Receive(t.Context()); err != nil {
				if e, ok := errors.AsType[*hub.CloseError](err); !ok || e.Code != wire.CloseSlowClient {
					t.Errorf("the slow client: got %v, want close %d", err, wire.CloseSlowClient)
				}
				break
			}
		}
		if got := quick.Stats().Frames; got != 620 {
			t.Errorf("the quick client: got %d messages, want all 620", got)
		}
		quick.Cut()
		synctest.Wait()
		wantWatched(t, h, 0, 0)
	})
}

// Whatever clients do, the wheel holds each once and nobody who has gone.
func TestTheWheelHoldsThoseWhoAreThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := seeded(t)
		transport := hubtest.NewTransport()
		h := inBubble(t, hub.Config{
			Transport: transport, HeartbeatInterval: time.Second, PongTimeout: 3 * time.Second,
			Authenticator: hub.AuthenticatorFunc(func(*http.Request) hub.AuthResult {
				result := hub.AuthResult{Valid: true}
				if r.IntN(3) == 0 {
					result.ExpiresAt = time.Now().Add(1 + time.Duration(r.Int64N(int64(20*time.Second))))
				}
				return result
			}),
		})
		var peers []*hubtest.Peer
		for range 400 {
			switch p := r.IntN(10); {
			case p < 6:
				peers = append(peers, dialled(t, transport, h))
			case p < 7 && len(peers) > 0:
				peers[r.IntN(len(peers))].Cut()
			case p < 8 && len(peers) > 0:
				peers[r.IntN(len(peers))].SetSilent(true)
			default:
				time.Sleep(time.Duration(r.Int64N(int64(500 * time.Millisecond))))
			}
			synctest.Wait()
			if _, standing := h.Watched(); standing != h.ClientCount() {
				t.Fatalf("got %d on the wheel, want the %d clients that are there", standing, h.ClientCount())
			}
		}
	})
}

// pinged is a transport whose connections call back when they are pinged.
type pinged struct {
	*hubtest.Transport
	called func()
}

func (t pinged) Accept(w http.ResponseWriter, r *http.Request, o hub.AcceptOptions) (hub.Conn, error) {
	conn, err := t.Transport.Accept(w, r, o)
	return pingedConn{conn, t.called}, err
}

type pingedConn struct {
	hub.Conn
	called func()
}

func (c pingedConn) Ping() error {
	c.called()
	return c.Conn.Ping()
}

func TestAClientThatGoesWhileItIsPingedIsNotPutBackOnTheWheel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		peer := make(chan *hubtest.Peer, 1)
		gone := make(chan struct{})
		transport := pinged{Transport: hubtest.NewTransport(), called: func() {
			(<-peer).Cut()
			<-gone
		}}
		h := inBubble(t, hub.Config{
			Transport:    transport,
			OnDisconnect: func(*hub.Client, hub.DisconnectReason) { close(gone) },
		})
		peer <- dialled(t, transport.Transport, h)
		<-gone
		wantWatched(t, h, 0, 0)
	})
}
