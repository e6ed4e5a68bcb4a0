package redisbp

import (
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// The settings of clients that are made from a URL. Why they are not those of
// go-redis: a retry inside of it publishes twice, a context that is not looked
// at lets calls hang, and the state of a Cluster must be seconds old.
const (
	dialTimeout = 2 * time.Second
	ioTimeout   = 3 * time.Second
	poolSize    = 4
	// stateReloadInterval leaves that to reloadCluster.
	stateReloadInterval = 24 * time.Hour
	noRetries           = -1
)

// maxStateReload is the longest interval that a client of the user's may have.
const maxStateReload = 10 * time.Second

// address is what a URL says.
type address struct {
	network                            string
	hosts                              []string
	username, password                 string
	sentinelUsername, sentinelPassword string
	db                                 int
	master                             string
	cluster                            bool
	tls                                *tls.Config
}

// parseURL reads Config.URL. Its errors hold nothing of the URL but the names of
// parameters, addresses and a scheme: what looks like one of them, and only then.
// url.Parse's own errors quote the password.
func parseURL(raw string, tlsConfig *tls.Config) (*address, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return nil, errors.New("is not a URL (special characters of a user or a password must be percent-encoded)")
	}
	q, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return nil, errors.New("has parameters that can't be read")
	}
	a := &address{network: "tcp", tls: tlsConfig.Clone()}
	if u.User != nil {
		a.username = u.User.Username()
		a.password, _ = u.User.Password()
	}
	switch u.Scheme {
	case "redis":
	case "rediss":
		if a.tls == nil {
			a.tls = &tls.Config{MinVersion: tls.VersionTLS12}
		}
	case "unix":
		if u.Path == "" {
			return nil, errors.New("has no path to a socket")
		}
		a.network, a.hosts, u.Path = "unix", []string{u.Path}, q.Get("db")
		q.Del("db")
	default:
		return nil, errors.New("does not begin with redis://, rediss:// or unix://")
	}
	if path := strings.Trim(u.Path, "/"); path != "" {
		if a.db, err = strconv.Atoi(path); err != nil || a.db < 0 {
			return nil, errors.New("has a path that is not the number of a database")
		}
	}
	if a.network == "tcp" {
		host, err := hostPort(u.Host)
		if err != nil {
			return nil, err
		}
		a.hosts = []string{host}
	}
	return a, a.parameters(q)
}

// parameters reads what follows the question mark.
func (a *address) parameters(q url.Values) error {
	for _, name := range slices.Sorted(maps.Keys(q)) {
		value := q.Get(name)
		switch name {
		case "master_name":
			a.master = value
		case "cluster":
			on, err := strconv.ParseBool(value)
			if err != nil {
				return errors.New("has a parameter cluster that is neither true nor false")
			}
			a.cluster = on
		case "addr":
			for _, v := range q["addr"] {
				host, err := hostPort(v)
				if err != nil {
					return err
				}
				a.hosts = append(a.hosts, host)
			}
		case "sentinel_username":
			a.sentinelUsername = value
		case "sentinel_password":
			a.sentinelPassword = value
		default:
			return errors.New("has a parameter other than master_name, cluster, addr, sentinel_username and sentinel_password")
		}
	}
	switch {
	case a.master != "" && a.cluster:
		return errors.New("has both master_name and cluster")
	case (a.master != "" || a.cluster) && a.network == "unix":
		return errors.New("has a socket's path, and master_name or cluster")
	case len(a.hosts) > 1 && a.master == "" && !a.cluster:
		return errors.New("has addr, but neither master_name nor cluster=true")
	case a.cluster && a.db != 0:
		return errors.New("has a database: a Cluster has none")
	}
	return nil
}

// hostPort checks an address. What is wrong is named only where it can't be the
// end of a password that holds an @ or a slash of its own: a URL of that kind
// does not parse as its author meant it.
func hostPort(s string) (string, error) {
	host, port := s, "6379"
	if h, p, err := net.SplitHostPort(s); err == nil {
		host, port = h, p
	} else if strings.Contains(strings.Trim(s, "[]"), ":") && !strings.HasPrefix(s, "[") {
		return "", errors.New("has an address that is not host:port")
	}
	host = strings.Trim(host, "[]")
	n, err := strconv.Atoi(port)
	switch {
	case host == "":
		return "", errors.New("has no host")
	case err != nil || n < 1 || n > 65535:
		return "", errors.New("has an address whose port is not 1 to 65535")
	}
	return net.JoinHostPort(host, port), nil
}

