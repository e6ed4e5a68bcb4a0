package redisbp

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// Config says where Redis is and how it is used. URL or Client is required; for
// everything else zero is the default.
type Config struct {
	// URL of Redis: redis://user:password@host:port/db, or rediss:// for TLS,
	// or unix:///path/to/redis.sock. The user, the password, the port (6379)
	// and the database may be left out; pub/sub itself knows no databases.
	//
	// With ?master_name=NAME the host is a Sentinel that watches the master of
	// that name; addr=host:port, once for each, names more Sentinels. The user
	// and the password are those of Redis; sentinel_username and
	// sentinel_password are those of the Sentinels.
	//
	// With ?cluster=true the host is a node of a Redis Cluster, and addr names
	// more of them.
	URL string
	// Client is a client of the program's own, instead of URL: a *redis.Client
	// from NewClient or NewFailoverClient, or a *redis.ClusterClient. Close does
	// not close it. Publishing takes one connection of its pool for each node,
	// subscribing dials by its Dialer. New refuses a client whose settings break
	// a promise, and names the setting.
	Client redis.UniversalClient
	// DangerouslyAcceptClient takes a Client whatever its settings are.
	// Publications may then be delivered twice, and calls outlive their contexts.
	DangerouslyAcceptClient bool
	// TLSConfig for a client made from URL. With rediss:// nil is the default
	// configuration; with redis:// a TLSConfig that is set turns TLS on.
	TLSConfig *tls.Config

	// Prefix begins every Redis channel, so that several deployments may share
	// a server. Default "ws": the hub's channel "news" is the Redis channel
	// "ws:c:news". All hubs of a deployment have the same one. It may not hold
	// braces.
	Prefix string
	// Partitions is how many parts the channels are divided into on a Redis
	// Cluster; each part lives on one node. Default 128, at most 16,384. It is a
	// part of the deployment: all hubs must have the same number.
	Partitions int
	// NoSharding uses ordinary pub/sub on a Redis Cluster, where each message
	// goes to every node. It is for a Cluster older than Redis 7. It is a part of
	// the deployment: all hubs must agree.
	NoSharding bool

	// ProbeInterval is how often each subscribing connection is sent a message
	// through the broker, which must come back within the same time: a
	// subscription that is silently dead is found within little more than twice
	// that. Default 3 s,
	// at least 100 ms.
	ProbeInterval time.Duration
	// MaxPayload is the largest envelope that Publish takes, in bytes. Default
	// 8 MiB, at most 512 MiB. Where the server's proto-max-bulk-len can be read
	// and is less, that counts.
	MaxPayload int
	// RequireBroker lets Start fail where Redis can't be reached, instead of
	// going on trying.
	RequireBroker bool

	// Logger is told why connecting fails, and of settings of the server that
	// lose messages. Default slog.Default.
	Logger *slog.Logger
}

const (
	defaultPrefix        = "ws"
	defaultPartitions    = 128
	maxPartitions        = 16384
	defaultProbeInterval = 3 * time.Second
	minProbeInterval     = 100 * time.Millisecond
	defaultMaxPayload    = 8 << 20
)

func (c Config) withDefaults() Config {
	if c.Prefix == "" {
		c.Prefix = defaultPrefix
	}
	if c.Partitions == 0 {
		c.Partitions = defaultPartitions
	}
	if c.ProbeInterval == 0 {
		c.ProbeInterval = defaultProbeInterval
	}
	if c.MaxPayload == 0 {
		c.MaxPayload = defaultMaxPayload
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	return c
}

// validate reports all that can't work, of a Config with its defaults.
func (c *Config) validate() error {
	var errs []error
	bad := func(field, format string, args ...any) {
		errs = append(errs, fmt.Errorf("redisbp: Config.%s: %s", field, fmt.Sprintf(format, args...)))
	}
	switch {
	case c.URL == "" && c.Client == nil:
		bad("URL", "is required, or Config.Client")
	case c.URL != "" && c.Client != nil:
		bad("URL", "and Config.Client are both set")
	case c.Client != nil && c.TLSConfig != nil:
		bad("TLSConfig", "goes with URL; Config.Client has its own")
	case c.Client == nil && c.DangerouslyAcceptClient:
		bad("DangerouslyAcceptClient", "is set without Config.Client")
	}
	if strings.ContainsAny(c.Prefix, "{}") {
		bad("Prefix", "%q has a brace, which would decide where channels live", c.Prefix)
	}
	if c.Partitions < 1 || c.Partitions > maxPartitions {
		bad("Partitions", "is %d, want 1 to %d", c.Partitions, maxPartitions)
	}
	if c.ProbeInterval < minProbeInterval {
		bad("ProbeInterval", "is %v, want at least %v", c.ProbeInterval, minProbeInterval)
	}
	if c.MaxPayload < 1 || c.MaxPayload > maxBulk {
		bad("MaxPayload", "is %d, want 1 to %d", c.MaxPayload, maxBulk)
	}
	return errors.Join(errs...)
}
