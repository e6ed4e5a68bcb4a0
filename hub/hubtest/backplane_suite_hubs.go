package hubtest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"time"

	"forge.lthn.ai/core/go-ws/hub"
)

// suiteHub is a hub on the backplane under test.
type suiteHub struct {
	*hub.Hub
	e         *backplaneEnv
	transport *Transport
	stop      func()
}

// runHub runs a hub until the check is over, or stop is called.
func (e *backplaneEnv) runHub() *suiteHub {
	e.Helper()
	s := &suiteHub{e: e, transport: NewTransport()}
	bp := e.h.New(e.TB)
	e.Cleanup(func() { e.within("Close", func() { bp.Close() }) })
	h, err := hub.New(hub.Config{
		Transport: s.transport,
		Backplane: bp,
		Logger:    slog.New(slog.DiscardHandler),
		Authenticator: hub.AuthenticatorFunc(func(r *http.Request) hub.AuthResult {
			return hub.AuthResult{Valid: true, UserID: r.URL.Query().Get("user")}
		}),
	})
	if err != nil {
		e.Fatalf("hub.New: got %v, want nil", err)
	}
	s.Hub = h
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan struct{})
	go func() {
		defer close(ran)
		if err := h.Run(ctx); err != nil {
			e.Errorf("hub.Run: got %v, want nil", err)
		}
	}()
	s.stop = func() {
		cancel()
		e.wait("the end of a hub", ran)
	}
	e.Cleanup(s.stop)
	e.wait("the start of a hub", h.Started())
	return s
}

// dial connects a client of a user.
func (s *suiteHub) dial(user string) *Peer {
	s.e.Helper()
	peer, answer := s.transport.Dial(s.Handler(), httptest.NewRequest(http.MethodGet, "/ws?user="+user, nil))
	if peer == nil {
		s.e.Fatalf("connecting to a hub: got %d, want an upgrade", answer.Status)
	}
	return peer
}

// wantCount tries until a count over all hubs is as wanted.
func (s *suiteHub) wantCount(user string, want hub.Count) {
	s.e.Helper()
	s.e.eventually("counting over all hubs", func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		got, err := s.CountUserClients(ctx, user)
		if err == nil && got != want {
			err = fmt.Errorf("%+v, not %+v", got, want)
		}
		return err
	})
}

// Hubs find each other, count together, reach each other's clients and notice
// that one leaves. What a hub says is tried again: how much a backplane may lose
// is the other checks' matter.
func checkHubsAreOneSystem(e *backplaneEnv) {
	a, b := e.runHub(), e.runHub()
	ann := b.dial("ann")
	a.dial("bob")
	a.wantCount("ann", hub.Count{Clients: 1, Answered: 2, Known: 2})
	b.wantCount("ann", hub.Count{Clients: 1, Answered: 2, Known: 2})

	ended := make(chan error, 1)
	go func() {
		for {
			if _, _, err := ann.Receive(context.Background()); err != nil {
				ended <- err
				return
			}
		}
	}()
	e.eventually("disconnecting a user of another hub", func() error {
		if _, err := a.DisconnectUser(context.Background(), "ann", 4500, "bye"); err != nil {
			return err
		}
		timeout := time.NewTimer(time.Second)
		defer timeout.Stop()
		select {
		case err := <-ended:
			if closed, ok := errors.AsType[*hub.CloseError](err); !ok || closed.Code != 4500 || closed.Reason != "bye" {
				e.Errorf("disconnected by another hub: got %v, want 4500 and its reason", err)
			}
			return nil
		case <-timeout.C:
			return errors.New("still connected")
		}
	})
	a.wantCount("ann", hub.Count{Answered: 2, Known: 2})
	b.stop()
	a.wantCount("bob", hub.Count{Clients: 1, Answered: 1, Known: 1})
}
