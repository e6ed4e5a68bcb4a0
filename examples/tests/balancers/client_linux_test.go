package balancers_test

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/http/cookiejar"
	"testing"

	"nhooyr.io/websocket"
)

// visitor is a person's browser: an address, and cookies that it keeps.
type visitor struct {
	jar  http.CookieJar
	from string
}

func newVisitor(t *testing.T) *visitor {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &visitor{jar: jar, from: "127.0.0.1"}
}

// client is one connection of a visitor.
type client struct {
	t    *testing.T
	conn *websocket.Conn
}

// try connects by the balancer and returns its answer. Headers come in pairs.
func (v *visitor) try(t *testing.T, addr string, headers ...string) (*client, *http.Response) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), bound)
	defer cancel()
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(v.from)}}
	header := http.Header{}
	for i := 0; i < len(headers); i += 2 {
		header.Add(headers[i], headers[i+1])
	}
	conn, answer, err := websocket.Dial(ctx, "ws://"+addr+"/ws", &websocket.DialOptions{
		HTTPClient: &http.Client{Jar: v.jar, Transport: &http.Transport{DialContext: dialer.DialContext, DisableKeepAlives: true}},
		HTTPHeader: header,
	})
	if answer == nil {
		t.Fatalf("connecting by the balancer: %v", err)
	}
	if err != nil {
		return nil, answer
	}
	t.Cleanup(func() { conn.CloseNow() })
	return &client{t, conn}, answer
}

func (v *visitor) dial(t *testing.T, addr string, headers ...string) *client {
	t.Helper()
	c, answer := v.try(t, addr, headers...)
	if c == nil {
		t.Fatalf("connecting by the balancer: got %s, want 101", answer.Status)
	}
	return c
}

type frame struct {
	Type, Channel string
	Data          json.RawMessage
}

func (c *client) read() (frame, error) {
	ctx, cancel := context.WithTimeout(c.t.Context(), bound)
	defer cancel()
	var f frame
	_, text, err := c.conn.Read(ctx)
	if err != nil {
		return f, err
	}
	return f, json.Unmarshal(text, &f)
}

// join subscribes, and returns when the hub hears the channel from all hubs.
func (c *client) join(channel string) {
	c.t.Helper()
	if err := c.conn.Write(c.t.Context(), websocket.MessageText, []byte(`{"type":"subscribe","data":"`+channel+`"}`)); err != nil {
		c.t.Fatal(err)
	}
	if f, err := c.read(); err != nil || f.Type != "subscribed" || f.Data != nil {
		c.t.Fatalf("subscribing: got %+v, %v, want subscribed at all hubs", f, err)
	}
}

// hears wants the next frame to be this message.
func (c *client) hears(channel, text string) {
	c.t.Helper()
	want, _ := json.Marshal(text)
	if f, err := c.read(); err != nil || f.Type != "event" || f.Channel != channel || string(f.Data) != string(want) {
		c.t.Fatalf("got %s %s %s, %v, want event %s %s", f.Type, f.Channel, f.Data, err, channel, want)
	}
}

// closed waits until the connection has ended, and returns the close frame, or
// an empty one where the connection was cut.
func (c *client) closed() websocket.CloseError {
	c.t.Helper()
	for {
		_, err := c.read()
		if errors.Is(err, context.DeadlineExceeded) {
			c.t.Fatalf("the connection has not ended after %v", bound)
		}
		if err != nil {
			var end websocket.CloseError
			errors.As(err, &end)
			return end
		}
	}
}
