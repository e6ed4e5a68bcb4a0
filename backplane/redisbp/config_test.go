package redisbp_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"forge.lthn.ai/core/go-ws/backplane/redisbp"
	"forge.lthn.ai/core/go-ws/hub"
	"github.com/redis/go-redis/v9"
)

const secret = "s3cr3t"

func TestConfigThatCannotWorkNamesItsField(t *testing.T) {
	good := "redis://localhost"
	for want, cfg := range map[string]redisbp.Config{
		"Config.URL: is required":                             {},
		"Config.URL: and Config.Client":                       {URL: good, Client: client(nil)},
		"Config.URL: does not begin":                          {URL: "http://localhost"},
		"Config.URL: has no host":                             {URL: "redis://:6379"},
		"Config.URL: has a path that is not":                  {URL: good + "/news"},
		"Config.URL: has an address whose port":               {URL: "redis://localhost:70000"},
		"Config.URL: has a parameter other than":              {URL: good + "?max_retries=3"},
		"Config.URL: has addr, but neither":                   {URL: good + "?addr=b:1"},
		"Config.URL: has both":                                {URL: good + "?cluster=true&master_name=main"},
		"Config.URL: has a parameter cluster":                 {URL: good + "?cluster=yes!"},
		"Config.URL: has a database":                          {URL: good + "/1?cluster=true"},
		"Config.URL: has no path":                             {URL: "unix://"},
		"Config.URL: has a socket's path":                     {URL: "unix:///tmp/s?cluster=true"},
		"Config.Prefix: ":                                     {URL: good, Prefix: "a{b}"},
		"Config.Partitions: is -1":                            {URL: good, Partitions: -1},
		"Config.Partitions: is 16385":                         {URL: good, Partitions: 16385},
		"Config.ProbeInterval: is 1ms":                        {URL: good, ProbeInterval: time.Millisecond},
		"Config.MaxPayload: is -5":                            {URL: good, MaxPayload: -5},
		"Config.DangerouslyAcceptClient: is set without":      {URL: good, DangerouslyAcceptClient: true},
		"Config.Client: a *redis.Ring is not supported":       {Client: redis.NewRing(&redis.RingOptions{})},
		"Config.Client: is a nil *redis.Client":               {Client: (*redis.Client)(nil)},
		"Config.Client: is a nil *redis.ClusterClient":        {Client: (*redis.ClusterClient)(nil)},
		"Config.Client: MaxRetries: is not -1":                {Client: client(func(o *redis.Options) { o.MaxRetries = 0 })},
		"Config.Client: ContextTimeoutEnabled: is false":      {Client: client(func(o *redis.Options) { o.ContextTimeoutEnabled = false })},
		"Config.Client: ReadTimeout: is off":                  {Client: client(func(o *redis.Options) { o.ReadTimeout = -1 })},
		"Config.Client: WriteTimeout: is off":                 {Client: client(func(o *redis.Options) { o.WriteTimeout = -2 })},
		"Config.Client: ClusterStateReloadInterval: is 1m0s":  {Client: cluster(func(o *redis.ClusterOptions) { o.ClusterStateReloadInterval = 0 })},
		"Config.Client: MaxRetries: is not -1: a publication": {Client: cluster(func(o *redis.ClusterOptions) { o.MaxRetries = 2 })},
	} {
		b, err := redisbp.New(cfg)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want an error with %q", err, want)
		}
		if b != nil {
			b.Close()
		}
	}
}

// client is one that New takes, but for what change does.
func client(change func(*redis.Options)) *redis.Client {
	o := &redis.Options{MaxRetries: -1, ContextTimeoutEnabled: true}
	if change != nil {
		change(o)
	}
	return redis.NewClient(o)
}

func cluster(change func(*redis.ClusterOptions)) *redis.ClusterClient {
	o := &redis.ClusterOptions{Addrs: []string{"localhost:1"}, ContextTimeoutEnabled: true, ClusterStateReloadInterval: 10 * time.Second}
	if change != nil {
		change(o)
	}
	return redis.NewClusterClient(o)
}

func TestClientsThatKeepThePromisesAreTaken(t *testing.T) {
	for name, cfg := range map[string]redisbp.Config{
		"a client":           {Client: client(nil)},
		"of a Cluster":       {Client: cluster(nil)},
		"of Sentinels":       {Client: redis.NewFailoverClient(&redis.FailoverOptions{MasterName: "main", MaxRetries: -1, ContextTimeoutEnabled: true})},
		"a dangerous one":    {Client: redis.NewClient(&redis.Options{}), DangerouslyAcceptClient: true},
		"default URL":        {URL: "redis://localhost"},
		"IPv6":               {URL: "redis://[::1]:6379/2"},
		"IPv6 and no port":   {URL: "redis://[::1]"},
		"user":               {URL: "rediss://user:pass@host:1"},
		"escaped":            {URL: "redis://:p%40ss%2F@host"},
		"socket":             {URL: "unix:///tmp/redis.sock?db=3"},
		"Sentinels":          {URL: "redis://:x@a?master_name=m&addr=b:26379&sentinel_password=y&sentinel_username=z"},
		"nodes of a Cluster": {URL: "redis://a:1?cluster=true&addr=b:2&addr=[::1]:3"},
	} {
		b, err := redisbp.New(cfg)
		if err != nil {
			t.Errorf("%s: got %v, want nil", name, err)
			continue
		}
		b.Close()
		if cfg.Client != nil {
			if err := cfg.Client.Close(); err != nil {
				t.Errorf("%s: closing the client after the backplane: got %v, want nil: it is the caller's", name, err)
			}
		}
	}
}

