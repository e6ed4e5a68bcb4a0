package tests

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"forge.lthn.ai/core/go-ws/backplane/redisbp"
	"forge.lthn.ai/core/go-ws/backplane/redisbp/tests/redistest"
	"forge.lthn.ai/core/go-ws/backplane/tests/netfault"
	"forge.lthn.ai/core/go-ws/hub"
	"github.com/redis/go-redis/v9"
)

// nowhere is an address at which nobody listens while the test lasts: its port is
// taken, and refuses connections.
func nowhere(t testing.TB) string {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Close(fd) })
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	at, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(at.(*syscall.SockaddrInet4).Port))
}

func TestABrokerThatIsRequiredMustBeThere(t *testing.T) {
	addr := nowhere(t)
	for name, url := range map[string]string{
		"server":    "redis://user:s3cr3t@" + addr,
		"Cluster":   "redis://user:s3cr3t@" + addr + "?cluster=true",
		"Sentinels": "redis://user:s3cr3t@" + addr + "?master_name=main&sentinel_password=s3cr3t",
	} {
		b := newBackplane(t, redisbp.Config{URL: url, RequireBroker: true})
		err := b.Start(t.Context(), newReceiver())
		if err == nil || !strings.Contains(err.Error(), addr) || strings.Contains(err.Error(), "s3cr3t") {
			t.Errorf("%s: Start: got %v, want an error that names %s and no password", name, err, addr)
		}
		if err := try(t, b, "c:x", "1", hang); !errors.Is(err, hub.ErrUnavailable) {
			t.Errorf("%s: Publish after a Start that failed: got %v, want %v", name, err, hub.ErrUnavailable)
		}
	}
}

func TestABrokerThatIsAwayIsUnavailableAtOnce(t *testing.T) {
	b, r := newBackplane(t, redisbp.Config{URL: "redis://" + nowhere(t)}), newReceiver()
	if err := b.Start(t.Context(), r); err != nil {
		t.Fatalf("Start: got %v, want nil", err)
	}
	began := time.Now()
	if err := try(t, b, "c:x", "1", hang); !errors.Is(err, hub.ErrUnavailable) {
		t.Errorf("Publish: got %v, want %v", err, hub.ErrUnavailable)
	}
	if err := b.Subscribe(t.Context(), "c:x"); !errors.Is(err, hub.ErrUnavailable) {
		t.Errorf("Subscribe: got %v, want %v", err, hub.ErrUnavailable)
	}
	if err := b.Unsubscribe(t.Context(), "c:x"); err != nil {
		t.Errorf("Unsubscribe: got %v, want nil", err)
	}
	if took := time.Since(began); took > hang/2 {
		t.Errorf("got answers after %v, want them at once", took)
	}
}

func TestAPasswordThatIsRefusedFailsStart(t *testing.T) {
	server := redistest.Start(t, "--requirepass", "right")
	set := map[string]string{
		"wrong password": "redis://:s3cr3t@" + server.Addr(),
		"wrong user":     "redis://somebody:s3cr3t@" + server.Addr(),
		"no password":    "redis://" + server.Addr(),
		"no database":    "redis://:right@" + server.Addr() + "/9999",
	}
	for name, url := range set {
		b := newBackplane(t, redisbp.Config{URL: url})
		err := refusal(t, b)
		if _, ok := errors.AsType[redis.Error](err); !ok {
			t.Errorf("%s: Start: got %v, want what the server said", name, err)
		}
		if err != nil && (strings.Contains(err.Error(), "s3cr3t") || strings.Contains(err.Error(), "right")) {
			t.Errorf("%s: Start: got the password in %v", name, err)
		}
	}
	b, _ := start(t, redisbp.Config{URL: "redis://:right@" + server.Addr()})
	publish(t, b, "c:x", "1")
}

