package tests_test

import (
	"strings"
	"testing"

	"forge.lthn.ai/core/go-ws/examples/tests/internal/child"
)

// redisServer is one that wants a password.
type redisServer struct {
	*child.Process
	addr, password string
}

func startRedis(t *testing.T) redisServer {
	t.Helper()
	const password = "pr1vate-w0rd"
	p, addr := child.Redis(t, "--requirepass", password)
	return redisServer{p, addr, password}
}

func (s redisServer) url(password string) string { return "redis://:" + password + "@" + s.addr }

func TestAMessagePostedToOneGatewayReachesABrowserOnTheOtherThroughRedis(t *testing.T) {
	redis := startRedis(t)
	binary := build(t, "gateway")
	args := []string{"-addr", "127.0.0.1:0", "-backplane", "redis", "-redis-url", redis.url(redis.password), "-ready-needs-backplane", "-log-level", "debug"}
	first, second := start(t, binary, args...), start(t, binary, args...)
	messagesCross(t, first, second)

	// Nor is the password in what they say when Redis goes.
	redis.Kill()
	for _, g := range []*program{first, second} {
		g.answers("/readyz", 503)
		g.stop()
		if said := g.Output(); strings.Contains(said, redis.password) {
			t.Errorf("the gateway says the password: %s", said)
		} else if !strings.Contains(said, redis.addr) {
			t.Errorf("got %q, want the log to tell of Redis at %s", said, redis.addr)
		}
	}
}

func TestAGatewayWithAWrongPasswordForRedisEndsAndDoesNotSayIt(t *testing.T) {
	redis := startRedis(t)
	g := child.Start(t, nil, build(t, "gateway"), "-addr", "127.0.0.1:0", "-backplane", "redis", "-redis-url", redis.url("wr0ng-w0rd"), "-log-level", "debug")
	g.Ends(1)
	said := g.Output()
	if !strings.Contains(said, "password") {
		t.Errorf("got %s, want a word of the password", said)
	}
	if strings.Contains(said, "wr0ng-w0rd") {
		t.Errorf("the gateway says the password: %s", said)
	}
}
