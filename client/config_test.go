package client_test

import (
	"math"
	"net/http"
	"strings"
	"testing"
	"time"

	"forge.lthn.ai/core/go-ws/client"
)

func TestConfigThatCannotWorkNamesItsField(t *testing.T) {
	for field, cfg := range map[string]client.ReconnectConfig{
		"URL":                 {URL: "example.com/ws"},
		"InitialBackoff":      {InitialBackoff: -1},
		"MaxBackoff":          {InitialBackoff: time.Minute, MaxBackoff: time.Second},
		"BackoffMultiplier":   {BackoffMultiplier: 0.5},
		"MaxRetries":          {MaxRetries: -1},
		"StableAfter":         {StableAfter: -1},
		"MaxServerDelay":      {MaxServerDelay: -1},
		"HandshakeTimeout":    {HandshakeTimeout: -1},
		"PongTimeout":         {PongTimeout: -1},
		"WriteTimeout":        {WriteTimeout: -1},
		"QueueMessages":       {QueueMessages: -1},
		"QueueBytes":          {QueueBytes: -1},
		"ReadLimit":           {ReadLimit: -1},
		"HandlerBacklog":      {HandlerBacklog: -1},
		"HandlerBacklogBytes": {HandlerBacklogBytes: -1},
		"Overflow":            {Overflow: 7},
	} {
		if cfg.URL == "" {
			cfg.URL = "ws://127.0.0.1/ws"
		}
		c, err := client.New(cfg)
		if c != nil || err == nil || !strings.Contains(err.Error(), "ReconnectConfig."+field+":") && !strings.Contains(err.Error(), "ReconnectConfig."+field+" is") {
			t.Errorf("%s: got %v, want an error that names it", field, err)
		}
	}
	for _, m := range []float64{math.NaN(), math.Inf(1), -2} {
		if _, err := client.New(client.ReconnectConfig{URL: "ws://127.0.0.1/ws", BackoffMultiplier: m}); err == nil {
			t.Errorf("a multiplier of %v: got nil, want an error", m)
		}
	}
	if _, err := client.New(client.ReconnectConfig{}); err == nil {
		t.Error("no URL: got nil, want an error")
	}
}

func TestALongInitialBackoffIsTheMaximumToo(t *testing.T) {
	if _, err := client.New(client.ReconnectConfig{URL: "ws://127.0.0.1/ws", InitialBackoff: time.Hour}); err != nil {
		t.Errorf("New: got %v, want nil", err)
	}
}

func TestRetryAfterIsSecondsOrADate(t *testing.T) {
	now := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	at := func(d time.Duration) string { return now.Add(d).Format(http.TimeFormat) }
	for _, c := range []struct {
		value, date string
		want        time.Duration
	}{
		{"7", "", 7 * time.Second}, {" 7 ", "", 7 * time.Second}, {"0", "", 0},
		{"", "", 0}, {"-7", "", 0}, {"7.5", "", 0}, {"soon", "", 0},
		{"99999999999999999999", "", 365 * 24 * time.Hour}, {"9223372036854775807", "", 365 * 24 * time.Hour},
		{at(90 * time.Second), "", 90 * time.Second},
		{at(-90 * time.Second), "", 0},
		// The server's clock is an hour ahead of ours.
		{at(time.Hour + 5*time.Second), at(time.Hour), 5 * time.Second},
		{at(5 * time.Second), "nonsense", 5 * time.Second},
	} {
		h := http.Header{}
		h.Set("Retry-After", c.value)
		h.Set("Date", c.date)
		if got := client.ParseRetryAfter(h, now); got != c.want {
			t.Errorf("Retry-After %q, Date %q: got %v, want %v", c.value, c.date, got, c.want)
		}
	}
}