// A server that is away at first and then refuses the password is reported.
func TestAPasswordThatIsRefusedLaterIsReported(t *testing.T) {
	server := redistest.Start(t, "--requirepass", "right")
	server.Kill()
	b, r := newBackplane(t, redisbp.Config{URL: "redis://:s3cr3t@" + server.Addr()}), newReceiver()
	if err := b.Start(t.Context(), r); err != nil {
		t.Fatalf("Start while the server is away: got %v, want nil", err)
	}
	server.Restart()
	r.await(t, "Disrupted", func() bool { return len(r.disrupted) > 0 })
	if err := r.reasons()[0]; !strings.Contains(err.Error(), "WRONGPASS") || strings.Contains(err.Error(), "s3cr3t") {
		t.Errorf("Disrupted: got %v, want the server's WRONGPASS and no password", err)
	}
	if err := server.Client().Do(t.Context(), "auth", "right").Err(); err != nil {
		t.Fatal(err)
	}
}

func TestAServerThatComesLate(t *testing.T) {
	server := redistest.Start(t)
	server.Kill()
	b, r := newBackplane(t, redisbp.Config{URL: "redis://" + server.Addr(), ProbeInterval: hang}), newReceiver()
	if err := b.Start(t.Context(), r); err != nil {
		t.Fatalf("Start: got %v, want nil", err)
	}
	server.Restart()
	r.await(t, "Restored", func() bool { return r.restored == 1 })
	subscribe(t, b, "c:x")
	publish(t, b, "c:x", "1")
	r.await(t, "a delivery", func() bool { return r.has("c:x", "1") })
	if got := r.reasons(); len(got) > 0 {
		t.Errorf("got Disrupted(%v), want nothing: nothing was lost", got)
	}
}

// Programs in other languages know these names.
func TestTheDefaultPrefixIsWs(t *testing.T) {
	server := redistest.Start(t)
	b, r := start(t, redisbp.Config{URL: "redis://" + server.Addr()})
	subscribe(t, b, "c:news")
	client := server.Client()
	if n, err := client.Publish(t.Context(), "ws:c:news", "from outside").Result(); n != 1 || err != nil {
		t.Errorf("PUBLISH ws:c:news: got %d receivers, %v, want 1", n, err)
	}
	r.await(t, "what another program has published", func() bool { return r.has("c:news", "from outside") })

	sub := client.Subscribe(t.Context(), "ws:c:news")
	defer sub.Close()
	if _, err := sub.Receive(t.Context()); err != nil {
		t.Fatal(err)
	}
	publish(t, b, "c:news", "from the hub")
	if m, err := sub.ReceiveMessage(t.Context()); err != nil || m.Payload != "from the hub" {
		t.Errorf("another program: got %v, %v, want what was published", m, err)
	}
}

func TestPrefixesKeepDeploymentsApart(t *testing.T) {
	server := redistest.Start(t)
	a, _ := start(t, redisbp.Config{URL: "redis://" + server.Addr(), Prefix: "a"})
	b, r := start(t, redisbp.Config{URL: "redis://" + server.Addr(), Prefix: "b"})
	subscribe(t, a, "c:x")
	subscribe(t, b, "c:x")
	publish(t, a, "c:x", "stray")
	publish(t, b, "c:x", "end")
	r.await(t, "the end", func() bool { return r.has("c:x", "end") })
	if slices.Contains(r.envelopes("c:x"), "stray") {
		t.Error("got what was published with another prefix, want nothing of it")
	}
}

func TestCallsToAFrozenServerEndWithTheirContexts(t *testing.T) {
	server := redistest.Start(t)
	b, _ := start(t, redisbp.Config{URL: "redis://" + server.Addr(), ProbeInterval: hang})
	subscribe(t, b, "c:old")
	server.Freeze()
	for name, call := range map[string]func(context.Context) error{
		"Publish":     func(ctx context.Context) error { _, err := b.Publish(ctx, hub.Publication{Topic: "c:x"}); return err },
		"Subscribe":   func(ctx context.Context) error { return b.Subscribe(ctx, "c:new") },
		"Unsubscribe": func(ctx context.Context) error { return b.Unsubscribe(ctx, "c:old") },
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		began := time.Now()
		err := call(ctx)
		took := time.Since(began)
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: got %v, want %v", name, err, context.DeadlineExceeded)
		}
		t.Logf("%s: %v", name, took)
	}
	server.Thaw()
}

