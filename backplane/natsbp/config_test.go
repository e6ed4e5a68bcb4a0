package natsbp_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"forge.lthn.ai/core/go-ws/backplane/natsbp"
	"forge.lthn.ai/core/go-ws/hub"
)

const url = "nats://127.0.0.1:4222"

func TestNewNamesTheSettingThatCannotWork(t *testing.T) {
	for _, c := range []struct {
		cfg  natsbp.Config
		want string
	}{
		{natsbp.Config{}, "Config.URL"},
		{natsbp.Config{URL: " , "}, "Config.URL"},
		{natsbp.Config{URL: "redis://127.0.0.1"}, "Config.URL: server 1 has the scheme"},
		{natsbp.Config{URL: url + ",nats://"}, "Config.URL: server 2"},
		{natsbp.Config{URL: url, Prefix: "a..b"}, "Config.Prefix"},
		{natsbp.Config{URL: url, Prefix: "a.*"}, "Config.Prefix"},
		{natsbp.Config{URL: url, Prefix: "a b"}, "Config.Prefix"},
		{natsbp.Config{URL: url, Prefix: "_INBOX.a"}, "Config.Prefix"},
		{natsbp.Config{URL: url, Prefix: "$SYS"}, "Config.Prefix"},
		{natsbp.Config{URL: url, Prefix: strings.Repeat("x", 65)}, "Config.Prefix"},
		{natsbp.Config{URL: url, PendingMessages: -1}, "Config.PendingMessages"},
		{natsbp.Config{URL: url, PendingBytes: -1}, "Config.PendingBytes"},
		{natsbp.Config{URL: url, ProbeTimeout: -1}, "Config.ProbeTimeout"},
		{natsbp.Config{URL: url, Options: []nats.Option{nats.NoEcho()}}, "nats.NoEcho"},
		{natsbp.Config{URL: url, Options: []nats.Option{nats.NoReconnect()}}, "nats.NoReconnect"},
		{natsbp.Config{URL: url, Options: []nats.Option{nats.MaxReconnects(3)}}, "nats.MaxReconnects(3)"},
		{natsbp.Config{URL: url, Options: []nats.Option{nats.ReconnectBufSize(1 << 20)}}, "nats.ReconnectBufSize"},
	} {
		b, err := natsbp.New(c.cfg)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("New(%+v): got %v, want an error that names %s", c.cfg, err, c.want)
		}
		if b != nil {
			t.Errorf("New(%+v): got a backplane beside the error", c.cfg)
		}
	}
}

func TestNewTakesWhatWorks(t *testing.T) {
	for _, cfg := range []natsbp.Config{
		{URL: url},
		{URL: "127.0.0.1, tls://a.example:4443,nats://user:p%40ss@b.example"},
		{URL: "wss://a.example"},
		{URL: url, Prefix: "team-1.ws_2", ProbeInterval: -1},
		{URL: url, Options: []nats.Option{nats.MaxReconnects(-1), nats.ReconnectBufSize(-1), nats.Token("x"), nil}},
	} {
		b, err := natsbp.New(cfg)
		if err != nil {
			t.Errorf("New(%+v): got %v, want nil", cfg, err)
			continue
		}
		if err := b.Close(); err != nil {
			t.Errorf("Close: got %v, want nil", err)
		}
	}
}

func TestABadURLIsNotShown(t *testing.T) {
	for _, bad := range []string{
		"nats://user:hunter2@[::1", "nats://user:hunter2@host:port", "nats://user:hunter2%zz@host",
		"nats://user:hunter2/@host", "user:hunter2@", "ftp://user:hunter2@host", "nats://hunter2@",
	} {
		_, err := natsbp.New(natsbp.Config{URL: bad})
		if err == nil {
			t.Errorf("New with a bad URL: got nil, want an error")
			continue
		}
		if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("error of New: got %q, want no password in it", err)
		}
	}
}

func TestUseBeforeStartIsUnavailable(t *testing.T) {
	b, err := natsbp.New(natsbp.Config{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	ctx := context.Background()
	if _, err := b.Publish(ctx, hub.Publication{Topic: "c:x"}); !errors.Is(err, hub.ErrUnavailable) {
		t.Errorf("Publish: got %v, want %v", err, hub.ErrUnavailable)
	}
	if err := b.Subscribe(ctx, "c:x"); !errors.Is(err, hub.ErrUnavailable) {
		t.Errorf("Subscribe: got %v, want %v", err, hub.ErrUnavailable)
	}
	if err := b.Unsubscribe(ctx, "c:x"); err != nil {
		t.Errorf("Unsubscribe: got %v, want nil", err)
	}
	if err := b.Start(ctx, nil); err == nil {
		t.Error("Start without a receiver: got nil, want an error")
	}
}

func TestTheWaitBetweenAttemptsGrowsAndIsBounded(t *testing.T) {
	for attempt := range 100 {
		want := min(50*time.Millisecond<<min(attempt, 6), 2*time.Second)
		if got := natsbp.ReconnectDelay(attempt); got < want/2 || got > want {
			t.Errorf("attempt %d: got %v, want %v to %v", attempt, got, want/2, want)
		}
	}
}
