package main

import (
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"strings"
	"time"
)

// settings are what the flags say.
type settings struct {
	addr              string
	backplane         string
	redisURL          string
	natsURL           string
	natsListen        string
	natsToken         string
	readyNeedsBroker  bool
	apiKeys           map[string]string // key → user
	publishKey        string
	allowedOrigins    []string
	trustedProxies    []netip.Prefix
	heartbeat         time.Duration
	pongTimeout       time.Duration
	drainTimeout      time.Duration
	drainSpread       time.Duration
	maxClients        int
	maxPerUser        int
	maxPerAddress     int
	maxMessageBytes   int
	maxSubscriptions  int
	maxMessageRate    int
	maxPublishedBytes int
	logLevel          logLevel
}

// parse reads the flags, and for each that is not given the environment
// variable of its name: GOWS_PUBLISH_KEY for -publish-key. An empty variable
// counts as none.
func parse(args []string) (settings, error) {
	var s settings
	var apiKeys, origins, proxies string
	fs := flag.NewFlagSet("gateway", flag.ContinueOnError)
	fs.Usage = func() {
		fmt.Fprint(fs.Output(), "usage: gateway [flags]\n\nA WebSocket hub to run on its own. Each flag may be set by an environment variable\ninstead: GOWS_PUBLISH_KEY for -publish-key, and so on. Flags win.\n\n")
		fs.PrintDefaults()
	}
	fs.StringVar(&s.addr, "addr", "127.0.0.1:8080", "`address` to listen on; port 0 picks a free one")
	fs.StringVar(&s.backplane, "backplane", "memory", "what joins several hubs: "+strings.Join(backplaneNames(), ", "))
	fs.StringVar(&s.redisURL, "redis-url", "", "`URL` of Redis for -backplane redis: redis://user:password@host:6379, rediss:// with TLS; ?master_name=NAME for Sentinels, ?cluster=true for a Cluster")
	fs.StringVar(&s.natsURL, "nats-url", "", "`URLs` of NATS for -backplane nats: nats://user:password@host:4222,…; without, the gateway runs a NATS server itself")
	fs.StringVar(&s.natsListen, "nats-listen", "", "`address` of the gateway's own NATS server; port 0 picks a free one (default 127.0.0.1:0)")
	fs.StringVar(&s.natsToken, "nats-token", "", "`token` that the gateway's own NATS server asks for, which has to be where other machines reach it")
	fs.BoolVar(&s.readyNeedsBroker, "ready-needs-backplane", false, "let /readyz answer 503 while the backplane is away")
	fs.StringVar(&apiKeys, "api-keys", "", "`key=user,…`: let only these connect; without, everyone may")
	fs.StringVar(&s.publishKey, "publish-key", "", "`key` that /publish, /broadcast and /stats ask for; without, they serve this machine alone")
	fs.StringVar(&origins, "allowed-origins", "", "`origins` beside the gateway's own whose pages may connect, such as https://*.example.com,http://localhost:*")
	fs.StringVar(&proxies, "trusted-proxies", "", "`networks` of proxies whose X-Forwarded-For is believed, such as 10.0.0.0/8,127.0.0.1")
	fs.DurationVar(&s.heartbeat, "heartbeat", 30*time.Second, "how often clients are pinged; 0 never")
	fs.DurationVar(&s.pongTimeout, "pong-timeout", 60*time.Second, "how long a client may be silent; 0 for ever")
	fs.DurationVar(&s.drainTimeout, "drain-timeout", 8*time.Second, "how long clients have to leave when the gateway stops; 0 none")
	fs.DurationVar(&s.drainSpread, "drain-spread", 5*time.Second, "time over which a stopping gateway spreads its closes; 0 all at once")
	fs.IntVar(&s.maxClients, "max-clients", 100_000, "clients in all")
	fs.IntVar(&s.maxPerUser, "max-clients-per-user", 0, "clients of one user; 0 any number")
	fs.IntVar(&s.maxPerAddress, "max-clients-per-address", 0, "clients of one address; 0 any number")
	fs.IntVar(&s.maxMessageBytes, "max-message-bytes", 32768, "largest message taken from a client")
	fs.IntVar(&s.maxSubscriptions, "max-subscriptions", 1000, "channels that a client may be on")
	fs.IntVar(&s.maxMessageRate, "max-message-rate", 100, "messages a second that a client may send; 0 any number")
	fs.IntVar(&s.maxPublishedBytes, "max-publish-bytes", 1<<20, "largest body of a publish")
	fs.TextVar(&s.logLevel, "log-level", logLevel{slog.LevelInfo}, "least `level` of what is logged: debug, info, warn or error")

	if err := fs.Parse(args); err != nil {
		return s, err
	}
	if fs.NArg() > 0 {
		return s, fmt.Errorf("gateway: unexpected argument %q", fs.Arg(0))
	}
	if err := fromEnvironment(fs); err != nil {
		return s, err
	}
	var errs [5]error
	s.apiKeys, errs[0] = parseKeys(apiKeys)
	s.allowedOrigins = parseList(origins)
	s.trustedProxies, errs[1] = parseNetworks(proxies)
	errs[2] = s.checkNumbers()
	if _, ok := backplanes[s.backplane]; !ok {
		errs[3] = fmt.Errorf("gateway: -backplane: unknown backplane %q, known: %s", s.backplane, strings.Join(backplaneNames(), ", "))
	}
	errs[4] = s.checkBackplane()
	return s, errors.Join(errs[:]...)
}