// Publications that stand behind one that is under way are taken out when their
// contexts end. Those that were refused never arrive, and none comes twice.
func TestWhatWasNotSentNeverArrives(t *testing.T) {
	server := redistest.Start(t)
	b, r := start(t, redisbp.Config{URL: "redis://" + server.Addr(), ProbeInterval: hang})
	subscribe(t, b, "c:x")
	refused := make(map[string]bool)
	// Once is enough, but a machine that is busy may take longer than the pipeline
	// that they have to stand behind.
	for round, withdrawn, end := 0, 0, time.Now().Add(hang); withdrawn == 0; round++ {
		if time.Now().After(end) {
			t.Fatalf("got no publication withdrawn in %v, want some", hang)
		}
		server.Freeze()
		// When its outcome is unknown it is under way, and stays so for a while.
		first := try(t, b, "c:x", fmt.Sprint("first of round ", round), 100*time.Millisecond)
		if errors.Is(first, context.DeadlineExceeded) && !errors.Is(first, hub.ErrUnavailable) {
			for envelope, err := range tryAll(t, b, "c:x", fmt.Sprintf("round %d, number ", round), 50, 100*time.Millisecond) {
				refused[envelope] = errors.Is(err, hub.ErrUnavailable)
				if refused[envelope] && errors.Is(err, context.DeadlineExceeded) {
					withdrawn++
				}
			}
		}
		server.Thaw()
	}
	for {
		if err := try(t, b, "c:x", "end", hang); err == nil {
			break
		}
	}
	r.await(t, "the end", func() bool { return r.has("c:x", "end") })
	seen := make(map[string]int)
	for _, envelope := range r.envelopes("c:x") {
		if seen[envelope]++; refused[envelope] || seen[envelope] > 1 && envelope != "end" {
			t.Errorf("%q: got it %d times, refused %t", envelope, seen[envelope], refused[envelope])
		}
	}
}

// tryAll publishes so many envelopes at once, and returns how each has ended.
func tryAll(t testing.TB, b *redisbp.Backplane, topic hub.Topic, name string, many int, patience time.Duration) map[string]error {
	var mu sync.Mutex
	ends := make(map[string]error)
	var all sync.WaitGroup
	for i := range many {
		all.Go(func() {
			envelope := fmt.Sprint(name, i)
			err := try(t, b, topic, envelope, patience)
			mu.Lock()
			defer mu.Unlock()
			ends[envelope] = err
		})
	}
	all.Wait()
	return ends
}

// calls is how often the server has executed a command.
func calls(t testing.TB, client *redis.Client, command string) int {
	t.Helper()
	info, err := client.Info(t.Context(), "commandstats").Result()
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`cmdstat_` + command + `:calls=(\d+)`).FindStringSubmatch(info)
	if m == nil {
		return 0
	}
	n, _ := strconv.Atoi(m[1])
	return n
}

func TestTenThousandTopicsTakeFewCommands(t *testing.T) {
	const many, atMost = 10_000, 12
	server := redistest.Start(t)
	proxy := proxyTo(t, server.Addr())
	client := server.Client()
	b, r := start(t, redisbp.Config{URL: "redis://" + proxy.Addr(), ProbeInterval: hang})
	topics := make([]hub.Topic, many)
	for i := range topics {
		topics[i] = hub.Topic(fmt.Sprintf("c:topic-%d", i))
	}
	before := calls(t, client, "subscribe")
	began := time.Now()
	subscribe(t, b, topics...)
	t.Logf("subscribed to %d topics in %v", many, time.Since(began))
	if n := calls(t, client, "subscribe") - before; n > atMost {
		t.Errorf("subscribing to %d topics: got %d commands, want %d at most", many, n, atMost)
	}

	before = calls(t, client, "subscribe")
	began = time.Now()
	proxy.Reset()
	r.await(t, "Restored", func() bool { return r.restored == 2 })
	t.Logf("all back after %v", time.Since(began))
	if n := calls(t, client, "subscribe") - before; n > atMost {
		t.Errorf("coming back to %d topics: got %d commands, want %d at most", many, n, atMost)
	}
	if n, err := client.PubSubChannels(t.Context(), "ws:c:*").Result(); len(n) != many || err != nil {
		t.Errorf("when Restored was called: got %d topics at the server, %v, want %d", len(n), err, many)
	}

	if err := b.Unsubscribe(t.Context(), topics...); err != nil {
		t.Errorf("Unsubscribe: got %v, want nil", err)
	}
	if n, err := client.PubSubChannels(t.Context(), "ws:c:*").Result(); len(n) != 0 || err != nil {
		t.Errorf("after Unsubscribe: got %d topics at the server, %v, want none", len(n), err)
	}
}