// client makes the client for an address.
func (a *address) client() redis.UniversalClient {
	off := &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	switch {
	case a.cluster:
		return redis.NewClusterClient(&redis.ClusterOptions{
			Addrs: a.hosts, Username: a.username, Password: a.password, TLSConfig: a.tls,
			MaxRetries: noRetries, MaxRedirects: noRetries, ContextTimeoutEnabled: true,
			DialTimeout: dialTimeout, DialerRetries: 1, ReadTimeout: ioTimeout, WriteTimeout: ioTimeout,
			PoolSize: poolSize, PipelinePoolSize: -1, MaintNotificationsConfig: off,
			ClusterStateReloadInterval: stateReloadInterval,
		})
	case a.master != "":
		return redis.NewFailoverClient(&redis.FailoverOptions{
			MasterName: a.master, SentinelAddrs: a.hosts,
			SentinelUsername: a.sentinelUsername, SentinelPassword: a.sentinelPassword,
			Username: a.username, Password: a.password, DB: a.db, TLSConfig: a.tls,
			MaxRetries: noRetries, ContextTimeoutEnabled: true,
			DialTimeout: dialTimeout, DialerRetries: 1, ReadTimeout: ioTimeout, WriteTimeout: ioTimeout,
			PoolSize: poolSize, PipelinePoolSize: -1,
		})
	}
	return redis.NewClient(&redis.Options{
		Network: a.network, Addr: a.hosts[0], Username: a.username, Password: a.password, DB: a.db, TLSConfig: a.tls,
		MaxRetries: noRetries, ContextTimeoutEnabled: true,
		DialTimeout: dialTimeout, DialerRetries: 1, ReadTimeout: ioTimeout, WriteTimeout: ioTimeout,
		PoolSize: poolSize, PipelinePoolSize: -1, MaintNotificationsConfig: off,
	})
}

// checkClient says which settings of a client of the user's break a promise.
func checkClient(client redis.UniversalClient, accept bool) error {
	var errs []error
	bad := func(setting, why string) {
		if !accept {
			errs = append(errs, fmt.Errorf("redisbp: Config.Client: %s (DangerouslyAcceptClient takes it all the same)",
				strings.TrimSpace(setting+": "+why)))
		}
	}
	common := func(retries int, contexts bool, read, write time.Duration) {
		if retries > 0 {
			bad("MaxRetries", "is not -1: a publication whose answer is late would be published twice")
		}
		if !contexts {
			bad("ContextTimeoutEnabled", "is false: calls would outlive their contexts")
		}
		if read <= 0 {
			bad("ReadTimeout", "is off: a server that is frozen would hold up publishing for ever")
		}
		if write <= 0 {
			bad("WriteTimeout", "is off: a server that is frozen would hold up publishing for ever")
		}
	}
	switch c := client.(type) {
	case *redis.Client:
		if c == nil {
			return errors.New("redisbp: Config.Client: is a nil *redis.Client")
		}
		o := c.Options()
		common(o.MaxRetries, o.ContextTimeoutEnabled, o.ReadTimeout, o.WriteTimeout)
		if o.StreamingCredentialsProvider != nil {
			return errors.New("redisbp: Config.Client: StreamingCredentialsProvider: is not supported; CredentialsProviderContext is")
		}
	case *redis.ClusterClient:
		if c == nil {
			return errors.New("redisbp: Config.Client: is a nil *redis.ClusterClient")
		}
		o := c.Options()
		common(o.MaxRetries, o.ContextTimeoutEnabled, o.ReadTimeout, o.WriteTimeout)
		if o.ClusterStateReloadInterval > maxStateReload {
			bad("ClusterStateReloadInterval", fmt.Sprintf("is %v, more than %v: a failover would be noticed late",
				o.ClusterStateReloadInterval, maxStateReload))
		}
		if o.StreamingCredentialsProvider != nil {
			return errors.New("redisbp: Config.Client: StreamingCredentialsProvider: is not supported; CredentialsProviderContext is")
		}
		if o.ClusterSlots != nil {
			return errors.New("redisbp: Config.Client: ClusterSlots: is set, so this is no Redis Cluster")
		}
	default:
		return fmt.Errorf("redisbp: Config.Client: a %T is not supported, a *redis.Client or a *redis.ClusterClient is", client)
	}
	return errors.Join(errs...)
}
