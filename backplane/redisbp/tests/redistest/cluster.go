package redistest

import (
	"context"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

const slots = 16384

// Cluster is a Redis Cluster: each master with as many replicas.
type Cluster struct {
	// Nodes are all servers, the first masters first.
	Nodes []*Server
	t     testing.TB
}

// StartCluster starts masters that share the slots, each with replicas, which
// take a node for dead after nodeTimeout, with settings as Start takes them.
func StartCluster(t testing.TB, masters, replicas int, nodeTimeout time.Duration, settings ...string) *Cluster {
	t.Helper()
	c := &Cluster{t: t}
	for range masters * (1 + replicas) {
		c.Nodes = append(c.Nodes, Start(t, append([]string{
			"--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf",
			"--cluster-node-timeout", fmt.Sprint(nodeTimeout.Milliseconds()), "--repl-diskless-sync-delay", "0",
		}, settings...)...))
	}
	ctx, cancel := context.WithTimeout(t.Context(), hang)
	defer cancel()
	clients := make([]*redis.Client, len(c.Nodes))
	for i, n := range c.Nodes {
		clients[i] = redis.NewClient(&redis.Options{Addr: n.Addr(), PoolSize: 1})
		defer clients[i].Close()
	}
	do := func(client *redis.Client, args ...any) {
		t.Helper()
		if err := client.Do(ctx, args...).Err(); err != nil {
			t.Fatalf("redistest: %v: %v", args, err)
		}
	}
	for i, client := range clients {
		do(client, "cluster", "set-config-epoch", i+1)
		if i < masters {
			if err := client.ClusterAddSlotsRange(ctx, i*slots/masters, (i+1)*slots/masters-1).Err(); err != nil {
				t.Fatalf("redistest: giving slots to a master: %v", err)
			}
		}
		host, port, err := net.SplitHostPort(c.Nodes[0].Addr())
		if err != nil {
			t.Fatal(err)
		}
		do(client, "cluster", "meet", host, port)
	}
	for _, client := range clients {
		poll(ctx, t, "all nodes to know each other", func() bool {
			return clusterInfo(ctx, client, "cluster_known_nodes") == fmt.Sprint(len(clients))
		})
	}
	for i, client := range clients[masters:] {
		do(client, "cluster", "replicate", clients[i%masters].ClusterMyID(ctx).Val())
	}
	for i := range clients {
		c.await(ctx, clients[i], masters, i >= masters)
	}
	return c
}

// await waits until a node takes the Cluster for whole, and as a replica is in
// step with its master.
func (c *Cluster) await(ctx context.Context, client *redis.Client, masters int, replica bool) {
	c.t.Helper()
	poll(ctx, c.t, "the Cluster to be whole", func() bool {
		if clusterInfo(ctx, client, "cluster_state") != "ok" || clusterInfo(ctx, client, "cluster_slots_ok") != fmt.Sprint(slots) {
			return false
		}
		//lint:ignore SA1019 Redis 6 has no CLUSTER SHARDS
		ranges, err := client.ClusterSlots(ctx).Result()
		if err != nil || len(ranges) != masters {
			return false
		}
		for _, r := range ranges {
			if len(r.Nodes) != len(c.Nodes)/masters {
				return false
			}
		}
		info, err := client.Info(ctx, "replication").Result()
		return err == nil && (!replica || strings.Contains(info, "master_link_status:up"))
	})
}

func clusterInfo(ctx context.Context, client *redis.Client, field string) string {
	info, err := client.ClusterInfo(ctx).Result()
	if err != nil {
		return ""
	}
	for line := range strings.Lines(info) {
		if value, ok := strings.CutPrefix(line, field+":"); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// URL is what redisbp needs.
func (c *Cluster) URL() string {
	url := fmt.Sprintf("redis://%s?cluster=true", c.Nodes[0].Addr())
	for _, n := range c.Nodes[1:] {
		url += "&addr=" + n.Addr()
	}
	return url
}

// Freeze and Thaw stop all nodes, and let them go on.
func (c *Cluster) Freeze() {
	for _, n := range c.Nodes {
		n.Freeze()
	}
}

// Thaw ends Freeze.
func (c *Cluster) Thaw() {
	for _, n := range c.Nodes {
		n.Thaw()
	}
}

// Owner is the master that serves the slot of a key, as the other nodes see it.
func (c *Cluster) Owner(key string) *Server {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), hang)
	defer cancel()
	for _, n := range c.Nodes {
		select {
		case <-n.process.exited:
			continue
		default:
		}
		client := redis.NewClient(&redis.Options{Addr: n.Addr(), PoolSize: 1})
		defer client.Close()
		slot, err := client.ClusterKeySlot(ctx, key).Result()
		if err != nil {
			c.t.Fatalf("redistest: %v", err)
		}
		//lint:ignore SA1019 Redis 6 has no CLUSTER SHARDS
		ranges, err := client.ClusterSlots(ctx).Result()
		if err != nil {
			c.t.Fatalf("redistest: %v", err)
		}
		for _, r := range ranges {
			if int64(r.Start) > slot || slot > int64(r.End) {
				continue
			}
			for _, s := range c.Nodes {
				if s.Addr() == r.Nodes[0].Addr { // the master
					return s
				}
			}
		}
	}
	c.t.Fatalf("redistest: nobody serves the slot of %q", key)
	return nil
}

// Migrate gives the slot of a key, which holds nothing, to another master.
func (c *Cluster) Migrate(key string, to *Server) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), hang)
	defer cancel()
	from := c.Owner(key)
	source := redis.NewClient(&redis.Options{Addr: from.Addr(), PoolSize: 1})
	defer source.Close()
	target := redis.NewClient(&redis.Options{Addr: to.Addr(), PoolSize: 1})
	defer target.Close()
	slot := source.ClusterKeySlot(ctx, key).Val()
	id := target.ClusterMyID(ctx).Val()
	for _, step := range []*redis.Cmd{
		target.Do(ctx, "cluster", "setslot", slot, "importing", source.ClusterMyID(ctx).Val()),
		source.Do(ctx, "cluster", "setslot", slot, "migrating", id),
		target.Do(ctx, "cluster", "setslot", slot, "node", id),
		source.Do(ctx, "cluster", "setslot", slot, "node", id),
	} {
		if step.Err() != nil {
			c.t.Fatalf("redistest: moving slot %d: %v", slot, step)
		}
	}
}
