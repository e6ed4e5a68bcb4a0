package client_test

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"forge.lthn.ai/core/go-ws/client"
	"forge.lthn.ai/core/go-ws/client/clienttest"
	"forge.lthn.ai/core/go-ws/hub/wire"
)

// bed is a client and its server in a bubble.
type bed struct {
	*testing.T
	server *clienttest.Server
	client *client.ReconnectingClient
	began  time.Time
	log    *bytes.Buffer // to be looked at when the client has ended
	heard  *record
}

// bubble runs a test with a client that is not started yet. Jitter is off, and
// delays are whole, unless the test says otherwise.
func bubble(t *testing.T, cfg client.ReconnectConfig, f func(b *bed)) {
	t.Helper()
	bubbleWith(t, clienttest.Config{}, cfg, f)
}

func bubbleWith(t *testing.T, scfg clienttest.Config, cfg client.ReconnectConfig, f func(b *bed)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := &bed{T: t, server: clienttest.NewServer(scfg), began: time.Now(), log: &bytes.Buffer{}, heard: &record{}}
		if cfg.URL == "" {
			cfg.URL = b.server.URL()
		}
		cfg.HTTPClient = b.server.HTTPClient()
		cfg.Logger = slog.New(slog.NewTextHandler(b.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
		b.record(&cfg)
		c, err := client.New(cfg)
		if err != nil {
			t.Fatalf("New: %v", err)
		}
		b.client = c
		f(b)
		if err := c.Close(); err != nil {
			t.Errorf("Close: got %v, want nil", err)
		}
		_ = c.Wait(t.Context())
		b.server.Close()
	})
}

// record is what a client told, in order.
type record struct {
	mu    sync.Mutex
	lines []string
	errs  []error
}

func (r *record) add(line string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lines = append(r.lines, line)
}

func (r *record) take() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	lines := r.lines
	r.lines = nil
	return lines
}

func (r *record) errors() []error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.errs)
}

func (b *bed) record(cfg *client.ReconnectConfig) {
	note := func(f *func(error), word string) {
		given := *f
		*f = func(err error) {
			b.heard.mu.Lock()
			b.heard.errs = append(b.heard.errs, err)
			b.heard.lines = append(b.heard.lines, word)
			b.heard.mu.Unlock()
			if given != nil {
				given(err)
			}
		}
	}
	note(&cfg.OnDisconnect, "lost")
	note(&cfg.OnError, "error")
	connect, reconnect := cfg.OnConnect, cfg.OnReconnect
	cfg.OnConnect = func() {
		b.heard.add("connect")
		if connect != nil {
			connect()
		}
	}
	cfg.OnReconnect = func(n int) {
		b.heard.add("reconnect " + string(rune('0'+n)))
		if reconnect != nil {
			reconnect(n)
		}
	}
	changed := cfg.OnStateChange
	cfg.OnStateChange = func(s client.ConnectionState) {
		b.heard.add(s.String())
		if changed != nil {
			changed(s)
		}
	}
}

// connect starts the client and returns the server's side.
func (b *bed) connect() *clienttest.Conn {
	b.Helper()
	if err := b.client.Connect(b.Context()); err != nil {
		b.Fatalf("Connect: %v", err)
	}
	return b.accepted()
}

func (b *bed) accepted() *clienttest.Conn {
	b.Helper()
	conn, err := b.server.Accepted(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	synctest.Wait()
	return conn
}

// start runs the client until it is closed.
func (b *bed) start() <-chan error {
	ran := make(chan error, 1)
	go func() { ran <- b.client.Run(b.Context()) }()
	return ran
}

// delays are the times of the attempts after the first one, each counted from
// the one before.
func (b *bed) delays() []time.Duration {
	var d []time.Duration
	attempts := b.server.Attempts()
	for i := 1; i < len(attempts); i++ {
		d = append(d, attempts[i].At.Sub(attempts[i-1].At))
	}
	return d
}

func (b *bed) wantDelays(want ...time.Duration) {
	b.Helper()
	if got := b.delays(); !slices.Equal(got, want) {
		b.Errorf("delays: got %v, want %v", got, want)
	}
}

func (b *bed) wantHeard(want ...string) {
	b.Helper()
	synctest.Wait()
	if got := b.heard.take(); !slices.Equal(got, want) {
		b.Errorf("heard: got %v, want %v", got, want)
	}
}

// next is the next frame that the client sent.
func next(t *testing.T, conn *clienttest.Conn) wire.Frame {
	t.Helper()
	f, err := conn.Next(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func (b *bed) publish(channel, text string) {
	b.Helper()
	if err := b.server.Publish(b.Context(), event(channel, text)); err != nil {
		b.Fatal(err)
	}
	synctest.Wait()
}

func event(channel, text string) wire.Frame {
	data, _ := json.Marshal(text)
	return wire.Frame{Type: wire.TypeEvent, Channel: channel, Data: data}
}

// box is a handler that remembers.
type box struct {
	mu  sync.Mutex
	got []client.Delivery
}

func (x *box) handle(_ context.Context, d client.Delivery) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.got = append(x.got, d)
}

// take returns what came since the last call, in words.
func (x *box) take() []string {
	synctest.Wait()
	x.mu.Lock()
	defer x.mu.Unlock()
	var words []string
	for _, d := range x.got {
		words = append(words, word(d))
	}
	x.got = nil
	return words
}

func word(d client.Delivery) string {
	switch {
	case d.Err != nil:
		return "error: " + d.Err.Error()
	case d.Local:
		return string(d.Type) + " local"
	case d.Type == wire.TypeEvent:
		var text string
		_ = json.Unmarshal(d.Data, &text)
		return text
	}
	return string(d.Type)
}

func wantWords(t *testing.T, x *box, want ...string) {
	t.Helper()
	if got := x.take(); !slices.Equal(got, want) {
		t.Errorf("handler: got %q, want %q", got, want)
	}
}