// logLevel is a slog.Level whose error tells what can be given.
type logLevel struct{ slog.Level }

func (l *logLevel) UnmarshalText(text []byte) error {
	if l.Level.UnmarshalText(text) != nil {
		return errors.New("must be debug, info, warn or error")
	}
	return nil
}

// fromEnvironment sets the flags that the command line did not.
func fromEnvironment(fs *flag.FlagSet) error {
	given := make(map[string]bool)
	fs.Visit(func(f *flag.Flag) { given[f.Name] = true })
	var errs []error
	fs.VisitAll(func(f *flag.Flag) {
		name := "GOWS_" + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
		value := os.Getenv(name)
		if given[f.Name] || value == "" {
			return
		}
		if err := f.Value.Set(value); err != nil {
			errs = append(errs, fmt.Errorf("gateway: %s: invalid value %q: %w", name, value, err))
		}
	})
	return errors.Join(errs...)
}

func (s *settings) checkNumbers() error {
	var errs []error
	for _, f := range []struct {
		name  string
		value int64
		least int64
	}{
		{"heartbeat", int64(s.heartbeat), 0},
		{"pong-timeout", int64(s.pongTimeout), 0},
		{"drain-timeout", int64(s.drainTimeout), 0},
		{"drain-spread", int64(s.drainSpread), 0},
		{"max-clients", int64(s.maxClients), 1},
		{"max-clients-per-user", int64(s.maxPerUser), 0},
		{"max-clients-per-address", int64(s.maxPerAddress), 0},
		{"max-message-bytes", int64(s.maxMessageBytes), 1},
		{"max-subscriptions", int64(s.maxSubscriptions), 1},
		{"max-message-rate", int64(s.maxMessageRate), 0},
		{"max-publish-bytes", int64(s.maxPublishedBytes), 1},
	} {
		if f.value < f.least {
			errs = append(errs, fmt.Errorf("gateway: -%s: must be at least %d", f.name, f.least))
		}
	}
	if strings.ContainsFunc(s.publishKey, func(c rune) bool { return c <= ' ' || c > '~' }) {
		errs = append(errs, errors.New("gateway: -publish-key: has characters that no header carries"))
	}
	return errors.Join(errs...)
}

// parseKeys reads "key=user,…". A key may hold "=", as base64 does: the last
// one divides. Errors name an entry by its place, since a key is a secret.
func parseKeys(list string) (map[string]string, error) {
	if list == "" {
		return nil, nil
	}
	keys := make(map[string]string)
	for i, entry := range parseList(list) {
		at := strings.LastIndex(entry, "=")
		if at < 1 || at == len(entry)-1 {
			return nil, fmt.Errorf("gateway: -api-keys: entry %d is not key=user", i+1)
		}
		if strings.ContainsFunc(entry[:at], func(c rune) bool { return c <= ' ' || c > '~' }) {
			return nil, fmt.Errorf("gateway: -api-keys: the key of entry %d has characters that no header carries", i+1)
		}
		if _, twice := keys[entry[:at]]; twice {
			return nil, fmt.Errorf("gateway: -api-keys: the key of entry %d is there twice", i+1)
		}
		keys[entry[:at]] = entry[at+1:]
	}
	if len(keys) == 0 {
		return nil, errors.New("gateway: -api-keys: no keys")
	}
	return keys, nil
}

// parseNetworks reads "10.0.0.0/8,127.0.0.1": networks, or single addresses.
func parseNetworks(list string) ([]netip.Prefix, error) {
	var networks []netip.Prefix
	for _, entry := range parseList(list) {
		network, err := netip.ParsePrefix(entry)
		if err != nil {
			address, addrErr := netip.ParseAddr(entry)
			if addrErr != nil {
				return nil, fmt.Errorf("gateway: -trusted-proxies: %q is neither a network nor an address", entry)
			}
			network = netip.PrefixFrom(address, address.BitLen())
		}
		networks = append(networks, network)
	}
	return networks, nil
}

func parseList(list string) []string {
	var entries []string
	for entry := range strings.SplitSeq(list, ",") {
		if entry = strings.TrimSpace(entry); entry != "" {
			entries = append(entries, entry)
		}
	}
	return entries
}
