package redisbp

import (
	"strconv"

	"forge.lthn.ai/core/go-ws/hub"
)

// names makes the names of Redis channels. Redis takes any bytes, so topics go
// into them unchanged:
//
//	ws:c:news          ordinary pub/sub
//	ws:{p17}:c:news    sharded pub/sub; what is in braces decides the slot
type names struct {
	prefix string
	// partitions is how many there are with sharded pub/sub, zero without.
	partitions int
}

// channel is the Redis channel of a topic, and the partition that it is in.
func (n names) channel(t hub.Topic) (name string, partition int) {
	if n.partitions == 0 {
		return n.prefix + ":" + string(t), 0
	}
	partition = int(fnv1a(t) % uint32(n.partitions))
	return n.space(partition) + string(t), partition
}

// probe is the channel of a connection's own probes. A topic begins with a
// letter and a colon, so it can't be one.
func (n names) probe(id string, partition int) string {
	return n.space(partition) + "$probe:" + id
}

// space is how the channels of a partition begin.
func (n names) space(partition int) string {
	if n.partitions == 0 {
		return n.prefix + ":"
	}
	return n.prefix + ":{p" + strconv.Itoa(partition) + "}:"
}

// fnv1a is the 32-bit FNV-1a hash. All hubs of a deployment, of whatever version,
// must find the same partition.
func fnv1a(t hub.Topic) uint32 {
	h := uint32(2166136261)
	for i := range len(t) {
		h = (h ^ uint32(t[i])) * 16777619
	}
	return h
}
