package redistest

import (
	"context"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// MasterName is the name of the master that Sentinels watch.
const MasterName = "main"

// SentinelSet is a master, its replicas, and the Sentinels that watch them.
type SentinelSet struct {
	// Servers are the first master and its replicas.
	Servers []*Server
	// Sentinels take a majority to replace the master.
	Sentinels []*Server
}

// StartSentinels starts a master with replicas, and Sentinels that take a server
// for dead after downAfter.
func StartSentinels(t testing.TB, replicas, sentinels int, downAfter time.Duration) *SentinelSet {
	t.Helper()
	set := &SentinelSet{Servers: []*Server{Start(t, "--repl-diskless-sync-delay", "0")}}
	host, port, err := net.SplitHostPort(set.Servers[0].Addr())
	if err != nil {
		t.Fatal(err)
	}
	for range replicas {
		set.Servers = append(set.Servers, Start(t, "--repl-diskless-sync-delay", "0", "--replicaof", host, port))
	}
	for range sentinels {
		s := &Server{t: t, dir: t.TempDir(), args: []string{"--sentinel"}, done: sentinelReady}
		s.writeConfig(fmt.Sprintf(`sentinel monitor %[1]s %[2]s %[3]s %[4]d
sentinel down-after-milliseconds %[1]s %[5]d
sentinel failover-timeout %[1]s 6000
`, MasterName, host, port, sentinels/2+1, downAfter.Milliseconds()))
		s.startSomewhere()
		set.Sentinels = append(set.Sentinels, s)
	}
	set.await(t, replicas, sentinels)
	return set
}

// await waits until each Sentinel knows the others and all replicas are in step:
// before, none of them would take over.
func (set *SentinelSet) await(t testing.TB, replicas, sentinels int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), hang)
	defer cancel()
	for _, s := range set.Sentinels {
		c := redis.NewSentinelClient(&redis.Options{Addr: s.Addr()})
		defer c.Close()
		poll(ctx, t, "the Sentinels to know all", func() bool {
			others, err := c.Sentinels(ctx, MasterName).Result()
			if err != nil || len(others) != sentinels-1 {
				return false
			}
			slaves, err := c.Replicas(ctx, MasterName).Result()
			if err != nil || len(slaves) != replicas {
				return false
			}
			for _, slave := range slaves {
				if slave["flags"] != "slave" || slave["master-link-status"] != "ok" {
					return false
				}
			}
			return true
		})
	}
}

// URL is what redisbp needs.
func (set *SentinelSet) URL() string {
	url := fmt.Sprintf("redis://%s?master_name=%s", set.Sentinels[0].Addr(), MasterName)
	for _, s := range set.Sentinels[1:] {
		url += "&addr=" + s.Addr()
	}
	return url
}

// Master asks the Sentinels who is the master now.
func (set *SentinelSet) Master() *Server {
	t := set.Servers[0].t
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), hang)
	defer cancel()
	c := redis.NewSentinelClient(&redis.Options{Addr: set.Sentinels[0].Addr()})
	defer c.Close()
	addr, err := c.GetMasterAddrByName(ctx, MasterName).Result()
	if err != nil {
		t.Fatalf("redistest: asking a Sentinel: %v", err)
	}
	for _, s := range set.Servers {
		if s.Addr() == net.JoinHostPort(addr[0], addr[1]) {
			return s
		}
	}
	t.Fatalf("redistest: the master is %v, which is none of ours", addr)
	return nil
}

// poll asks again and again: servers don't say when they are ready.
func poll(ctx context.Context, t testing.TB, what string, done func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("redistest: got nothing for %v, want %s", hang, what)
		}
	}
}
