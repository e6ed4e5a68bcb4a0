package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"
)

func TestFlagsWinOverEnvironmentAndEnvironmentOverDefaults(t *testing.T) {
	t.Setenv("GOWS_ADDR", "127.0.0.1:1111")
	t.Setenv("GOWS_PONG_TIMEOUT", "90s")
	t.Setenv("GOWS_API_KEYS", "fromenv=eve")
	t.Setenv("GOWS_PUBLISH_KEY", "")
	t.Setenv("GOWS_MAX_CLIENTS_PER_ADDRESS", "7")
	t.Setenv("GOWS_LOG_LEVEL", "debug")
	s, err := parse([]string{"-addr", "127.0.0.1:2222", "-api-keys", "a=ann, b==ben"})
	if err != nil {
		t.Fatal(err)
	}
	got := fmt.Sprint(s.addr, s.pongTimeout, s.apiKeys, s.publishKey, s.maxPerAddress, s.heartbeat, s.logLevel)
	want := fmt.Sprint("127.0.0.1:2222", 90*time.Second, map[string]string{"a": "ann", "b=": "ben"}, "", 7, 30*time.Second, slog.LevelDebug)
	if got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestEveryFlagHasAnEnvironmentVariable(t *testing.T) {
	for name, value := range map[string]string{
		"ADDR": "x", "BACKPLANE": "nosuch", "REDIS_URL": "x", "NATS_URL": "x", "NATS_LISTEN": "x", "NATS_TOKEN": "x", "READY_NEEDS_BACKPLANE": "x", "API_KEYS": "x", "ALLOWED_ORIGINS": "x",
		"TRUSTED_PROXIES": "x", "HEARTBEAT": "x", "PONG_TIMEOUT": "x", "DRAIN_TIMEOUT": "x", "DRAIN_SPREAD": "x", "MAX_CLIENTS": "x",
		"MAX_CLIENTS_PER_USER": "x", "MAX_CLIENTS_PER_ADDRESS": "x", "MAX_MESSAGE_BYTES": "x", "MAX_SUBSCRIPTIONS": "x",
		"MAX_MESSAGE_RATE": "x", "MAX_PUBLISH_BYTES": "x", "LOG_LEVEL": "x",
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("GOWS_"+name, value)
			if err := run(t.Context(), nil, io.Discard); err == nil {
				t.Error("a value that can't be: got no error")
			}
		})
	}
}

func TestSettingsThatCannotBeAreRefused(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"-backplane", "carrier-pigeon"}, `unknown backplane "carrier-pigeon", known: memory, nats, redis`},
		{[]string{"-backplane", "redis"}, "-redis-url: is missing"},
		{[]string{"-backplane", "redis", "-redis-url", "http://127.0.0.1"}, "-backplane redis"},
		{[]string{"-redis-url", "redis://127.0.0.1"}, "-redis-url: needs -backplane redis"},
		{[]string{"-nats-url", "nats://127.0.0.1"}, "-nats-url: needs -backplane nats"},
		{[]string{"-nats-listen", "127.0.0.1:0"}, "-nats-listen: needs -backplane nats"},
		{[]string{"-backplane", "redis", "-redis-url", "redis://127.0.0.1", "-nats-token", "feather"}, "-nats-token: needs -backplane nats"},
		{[]string{"-backplane", "nats", "-nats-url", "nats://127.0.0.1", "-nats-token", "feather"}, "-nats-token: is for the gateway's own server"},
		{[]string{"-backplane", "nats", "-nats-url", "nats://127.0.0.1", "-nats-listen", "127.0.0.1:0"}, "-nats-listen: is for the gateway's own server"},
		{[]string{"-backplane", "nats", "-nats-listen", "0.0.0.0:0"}, "needs a token"},
		{[]string{"-backplane", "nats", "-nats-listen", ":0"}, "needs a token"},
		{[]string{"-backplane", "nats", "-nats-listen", "127.0.0.1"}, "-nats-listen"},
		{[]string{"-backplane", "nats", "-nats-listen", "127.0.0.1:what"}, "-nats-listen"},
		{[]string{"-nosuch"}, "-nosuch"},
		{[]string{"serve"}, `unexpected argument "serve"`},
		{[]string{"-api-keys", "justakey"}, "entry 1 is not key=user"},
		{[]string{"-api-keys", "a=ann,=ben"}, "entry 2 is not key=user"},
		{[]string{"-api-keys", "a=ann,b="}, "entry 2 is not key=user"},
		{[]string{"-api-keys", "a=ann,a=ben"}, "the key of entry 2 is there twice"},
		{[]string{"-api-keys", "a=ann,schlüssel=ben"}, "the key of entry 2 has characters"},
		{[]string{"-api-keys", "two words=ann"}, "the key of entry 1 has characters"},
		{[]string{"-api-keys", ","}, "no keys"},
		{[]string{"-publish-key", " quill"}, "-publish-key: has characters"},
		{[]string{"-trusted-proxies", "10.0.0.0/8,proxy.example"}, `"proxy.example" is neither a network nor an address`},
		{[]string{"-max-clients", "0"}, "-max-clients: must be at least 1"},
		{[]string{"-max-clients-per-user", "-1"}, "-max-clients-per-user: must be at least 0"},
		{[]string{"-heartbeat", "-1s"}, "-heartbeat: must be at least 0"},
		{[]string{"-heartbeat", "60s", "-pong-timeout", "30s"}, "PongTimeout"},
		{[]string{"-allowed-origins", "example.com"}, "AllowedOrigins"},
		{[]string{"-addr", "nowhere"}, "-addr"},
		{[]string{"-log-level", "loud"}, `invalid value "loud" for flag -log-level: must be debug, info, warn or error`},
	} {
		err := refusal(t, c.args...)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: got %v, want an error with %q", c.args, err, c.want)
		}
	}
}

func TestErrorsDoNotShowKeys(t *testing.T) {
	for _, keys := range []string{"sesame", "sesame=", "sesame=ann,sesame=ben"} {
		_, err := parse([]string{"-api-keys", keys})
		if err == nil || strings.Contains(err.Error(), "sesame") {
			t.Errorf("%q: got %v, want an error without the key", keys, err)
		}
	}
}

func TestHelpIsNoFailure(t *testing.T) {
	if err := run(t.Context(), []string{"-h"}, io.Discard); !errors.Is(err, flag.ErrHelp) {
		t.Errorf("got %v, want flag.ErrHelp", err)
	}
}

func TestTrustedProxiesAreNetworksOrAddresses(t *testing.T) {
	s, err := parse([]string{"-trusted-proxies", "10.0.0.0/8, 127.0.0.1,::1"})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := fmt.Sprint(s.trustedProxies), "[10.0.0.0/8 127.0.0.1/32 ::1/128]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestZeroMeansNoneWhereTheHubHasADefault(t *testing.T) {
	s, err := parse([]string{"-heartbeat", "0", "-pong-timeout", "0", "-drain-timeout", "0", "-drain-spread", "0", "-max-message-rate", "0"})
	if err != nil {
		t.Fatal(err)
	}
	c := s.hubConfig(nil, nil, nil)
	for name, value := range map[string]int64{
		"HeartbeatInterval": int64(c.HeartbeatInterval), "PongTimeout": int64(c.PongTimeout), "DrainTimeout": int64(c.DrainTimeout),
		"DrainSpread": int64(c.DrainSpread), "MaxMessagesPerSecond": int64(c.MaxMessagesPerSecond),
	} {
		if value >= 0 {
			t.Errorf("%s: got %d, want it switched off", name, value)
		}
	}
}
