package tests

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	mrand "math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"forge.lthn.ai/core/go-ws/backplane/redisbp"
	"forge.lthn.ai/core/go-ws/backplane/redisbp/tests/redistest"
	"forge.lthn.ai/core/go-ws/hub"
	"github.com/redis/go-redis/v9"
)

// roundTrip shows that a backplane hears itself.
func roundTrip(t *testing.T, cfg redisbp.Config) {
	t.Helper()
	b, r := start(t, cfg)
	subscribe(t, b, "c:x")
	publish(t, b, "c:x", "1")
	r.await(t, "a delivery", func() bool { return r.has("c:x", "1") })
	if err := b.Close(); err != nil {
		t.Errorf("Close: got %v, want nil", err)
	}
}

func TestClientsOfTheProgramsOwn(t *testing.T) {
	server := redistest.Start(t, "--requirepass", "right")
	set := redistest.StartSentinels(t, 1, 3, hang)
	cluster := redistest.StartCluster(t, 3, 0, hang)
	var sentinels, nodes []string
	for _, s := range set.Sentinels {
		sentinels = append(sentinels, s.Addr())
	}
	for _, n := range cluster.Nodes {
		nodes = append(nodes, n.Addr())
	}
	for name, client := range map[string]redis.UniversalClient{
		"password": redis.NewClient(&redis.Options{
			Addr: server.Addr(), Password: "right", ClientName: "mine", DB: 3, MaxRetries: -1, ContextTimeoutEnabled: true,
		}),
		"provider": redis.NewClient(&redis.Options{
			Addr: server.Addr(), MaxRetries: -1, ContextTimeoutEnabled: true,
			PoolSize:            1, // so that what Close does not give back is missed
			CredentialsProvider: func() (string, string) { return "default", "right" },
		}),
		"provider with a context": redis.NewClient(&redis.Options{
			Addr: server.Addr(), MaxRetries: -1, ContextTimeoutEnabled: true,
			CredentialsProviderContext: func(context.Context) (string, string, error) { return "", "right", nil },
		}),
		"Sentinels": redis.NewFailoverClient(&redis.FailoverOptions{
			MasterName: redistest.MasterName, SentinelAddrs: sentinels, MaxRetries: -1, ContextTimeoutEnabled: true,
		}),
		"Cluster": redis.NewClusterClient(&redis.ClusterOptions{
			Addrs: nodes, ContextTimeoutEnabled: true, ClusterStateReloadInterval: time.Second,
		}),
	} {
		t.Run(name, func(t *testing.T) {
			roundTrip(t, redisbp.Config{Client: client})
			if err := client.Ping(t.Context()).Err(); err != nil {
				t.Errorf("the client after the backplane's Close: got %v, want it open", err)
			}
			if err := client.Close(); err != nil {
				t.Errorf("closing the client: got %v, want nil", err)
			}
		})
	}
}

// The program goes on using its client while the backplane connects through it.
func TestAClientIsTheProgramsMeanwhile(t *testing.T) {
	addr := redistest.Start(t).Addr()
	for range 10 {
		client := redis.NewClient(&redis.Options{Addr: addr, MaxRetries: -1, ContextTimeoutEnabled: true})
		var using sync.WaitGroup
		for range 4 {
			using.Go(func() {
				if err := client.Ping(t.Context()).Err(); err != nil {
					t.Errorf("Ping: got %v, want nil", err)
				}
			})
		}
		roundTrip(t, redisbp.Config{Client: client})
		using.Wait()
		if err := client.Close(); err != nil {
			t.Errorf("closing the client: got %v, want nil", err)
		}
	}
}

func TestUnixSockets(t *testing.T) {
	path := filepath.Join(t.TempDir(), "redis.sock")
	redistest.Start(t, "--unixsocket", path)
	roundTrip(t, redisbp.Config{URL: "unix://" + path})
}

