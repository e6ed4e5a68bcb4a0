package client

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"nhooyr.io/websocket"
)

// keepConnected connects again and again, and returns why it does so no more.
func (c *ReconnectingClient) keepConnected() error {
	delays := newBackoff(&c.cfg, c.draw)
	var last error // why the attempt or the connection before has ended
	connections, attempts := 0, 0
	for {
		if err := c.settle(); err != nil {
			return err
		}
		attempts++
		c.setState(StateConnecting, nil)
		s, err := c.dial(last)
		if err == nil {
			c.connected(s, connections, attempts)
			began := time.Now()
			connections, attempts = connections+1, 0
			err = c.serve(s)
			if time.Since(began) >= c.cfg.StableAfter {
				delays.lasted()
			}
			c.disconnected(err)
		} else {
			c.setState(StateDisconnected, nil)
			c.log.Info("connecting failed", "url", safeURL(c.cfg.URL), "attempt", attempts, "error", err)
		}
		if c.life.Err() != nil {
			return c.asked()
		}
		v := judge(err, c.cfg.Credentials != nil)
		if v.final {
			if errors.Is(err, ErrRefused) {
				return err
			}
			return fmt.Errorf("%w: %w", ErrRefused, err)
		}
		if attempts > 0 {
			c.report(err)
		}
		last = err
		if c.cfg.MaxRetries > 0 && delays.retries >= c.cfg.MaxRetries {
			return fmt.Errorf("%w: %w", ErrTooManyRetries, err)
		}
		if err := c.sleep(delays.next(v)); err != nil {
			return err
		}
	}
}

// asked is why the client was told to end.
func (c *ReconnectingClient) asked() error {
	if errors.Is(context.Cause(c.life), ErrClosed) {
		return ErrClosed
	}
	return fmt.Errorf("client: %w", c.life.Err())
}

// settle waits until callbacks have caught up a little.
func (c *ReconnectingClient) settle() error {
	if full := c.events.full(); full != nil {
		select {
		case <-full:
		case <-c.life.Done():
		}
	}
	if c.life.Err() != nil {
		return c.asked()
	}
	return nil
}

// tick is how often the wall clock is looked at.
const tick = 5 * time.Second

// sleep waits. It wakes early when the machine has slept meanwhile.
func (c *ReconnectingClient) sleep(d time.Duration) error {
	watch := c.newWatch()
	for until := time.Now().Add(d); ; {
		left := time.Until(until)
		if left <= 0 || watch.jumped() {
			return nil
		}
		timer := time.NewTimer(min(left, tick))
		select {
		case <-timer.C:
		case <-c.life.Done():
			timer.Stop()
			return c.asked()
		}
	}
}

// watch finds out that the machine has slept: timers stand still meanwhile, the
// wall clock does not. (Somebody who sets the clock looks the same, and harms
// nothing.)
type watch struct {
	wall      func() time.Time
	at, began time.Time
}

func (c *ReconnectingClient) newWatch() *watch {
	return &watch{wall: c.wall, at: c.wall(), began: time.Now()}
}

// jumped reports whether the wall clock has run ahead since the last call.
func (w *watch) jumped() bool {
	wall, now := w.wall(), time.Now()
	ahead := wall.Sub(w.at) - now.Sub(w.began)
	w.at, w.began = wall, now
	return ahead > tick/2
}

// dial makes one attempt.
func (c *ReconnectingClient) dial(last error) (*session, error) {
	ctx, cancel := context.WithTimeout(c.life, c.cfg.HandshakeTimeout)
	defer cancel()
	target, header := c.cfg.URL, c.cfg.Header.Clone()
	if c.cfg.Credentials != nil {
		credentials, err := c.credentials(ctx, last)
		if err != nil {
			return nil, fmt.Errorf("client: getting credentials: %w", err)
		}
		if header == nil {
			header = make(http.Header)
		}
		for name, values := range credentials.Header {
			header[http.CanonicalHeaderKey(name)] = values
		}
		if len(credentials.Query) > 0 {
			target = withQuery(target, credentials.Query)
		}
	}
	own := *c.cfg.HTTPClient
	below := own.Transport
	if below == nil {
		below = http.DefaultTransport
	}
	t := &tap{RoundTripper: below}
	own.Transport = t
	conn, resp, err := websocket.Dial(ctx, target, &websocket.DialOptions{
		HTTPClient:   &own,
		HTTPHeader:   header,
		Subprotocols: c.cfg.Subprotocols,
	})
	switch {
	case err == nil:
		// The client bounds what it reads by itself.
		conn.SetReadLimit(-1)
		return newSession(conn, t.body), nil
	case resp != nil && resp.StatusCode != http.StatusSwitchingProtocols:
		err = statusError(resp)
	default:
		// An url.Error holds the URL with its query.
		if requesting, ok := errors.AsType[*url.Error](err); ok {
			err = requesting.Err
		}
	}
	return nil, fmt.Errorf("client: connecting to %s: %w", safeURL(c.cfg.URL), err)
}

// credentials calls the application's function on a goroutine of its own, so
// that the client ends while it hangs, and so that it may call Close. One call
// runs at a time.
func (c *ReconnectingClient) credentials(ctx context.Context, last error) (Credentials, error) {
	type result struct {
		Credentials
		error
	}
	select {
	case c.asking <- struct{}{}:
	case <-ctx.Done():
		return Credentials{}, errors.New("the call before has not returned yet")
	}
	got := make(chan result, 1)
	c.callbacks.Go(func() {
		credentials, err := c.cfg.Credentials(ctx, last)
		<-c.asking
		got <- result{credentials, err}
	})
	select {
	case r := <-got:
		return r.Credentials, r.error
	case <-ctx.Done():
		return Credentials{}, ctx.Err()
	}
}

func withQuery(target string, query url.Values) string {
	u, err := url.Parse(target)
	if err != nil { // New has parsed it
		return target
	}
	all := u.Query()
	for name, values := range query {
		all[name] = values
	}
	u.RawQuery = all.Encode()
	return u.String()
}

// safeURL is a URL without what may be secret in it.
func safeURL(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return "?"
	}
	return u.Scheme + "://" + u.Host + u.EscapedPath()
}
