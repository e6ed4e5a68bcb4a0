package hub

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	mathrand "math/rand/v2"
	"net/http"
	"net/netip"
	"strconv"
	"time"
	"unicode/utf8"

	"forge.lthn.ai/core/go-ws/hub/wire"
)

// Subprotocol is the WebSocket subprotocol of version 1. A client that
// negotiates none speaks it too.
const Subprotocol = "go-ws.v1.json"

// serve takes one upgrade request. The order of its checks is from cheap to
// dear, and what a stranger can learn from an answer is what it knows already.
func (h *Hub) serve(w http.ResponseWriter, r *http.Request) {
	handshakes := h.count.handshakes.Add(1)
	defer h.count.handshakes.Add(-1)
	switch {
	case h.Ready() != nil:
		h.refuse(w, r, RefusedNotRunning, http.StatusServiceUnavailable)
		return
	case handshakes > int64(h.cfg.MaxHandshakes):
		h.refuse(w, r, RefusedHandshakes, http.StatusServiceUnavailable)
		return
	case !h.originAllowed(r):
		h.refuse(w, r, RefusedOrigin, http.StatusForbidden)
		return
	}
	result, ok := h.authenticate(w, r)
	if !ok {
		return
	}
	address := h.clientAddress(r)
	place, cause := h.seats.take(&h.cfg, result.UserID, address)
	if cause != "" {
		status := http.StatusTooManyRequests
		if cause == RefusedClients {
			status = http.StatusServiceUnavailable
		}
		h.refuse(w, r, cause, status)
		return
	}
	conn, err := h.cfg.Transport.Accept(w, r, AcceptOptions{
		Subprotocols: []string{Subprotocol},
		ReadLimit:    int64(h.cfg.MaxMessageBytes),
		WriteTimeout: h.cfg.WriteTimeout,
	})
	if err != nil {
		h.seats.give(place)
		h.refused(RefusedUpgrade)
		h.cfg.Logger.Debug("upgrade failed", slog.Any("error", err))
		return
	}
	h.admit(r, conn, result, place, address)
}

// authenticate asks the Authenticator and answers a refusal.
func (h *Hub) authenticate(w http.ResponseWriter, r *http.Request) (AuthResult, bool) {
	if h.cfg.Authenticator == nil {
		return AuthResult{Valid: true}, true
	}
	ctx, cancel := context.WithTimeout(r.Context(), h.cfg.HandshakeTimeout)
	defer cancel()
	defer context.AfterFunc(h.forced, cancel)()
	r = r.WithContext(ctx)
	result := AuthResult{Error: errPanicked}
	h.contain("Authenticate", func() { result = h.cfg.Authenticator.Authenticate(r) })
	if r.Context().Err() != nil {
		// Whatever it says, it says for want of time: credentials that may be
		// good are not called bad.
		h.refuse(w, r, RefusedAuth, http.StatusServiceUnavailable)
		return result, false
	}
	expired := !result.ExpiresAt.IsZero() && !result.ExpiresAt.After(time.Now())
	nameable := len(result.UserID) <= wire.MaxChannel && utf8.ValidString(result.UserID)
	switch {
	case result.Valid && !expired && nameable:
		return result, true
	case result.Valid && expired:
		result.Valid, result.Error = false, errors.New("credentials expired")
	case result.Valid:
		result.Valid, result.Error = false, errors.New("user id is too long or not UTF-8")
	}
	if f := h.cfg.OnAuthFailure; f != nil {
		h.contain("OnAuthFailure", func() { f(r, result) })
	}
	status := http.StatusUnauthorized
	switch {
	case errors.Is(result.Error, ErrUnavailable):
		status = http.StatusServiceUnavailable
	case errors.Is(result.Error, ErrForbidden):
		status = http.StatusForbidden
	default:
		challenge := result.Challenge
		if challenge == "" {
			challenge = "Bearer"
		}
		w.Header().Set("WWW-Authenticate", challenge)
	}
	h.refuse(w, r, RefusedAuth, status)
	return result, false
}

// refuse answers a request that is not upgraded. The text says which of the
// hub's checks it was, never why a credential was refused.
func (h *Hub) refuse(w http.ResponseWriter, r *http.Request, cause RefusalCause, status int) {
	h.refused(cause)
	h.cfg.Logger.Debug("request refused", slog.String("cause", string(cause)), slog.String("remote", r.RemoteAddr))
	if status == http.StatusServiceUnavailable || status == http.StatusTooManyRequests {
		w.Header().Set("Retry-After", strconv.Itoa(1+mathrand.IntN(5)))
	}
	http.Error(w, http.StatusText(status)+": "+string(cause), status)
}

// admit makes a client of a connection.
func (h *Hub) admit(r *http.Request, conn Conn, result AuthResult, place seat, address netip.Addr) {
	now := time.Now()
	c := &Client{
		hub:         h,
		id:          h.id + "." + rand.Text(),
		userID:      result.UserID,
		claims:      result.Claims,
		address:     address,
		conn:        conn,
		expiresAt:   result.ExpiresAt,
		connectedAt: now,
		seat:        place,
		rate:        newRateLimit(&h.cfg, now),
		subs:        make(map[string]*subscription),
		ready:       make(chan struct{}),
	}
	c.out.drained = make(chan struct{})
	c.in.idle = make(chan struct{})
	c.ctx, c.cancel = context.WithCancel(context.WithoutCancel(r.Context()))
	if !h.enter(c) {
		// The hub began to drain while this client was being upgraded.
		h.seats.give(place)
		h.refused(RefusedNotRunning)
		c.cancel()
		conn.Start(nobody{})
		c.closeConn(restart(h.cfg.DrainSpread))
		return
	}
	var refusal error
	if f := h.cfg.OnConnect; f != nil {
		refusal = errPanicked
		ctx, cancel := context.WithTimeout(c.ctx, h.cfg.HandshakeTimeout)
		h.contain("OnConnect", func() { refusal = f(ctx, c) })
		if refusal != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
			refusal = fmt.Errorf("%w: OnConnect took too long: %w", ErrUnavailable, refusal)
		}
		cancel()
	}
	if refusal != nil {
		h.refused(RefusedByApplication)
		if _, visible := errors.AsType[*RequestError](refusal); !visible {
			h.callbackFailed("OnConnect", refusal)
		}
		e := ending{reason: DisconnectedByServer, code: wire.ClosePolicy, text: "refused", flush: true, cause: refusal}
		if errors.Is(refusal, ErrUnavailable) {
			e.code, e.text = wire.CloseTryAgainLater, "try again later"
		}
		c.end(e)
	} else {
		c.admitted = true
		h.count.connected.Add(1)
		if observe := h.cfg.Observer.Connected; observe != nil {
			observe(c)
		}
	}
	conn.Start((*connReceiver)(c))
	h.heartbeat.add(c)
	close(c.ready)
}

// enter puts a client among the hub's, unless the hub is draining.
func (h *Hub) enter(c *Client) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.state != stateRunning {
		return false
	}
	h.clients.Add(1)
	h.roster.add(c)
	h.joinUser(c)
	return true
}

// nobody receives for a connection that is closed before it becomes a client's.
type nobody struct{}

func (nobody) Receive(FrameType, []byte) bool { return true }
func (nobody) Writable()                      {}
func (nobody) Closed(error)                   {}