func TestPublishersShareRoundTrips(t *testing.T) {
	const publishers, each = 64, 50
	server := redistest.Start(t)
	proxy := proxyTo(t, server.Addr())
	proxy.Delay(5 * time.Millisecond)
	client := server.Client()
	b, _ := start(t, redisbp.Config{URL: "redis://" + proxy.Addr(), ProbeInterval: hang})
	reads := func() int {
		info, err := client.Info(t.Context(), "stats").Result()
		if err != nil {
			t.Fatal(err)
		}
		n, _ := strconv.Atoi(regexp.MustCompile(`total_reads_processed:(\d+)`).FindStringSubmatch(info)[1])
		return n
	}
	// Who waits while others are under way shares the next pipeline. On a machine
	// that is busy few may wait, but not for long.
	for end := time.Now().Add(hang); ; {
		before, commands := reads(), calls(t, client, "publish")
		var all sync.WaitGroup
		for range publishers {
			all.Go(func() {
				for range each {
					if err := try(t, b, "c:x", "1", hang); err != nil {
						t.Errorf("Publish: got %v, want nil", err)
					}
				}
			})
		}
		all.Wait()
		if n := calls(t, client, "publish") - commands; n != publishers*each {
			t.Fatalf("got %d commands, want %d", n, publishers*each)
		}
		n := reads() - before
		if n <= publishers*each/8 {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("%d publications, again and again: got %d reads at the server, want an eighth at most", publishers*each, n)
		}
	}
}

// A subscriber that is behind by more than the server's limit is cut off.
func TestASubscriberThatIsCutOffIsToldSo(t *testing.T) {
	server := redistest.Start(t, "--client-output-buffer-limit", "pubsub 1mb 0 0")
	proxy := proxyTo(t, server.Addr())
	_, r := start(t, redisbp.Config{URL: "redis://" + proxy.Addr(), ProbeInterval: hang})
	b, r2 := start(t, redisbp.Config{URL: "redis://" + proxy.Addr(), ProbeInterval: hang})
	subscribe(t, b, "c:x")
	client := server.Client()
	proxy.Freeze(netfault.Hold)
	big := strings.Repeat("x", 256<<10)
	for n := int64(1); n > 0; {
		var err error
		if n, err = client.Publish(t.Context(), "ws:c:x", big).Result(); err != nil {
			t.Fatal(err)
		}
	}
	proxy.Thaw()
	r2.await(t, "Disrupted and Restored", func() bool { return len(r2.disrupted) == 1 && r2.restored == 2 })
	publish(t, b, "c:x", "end")
	r2.await(t, "the end", func() bool { return r2.has("c:x", "end") })
	if got := r.reasons(); len(got) > 0 {
		t.Errorf("the other one: got Disrupted(%v), want nothing", got)
	}
}

// lines keeps what is logged.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
	some chan struct{}
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case l.some <- struct{}{}:
	default:
	}
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func TestSettingsThatLoseMessagesAreLogged(t *testing.T) {
	server := redistest.Start(t, "--client-output-buffer-limit", "pubsub 1mb 0 0", "--proto-max-bulk-len", "1mb")
	log := &lines{some: make(chan struct{}, 1)}
	b, _ := start(t, redisbp.Config{
		URL: "redis://" + server.Addr(), ProbeInterval: hang, Logger: slog.New(slog.NewTextHandler(log, nil)),
	})
	<-log.some
	if got := log.String(); strings.Count(got, "level=WARN") != 1 ||
		!strings.Contains(got, "client-output-buffer-limit pubsub 1048576") || !strings.Contains(got, "proto-max-bulk-len 1048576") {
		t.Errorf("got %q, want one warning with both settings", got)
	}
	if err := try(t, b, "c:x", strings.Repeat("x", 1<<20+1), hang); !errors.Is(err, hub.ErrTooLarge) {
		t.Errorf("Publish over the server's limit: got %v, want %v", err, hub.ErrTooLarge)
	}
	publish(t, b, "c:x", strings.Repeat("x", 1<<20))
}
