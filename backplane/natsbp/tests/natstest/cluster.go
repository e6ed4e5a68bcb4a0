package natstest

import (
	"fmt"
	"net/url"
	"testing"

	"github.com/nats-io/nats-server/v2/server"

	"forge.lthn.ai/core/go-ws/backplane/tests/netfault"
)

// Node is a server of a cluster. Clients reach it, and are told of it, by its
// proxy.
type Node struct {
	*server.Server
	Proxy *netfault.Proxy
}

// Cluster is three servers that are joined by routes.
type Cluster struct {
	Nodes []*Node
	t     testing.TB
	with  func(server.Options) server.Options
}

// StartCluster starts one, named node-0 to node-2, and returns when each sees
// the others. with, unless nil, completes each server's options.
func StartCluster(t testing.TB, with func(server.Options) server.Options) *Cluster {
	t.Helper()
	c := &Cluster{t: t, with: with}
	for i := range 3 {
		c.Nodes = append(c.Nodes, &Node{Proxy: Proxy(t, "")})
		c.start(i)
	}
	c.whole()
	return c
}

// Restart starts a node again that was stopped, and returns when all nodes see
// each other.
func (c *Cluster) Restart(i int) {
	c.t.Helper()
	c.start(i)
	c.whole()
}

func (c *Cluster) start(i int) {
	c.t.Helper()
	n := c.Nodes[i]
	o := server.Options{
		ServerName:      fmt.Sprint("node-", i),
		ClientAdvertise: n.Proxy.Addr(),
		Cluster:         server.ClusterOpts{Name: "test", Host: "127.0.0.1", Port: server.RANDOM_PORT},
	}
	for _, other := range c.Nodes {
		if other != n {
			o.Routes = append(o.Routes, &url.URL{Scheme: "nats-route", Host: other.ClusterAddr().String()})
		}
	}
	if c.with != nil {
		o = c.with(o)
	}
	n.Server = Start(c.t, o)
	n.Proxy.SetTarget(Addr(n.Server))
}

// whole waits until each node sees the others.
func (c *Cluster) whole() {
	c.t.Helper()
	Eventually(c.t, "servers that see each other", func() error {
		for _, n := range c.Nodes {
			if got := len(peers(n.Server)); got < len(c.Nodes)-1 {
				return fmt.Errorf("%s with %d peers", n.Name(), got)
			}
		}
		return nil
	})
}

// peers are the servers that one has routes to.
func peers(s *server.Server) map[string]bool {
	names := make(map[string]bool)
	routes, err := s.Routez(nil)
	if err != nil {
		return names
	}
	for _, r := range routes.Routes {
		names[r.RemoteName] = true
	}
	return names
}