// However a URL is broken, its passwords are not in the error.
func TestErrorsHoldNoPassword(t *testing.T) {
	for _, url := range []string{
		"redis://:" + secret + "@localhost:port",
		"redis://user:" + secret + "@localhost:99999",
		"redis://user:" + secret + "%zz@localhost",
		"redis://user:" + secret + "@@localhost:1:2",
		"redis://user:" + secret + "/more@localhost",
		"redis://user:/" + secret + "@localhost",
		"redis://user:#" + secret + "@localhost",
		"redis://user:?" + secret + "@localhost",
		"redis://user:?" + secret + "=1@localhost",
		"redis://user:" + secret + " x@localhost",
		"redis://user:" + secret + "\n@localhost",
		"redis:// user:" + secret + "@localhost",
		"redis:" + secret + "@localhost",
		"user:" + secret + "@localhost",
		secret + "://user:" + secret + "@localhost",
		"://" + secret + "@localhost",
		"redis://user:" + secret + "@[::1",
		"redis://user:" + secret + "@",
		"redis://user:" + secret + "@localhost/db",
		"redis://user:x@localhost/" + secret,
		"redis://localhost?password=" + secret,
		"redis://localhost?" + secret + "=1",
		"redis://localhost?a=1;b=" + secret,
		"redis://localhost?a=%" + secret,
		"redis://localhost?cluster=" + secret,
		"redis://localhost?master_name=m&addr=" + secret + ":1:2",
		"redis://localhost?master_name=m&addr=a:" + secret,
		"redis://localhost?master_name=m&sentinel_password=" + secret + "&nonsense=1",
		"http://user:" + secret + "@localhost",
		"unix://user:" + secret + "@",
	} {
		b, err := redisbp.New(redisbp.Config{URL: url})
		if err == nil {
			b.Close()
			t.Errorf("%q: got nil, want an error", url)
			continue
		}
		if !strings.Contains(err.Error(), "Config.URL: ") || strings.Contains(err.Error(), secret) {
			t.Errorf("%q: got %v, want an error that names Config.URL and does not hold the password", url, err)
		}
	}
}

// Whoever prints a backplane sees no password either.
func TestPrintingABackplaneShowsNoPassword(t *testing.T) {
	b, err := redisbp.New(redisbp.Config{URL: "redis://user:" + secret + "@localhost"})
	if err != nil {
		t.Fatalf("New: got %v, want nil", err)
	}
	defer b.Close()
	for _, format := range []string{"%v", "%+v", "%s", "%#v"} {
		if got := fmt.Sprintf(format, b); strings.Contains(got, secret) {
			t.Errorf("%s: got the password", format)
		}
	}
}

// The form of channels' names is a part of deployments: other programs publish
// to them, and hubs of other versions listen.
func TestNamesOfChannels(t *testing.T) {
	for _, c := range []struct {
		prefix     string
		partitions int
		topic      hub.Topic
		want       string
	}{
		{"ws", 0, "c:news", "ws:c:news"},
		{"chat", 0, "b:", "chat:b:"},
		{"ws", 128, "c:news", "ws:{p95}:c:news"},
		{"ws", 128, "c:{p1}", "ws:{p105}:c:{p1}"},
		{"ws", 1, "c:news", "ws:{p0}:c:news"},
		{"ws", 16384, "c:日本語", "ws:{p12880}:c:日本語"},
	} {
		got := redisbp.ChannelOf(c.prefix, c.partitions, c.topic)
		if got != c.want {
			t.Errorf("%q of %d partitions: got %q, want %q", c.topic, c.partitions, got, c.want)
		}
	}
}

func TestTopicsSpreadOverThePartitions(t *testing.T) {
	const partitions, topics = 128, 12800
	tag := regexp.MustCompile(`\{p\d+\}`)
	count := make(map[string]int)
	for i := range topics {
		count[tag.FindString(redisbp.ChannelOf("ws", partitions, hub.Topic(fmt.Sprintf("c:room-%d", i))))]++
	}
	for part, n := range count {
		if n < 50 || n > 170 {
			t.Errorf("partition %s: got %d topics of %d, want about %d", part, n, topics, topics/partitions)
		}
	}
	if len(count) != partitions {
		t.Errorf("got %d partitions with topics, want %d", len(count), partitions)
	}
}

func TestOutputBufferLimitsThatLoseMessages(t *testing.T) {
	const others = "normal 0 0 0 slave 268435456 67108864 60 "
	for limit, poor := range map[string]bool{
		"pubsub 33554432 8388608 60": false,
		"pubsub 0 0 0":               false,
		"pubsub 0 8388608 60":        false,
		"pubsub 1048576 0 0":         true,
		"pubsub 33554432 1048576 60": true,
		"pubsub nonsense 0 0":        false,
		"":                           false,
	} {
		if got := redisbp.PoorLimit(others+limit, 8<<20) != ""; got != poor {
			t.Errorf("%q: got a warning %t, want %t", limit, got, poor)
		}
	}
	if redisbp.PoorLimit(others+"pubsub 33554432 8388608 60", 64<<20) == "" {
		t.Error("a limit of 32 MB with messages of 64 MB: got no warning, want one")
	}
}
