package transport

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"forge.lthn.ai/core/go-ws/hub"
)

// Accept implements hub.Transport. It takes HTTP/1.1 requests on writers that
// http.ResponseController can hijack, and answers the others with an error:
// 505 for HTTP/2, 426 for a request that is no upgrade, 400, 405 or 500. It
// does not look at the request's origin.
func (t *Transport) Accept(w http.ResponseWriter, r *http.Request, o hub.AcceptOptions) (hub.Conn, error) {
	if err := checkOptions(o); err != nil {
		return nil, refuse(w, http.StatusInternalServerError, err)
	}
	h, status, err := shake(r, o.Subprotocols, t.compression)
	if err != nil {
		if status == http.StatusUpgradeRequired {
			w.Header().Set("Connection", "Upgrade")
			w.Header().Set("Upgrade", "websocket")
		}
		return nil, refuse(w, status, err)
	}
	nc, brw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return nil, refuse(w, http.StatusInternalServerError, fmt.Errorf("the connection can't be upgraded: %w", err))
	}
	if err := answer(nc, h.answer(w.Header()), o.WriteTimeout); err != nil {
		hardClose(nc)
		return nil, fmt.Errorf("transport: accept: answer: %w", err)
	}
	c := newConn(t, o)
	c.subprotocol = spelling(o.Subprotocols, h.subprotocol)
	c.out.deflate = h.deflate
	// net/http's own buffers are 4 KiB each: they go, with what they hold kept.
	early, _ := brw.Reader.Peek(brw.Reader.Buffered())
	c.adopt(nc, bytes.Clone(early))
	t.readers.enter()
	if h.deflate {
		t.deflating.Add(1)
	}
	return c, nil
}

func checkOptions(o hub.AcceptOptions) error {
	switch {
	case o.ReadLimit <= 0:
		return errors.New("AcceptOptions.ReadLimit is not positive")
	case o.WriteTimeout <= 0:
		return errors.New("AcceptOptions.WriteTimeout is not positive")
	}
	return nil
}

// refuse answers a request that is not upgraded.
func refuse(w http.ResponseWriter, status int, err error) error {
	http.Error(w, err.Error(), status)
	return fmt.Errorf("transport: accept: %w", err)
}

// spelling gives a subprotocol as the hub writes it; clients may write it in
// another case.
func spelling(offered []string, negotiated string) string {
	for _, p := range offered {
		if strings.EqualFold(p, negotiated) {
			return p
		}
	}
	return negotiated
}

// answer writes the upgrade's answer, and leaves no deadline: those that the
// server had for the request would end the connection.
func answer(nc net.Conn, response []byte, timeout time.Duration) error {
	if err := nc.SetDeadline(time.Now().Add(timeout)); err != nil {
		return err
	}
	if _, err := nc.Write(response); err != nil {
		return err
	}
	return nc.SetDeadline(time.Time{})
}

// hardClose closes a socket without ever waiting: a tls.Conn would first try
// to say goodbye.
func hardClose(nc net.Conn) {
	if t, ok := nc.(*tls.Conn); ok {
		nc = t.NetConn()
	}
	// There is nothing to be done about an error.
	_ = nc.Close()
}