func TestTLS(t *testing.T) {
	dir := t.TempDir()
	roots := certificate(t, dir)
	file := func(name string) string { return filepath.Join(dir, name) }
	server := redistest.Start(t, "--tls-port", "0", "--tls-cert-file", file("cert.pem"), "--tls-key-file", file("key.pem"),
		"--tls-ca-cert-file", file("cert.pem"), "--tls-auth-clients", "no")
	// The server listens in plain. What it is told now it does at once, if the port
	// is free.
	var addr string
	for end := time.Now().Add(hang); addr == ""; {
		port := strconv.Itoa(10000 + mrand.IntN(10000))
		if err := server.Client().ConfigSet(t.Context(), "tls-port", port).Err(); err == nil {
			addr = net.JoinHostPort("127.0.0.1", port)
		} else if time.Now().After(end) {
			t.Fatalf("turning TLS on: %v", err)
		}
	}
	roundTrip(t, redisbp.Config{URL: "rediss://" + addr, TLSConfig: &tls.Config{RootCAs: roots}})
	roundTrip(t, redisbp.Config{URL: "redis://" + addr, TLSConfig: &tls.Config{RootCAs: roots}})

	b := newBackplane(t, redisbp.Config{URL: "rediss://" + addr, RequireBroker: true})
	err := b.Start(t.Context(), newReceiver())
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); !ok {
		t.Errorf("a certificate that nobody vouches for: got %v, want it refused", err)
	}
}

