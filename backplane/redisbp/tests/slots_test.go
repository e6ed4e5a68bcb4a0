package tests

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"slices"
	"strings"
	"testing"
	"time"

	"forge.lthn.ai/core/go-ws/backplane/redisbp"
	"forge.lthn.ai/core/go-ws/backplane/redisbp/tests/redistest"
	"forge.lthn.ai/core/go-ws/hub"
)

// A node says when it gives a slot away, and the subscriptions go after it: this
// needs no probe.
func TestASubscriptionFollowsItsSlot(t *testing.T) {
	cluster := redistest.StartCluster(t, 3, 0, 2*hang)
	b, r := start(t, redisbp.Config{URL: cluster.URL(), ProbeInterval: hang, Partitions: 16})
	topics := make([]hub.Topic, 16)
	for i := range topics {
		for n := 0; topics[i] == ""; n++ {
			if topic := hub.Topic(fmt.Sprintf("c:topic-%d", n)); fnv1a(topic)%16 == uint32(i) {
				topics[i] = topic
			}
		}
	}
	subscribe(t, b, topics...)
	const moved = 15 // probes are in the first partition of each node
	key := fmt.Sprintf("{p%d}", moved)
	to := cluster.Nodes[0]
	if to == cluster.Owner(key) {
		to = cluster.Nodes[1]
	}
	cluster.Migrate(key, to)
	r.await(t, "Disrupted and Restored", func() bool { return len(r.disrupted) == 1 && r.restored == 2 })
	for _, topic := range topics {
		publish(t, b, topic, "1")
		r.await(t, "a delivery", func() bool { return r.has(topic, "1") })
	}
}

// A node that is replaced and says nothing is left when the others have agreed: this
// needs no probe.
func TestANodeThatIsReplacedAndSaysNothingIsLeft(t *testing.T) {
	cluster := redistest.StartCluster(t, 3, 1, deadAfter)
	b, r := start(t, redisbp.Config{URL: cluster.URL(), ProbeInterval: 10 * hang, Partitions: 1})
	subscribe(t, b, "c:x")
	cluster.Owner("{p0}").Freeze()
	r.await(t, "Disrupted by a node that says nothing, and Restored", func() bool {
		return r.restored > 1 && slices.ContainsFunc(r.disrupted, func(err error) bool { return strings.Contains(err.Error(), "said nothing") })
	})
	publish(t, b, "c:x", "1")
	r.await(t, "a delivery", func() bool { return r.has("c:x", "1") })
}

// A partition without topics changes its node and nobody hears of it. A node is left
// that serves no partition any more.
func TestANodeIsJoinedAndLeftWithItsPartitions(t *testing.T) {
	cluster := redistest.StartCluster(t, 2, 0, 2*hang)
	one, other := cluster.Owner("{p0}"), cluster.Nodes[0]
	if one == other {
		other = cluster.Nodes[1]
	}
	if cluster.Owner("{p1}") == other {
		cluster.Migrate("{p1}", one)
	}
	b, r := start(t, redisbp.Config{URL: cluster.URL(), ProbeInterval: 10 * hang, Partitions: 2})
	client := other.Client()
	subscriber := func(want bool) {
		t.Helper()
		for end := time.Now().Add(hang); ; {
			list, err := client.ClientList(t.Context()).Result()
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(list, "subscribe") == want {
				return
			}
			if time.Now().After(end) {
				t.Fatalf("a subscribing connection: got %v for %v, want %v:\n%s", !want, hang, want, list)
			}
		}
	}
	subscriber(false)
	cluster.Migrate("{p1}", other) // probes are in the first partition of each node
	subscriber(true)
	if got := r.reasons(); len(got) > 0 {
		t.Errorf("when a partition without topics moves: got Disrupted(%v), want nothing", got)
	}
	cluster.Migrate("{p1}", one)
	subscriber(false)
	topic := hub.Topic("c:x")
	for n := 0; fnv1a(topic)%2 != 1; n++ {
		topic = hub.Topic(fmt.Sprintf("c:x-%d", n))
	}
	for end := time.Now().Add(hang); b.Subscribe(t.Context(), topic) != nil; {
		if time.Now().After(end) {
			t.Fatalf("Subscribe in a partition that has moved: got nothing but errors for %v, want nil", hang)
		}
	}
	publish(t, b, topic, "1")
	r.await(t, "a delivery", func() bool { return r.has(topic, "1") })
}

// Publish looks for the node of a slot for a while, and not for as long as its caller
// would wait.
func TestAPublishToASlotThatNobodyServesEndsByItself(t *testing.T) {
	cluster := redistest.StartCluster(t, 1, 0, 2*hang)
	b, _ := start(t, redisbp.Config{URL: cluster.URL(), ProbeInterval: 10 * hang, Partitions: 1})
	client := cluster.Nodes[0].Client()
	slot, err := client.ClusterKeySlot(t.Context(), "{p0}").Result()
	if err != nil {
		t.Fatal(err)
	}
	if err := client.ClusterDelSlots(t.Context(), int(slot)).Err(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), hang)
	defer cancel()
	_, err = b.Publish(ctx, hub.Publication{Topic: "c:x", ID: "id", Envelope: []byte("1")})
	if !errors.Is(err, hub.ErrUnavailable) || ctx.Err() != nil {
		t.Errorf("Publish: got %v, %v, want %v before the context ends", err, ctx.Err(), hub.ErrUnavailable)
	}
}

func fnv1a(topic hub.Topic) uint32 {
	h := fnv.New32a()
	h.Write([]byte(topic))
	return h.Sum32()
}