// certificate writes one for 127.0.0.1, with its key, and returns who vouches
// for it.
func certificate(t *testing.T, dir string) *x509.CertPool {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	for name, data := range map[string][]byte{"cert.pem": cert, "key.pem": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(cert)
	return pool
}

// The rights that README.md names suffice, and a topic outside of them is named
// while those beside it are joined.
func TestRights(t *testing.T) {
	server := redistest.Start(t)
	admin := server.Client()
	setuser := func(rules ...any) {
		t.Helper()
		args := append([]any{"acl", "setuser", "app", "reset", "on", ">secret"}, rules...)
		if err := admin.Do(t.Context(), args...).Err(); err != nil {
			t.Fatal(err)
		}
	}
	rights := []any{"+auth", "+hello", "+client", "+select", "+ping", "+role", "+subscribe", "+unsubscribe", "+publish"}
	url := "redis://app:secret@" + server.Addr()

	setuser(append(rights, "resetchannels", "&ws:$probe:*", "&ws:c:open-*")...)
	log := &lines{some: make(chan struct{}, 1)}
	b, r := start(t, redisbp.Config{URL: url, ProbeInterval: hang, Logger: slog.New(slog.NewTextHandler(log, nil))})
	err := b.Subscribe(t.Context(), "c:open-1", "c:shut", "c:open-2", "c:shut-too")
	partial, ok := errors.AsType[*hub.SubscribeError](err)
	if !ok || len(partial.Failed) != 2 || partial.Failed["c:shut"] == nil || partial.Failed["c:shut-too"] == nil {
		t.Fatalf("Subscribe: got %v, want a SubscribeError that names the two that are forbidden", err)
	}
	for _, topic := range []hub.Topic{"c:open-1", "c:open-2"} {
		publish(t, b, topic, "1")
		r.await(t, "a delivery", func() bool { return r.has(topic, "1") })
	}
	if err := try(t, b, "c:shut", "1", hang); err == nil || errors.Is(err, hub.ErrUnavailable) {
		t.Errorf("Publish where it is forbidden: got %v, want what the server says", err)
	}
	if got := r.reasons(); len(got) > 0 {
		t.Errorf("got Disrupted(%v), want nothing", got)
	}
	if got := log.String(); got != "" {
		t.Errorf("got %q logged, want nothing: CONFIG is forbidden", got)
	}

	// Without a right that is needed no attempt will succeed.
	setuser(append(rights, "resetchannels", "&other:*")...)
	b = newBackplane(t, redisbp.Config{URL: url})
	if err := refusal(t, b); !strings.Contains(err.Error(), "NOPERM") {
		t.Errorf("Start without the right to the channels: got %v, want NOPERM", err)
	}
}

// Rights that are taken away end a topic, which is reported, and no other one.
func TestRightsThatAreTakenAwayAreReported(t *testing.T) {
	server := redistest.Start(t)
	b, r := start(t, redisbp.Config{URL: "redis://" + server.Addr(), ProbeInterval: hang})
	subscribe(t, b, "c:open", "c:shut")
	if err := server.Client().Do(t.Context(), "acl", "setuser", "default", "resetchannels", "&ws:$probe:*", "&ws:c:open").Err(); err != nil {
		t.Fatal(err)
	}
	r.await(t, "Disrupted by what is refused, and Restored", func() bool {
		return r.restored > 1 && slices.ContainsFunc(r.disrupted, func(err error) bool { return strings.Contains(err.Error(), "c:shut") })
	})
	publish(t, b, "c:open", "1")
	r.await(t, "a delivery", func() bool { return r.has("c:open", "1") })
}

func TestRightsOnACluster(t *testing.T) {
	cluster := redistest.StartCluster(t, 3, 0, hang)
	for _, n := range cluster.Nodes {
		if err := n.Client().Do(t.Context(), "acl", "setuser", "app", "reset", "on", ">secret", "resetchannels", "&ws:*",
			"+auth", "+hello", "+client", "+select", "+ping", "+role", "+ssubscribe", "+sunsubscribe", "+spublish",
			"+cluster|slots").Err(); err != nil {
			t.Fatal(err)
		}
	}
	roundTrip(t, redisbp.Config{URL: fmt.Sprintf("redis://app:secret@%s?cluster=true", cluster.Nodes[0].Addr())})

	b := newBackplane(t, redisbp.Config{URL: fmt.Sprintf("redis://app:s3cr3t@%s?cluster=true", cluster.Nodes[0].Addr())})
	err := refusal(t, b)
	if !strings.Contains(err.Error(), "WRONGPASS") || strings.Contains(err.Error(), "s3cr3t") {
		t.Errorf("Start with a wrong password: got %v, want the server's WRONGPASS and no password", err)
	}
}

// A Cluster that is away at first and then refuses the password is reported.
func TestAPasswordThatAClusterRefusesLaterIsReported(t *testing.T) {
	cluster := redistest.StartCluster(t, 1, 0, 2*hang)
	cluster.Freeze()
	b, r := newBackplane(t, redisbp.Config{URL: fmt.Sprintf("redis://app:s3cr3t@%s?cluster=true", cluster.Nodes[0].Addr())}), newReceiver()
	if err := b.Start(t.Context(), r); err != nil {
		t.Fatalf("Start while the Cluster is away: got %v, want nil", err)
	}
	cluster.Thaw()
	r.await(t, "Disrupted", func() bool { return len(r.disrupted) > 0 })
	if err := r.reasons()[0]; !strings.Contains(err.Error(), "WRONGPASS") || strings.Contains(err.Error(), "s3cr3t") {
		t.Errorf("Disrupted: got %v, want the server's WRONGPASS and no password", err)
	}
}

// A Cluster older than Redis 7 is refused with the name of the setting that it
// needs, and works with that.
func TestAClusterWithoutShardedPubSubNeedsNoSharding(t *testing.T) {
	cluster := redistest.StartCluster(t, 1, 0, 2*hang, "--rename-command", "ssubscribe", "forgotten")
	err := refusal(t, newBackplane(t, redisbp.Config{URL: cluster.URL()}))
	if !strings.Contains(err.Error(), "NoSharding") {
		t.Errorf("Start: got %v, want an error that names Config.NoSharding", err)
	}
	roundTrip(t, redisbp.Config{URL: cluster.URL(), NoSharding: true})
}

// Close waits for whatever asks a silent Cluster for its layout.
func TestCloseLeavesNobodyWhoAsksForTheLayout(t *testing.T) {
	cluster := redistest.StartCluster(t, 3, 0, 2*hang)
	b, r := start(t, redisbp.Config{URL: cluster.URL(), ProbeInterval: 100 * time.Millisecond})
	cluster.Freeze()
	r.await(t, "Disrupted", func() bool { return len(r.disrupted) > 0 })
	if err := b.Close(); err != nil {
		t.Errorf("Close: got %v, want nil", err)
	}
	stacks := make([]byte, 4<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	for stack := range strings.SplitSeq(string(stacks), "\n\n") {
		if strings.Contains(stack, "clusterStateHolder") {
			t.Errorf("after Close: got a goroutine, want none:\n%s", stack)
		}
	}
}

// What is published at a replica reaches nobody at the master.
func TestAMasterThatBecomesAReplicaIsLeft(t *testing.T) {
	master, server := redistest.Start(t), redistest.Start(t)
	b, r := start(t, redisbp.Config{URL: "redis://" + server.Addr(), ProbeInterval: time.Second})
	subscribe(t, b, "c:x")
	host, port, err := net.SplitHostPort(master.Addr())
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Client().ReplicaOf(t.Context(), host, port).Err(); err != nil {
		t.Fatal(err)
	}
	r.await(t, "Disrupted by a replica", func() bool {
		return slices.ContainsFunc(r.disrupted, func(err error) bool { return strings.Contains(err.Error(), "is a replica") })
	})
	r.mu.Lock()
	before := r.restored
	r.mu.Unlock()
	if err := server.Client().ReplicaOf(t.Context(), "no", "one").Err(); err != nil {
		t.Fatal(err)
	}
	r.await(t, "Restored", func() bool { return r.restored > before })
	publish(t, b, "c:x", "1")
	r.await(t, "a delivery", func() bool { return r.has("c:x", "1") })
}

// A server may confirm what it never delivers. Without a message that has come
// back a connection is not taken for one that works.
func TestAConnectionThatIsDeafIsNotRestored(t *testing.T) {
	// Subscriptions go to one server, publications to another.
	ears, mouth := redistest.Start(t), redistest.Start(t)
	var mu sync.Mutex
	dials := 0
	again := make(chan struct{})
	client := redis.NewClient(&redis.Options{
		Addr: ears.Addr(), MaxRetries: -1, ContextTimeoutEnabled: true,
		Dialer: func(ctx context.Context, network, addr string) (net.Conn, error) {
			mu.Lock()
			dials++
			switch dials {
			case 2: // once subscriptions are confirmed
				addr = mouth.Addr()
			case 4:
				close(again)
			}
			mu.Unlock()
			var d net.Dialer
			return d.DialContext(ctx, network, addr)
		},
	})
	t.Cleanup(func() { client.Close() })
	b, r := newBackplane(t, redisbp.Config{Client: client, ProbeInterval: 100 * time.Millisecond}), newReceiver()
	if err := b.Start(t.Context(), r); err != nil {
		t.Fatalf("Start: got %v, want nil", err)
	}
	select {
	case <-again: // it has given up twice
	case <-time.After(hang):
		t.Fatalf("got no new connection in %v, want some in the place of one that is deaf", hang)
	}
	r.mu.Lock()
	restored := r.restored
	r.mu.Unlock()
	if restored > 0 {
		t.Errorf("while nothing comes back: got Restored %d times, want never", restored)
	}
	mouth.Kill()
	r.await(t, "Restored when publications come back", func() bool { return r.restored > 0 })
	subscribe(t, b, "c:x")
	publish(t, b, "c:x", "1")
	r.await(t, "a delivery", func() bool { return r.has("c:x", "1") })
}

// A probe that could not be published is no reason to give up a connection.
func TestAProbeThatFailsIsSentAgain(t *testing.T) {
	var dials atomic.Int32
	client := redis.NewClient(&redis.Options{
		Addr: redistest.Start(t).Addr(), MaxRetries: -1, ContextTimeoutEnabled: true,
		Dialer: func(ctx context.Context, network, addr string) (net.Conn, error) {
			var d net.Dialer
			conn, err := d.DialContext(ctx, network, addr)
			if err == nil && dials.Add(1) == 2 { // the first that publishes
				conn.Close()
			}
			return conn, err
		},
	})
	t.Cleanup(func() { client.Close() })
	start(t, redisbp.Config{Client: client, ProbeInterval: 10 * hang})
}

// One node of a Cluster is silent: what lives on the others goes on.
func TestASilentNodeHoldsUpNoOther(t *testing.T) {
	cluster := redistest.StartCluster(t, 3, 0, 2*hang)
	b, r := start(t, redisbp.Config{URL: cluster.URL(), ProbeInterval: hang, Partitions: 16})
	const topics = 48
	silent := cluster.Owner("{p1}")
	var dead, alive []hub.Topic
	for i := range topics {
		topic := hub.Topic(fmt.Sprintf("c:topic-%d", i))
		if cluster.Owner(fmt.Sprintf("{p%d}", fnv1a(topic)%16)) == silent {
			dead = append(dead, topic)
		} else {
			alive = append(alive, topic)
		}
	}
	subscribe(t, b, append(dead[1:len(dead):len(dead)], alive[1:]...)...)
	silent.Freeze()
	var all sync.WaitGroup
	for _, topic := range dead {
		all.Go(func() {
			if err := try(t, b, topic, "1", time.Second); err == nil {
				t.Errorf("Publish to the silent node: got nil, want an error")
			}
		})
	}
	for _, topic := range alive[1:] {
		all.Go(func() {
			began := time.Now()
			if err := try(t, b, topic, "1", hang); err != nil {
				t.Errorf("Publish beside a silent node: got %v, want nil", err)
			}
			t.Logf("published after %v", time.Since(began))
		})
	}
	all.Wait()

	for _, topic := range alive[1:] {
		r.await(t, "a delivery", func() bool { return r.has(topic, "1") })
	}

	// Who waits for the silent node for long enough finds out that it is silent.
	both := []hub.Topic{dead[0], alive[0]}
	ctx, cancel := context.WithCancel(t.Context())
	subscribed := make(chan error, 1)
	go func() { subscribed <- b.Subscribe(ctx, both...) }()
	for !r.hears(t, b, alive[0]) {
	}
	<-time.After(time.Second)
	cancel()
	wantOneFailed(t, <-subscribed, dead[0])
	// From then on it is known.
	ctx, cancel = context.WithTimeout(t.Context(), hang)
	defer cancel()
	began := time.Now()
	wantOneFailed(t, b.Subscribe(ctx, both...), dead[0])
	if took := time.Since(began); took > hang/2 {
		t.Errorf("Subscribe to a node that is known to be silent: got an answer after %v, want it at once", took)
	}
	publish(t, b, alive[0], "2")
	r.await(t, "a delivery", func() bool { return r.has(alive[0], "2") })
	silent.Thaw()
	for end := time.Now().Add(hang); ; {
		ctx, cancel := context.WithTimeout(t.Context(), hang)
		err := b.Subscribe(ctx, dead[0])
		cancel()
		if err == nil {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("Subscribe after the node has woken up: got %v for %v, want nil", err, hang)
		}
	}
	if slices.Contains(r.envelopes(dead[0]), "1") {
		t.Error("a topic whose Subscribe failed: got a delivery, want none")
	}
	publish(t, b, dead[0], "3")
	r.await(t, "a delivery", func() bool { return r.has(dead[0], "3") })
}

func wantOneFailed(t *testing.T, err error, topic hub.Topic) {
	t.Helper()
	partial, ok := errors.AsType[*hub.SubscribeError](err)
	if !ok || len(partial.Failed) != 1 || partial.Failed[topic] == nil {
		t.Fatalf("Subscribe with a silent node: got %v, want a SubscribeError that names %q", err, topic)
	}
}
