package hub

import (
	"hash/maphash"
	"sync"
	"sync/atomic"
)

// registry says which clients of this hub are on which channel. There are two:
// of channels, and of users, whose clients are on a channel of their own.
//
// Lock order: Client.subMu, channel.mu, outbox.mu, stream.mu. A shard's lock is never held
// together with a channel's.
type registry struct {
	seed   maphash.Seed
	shards [64]registryShard
	// nChannels and nSubs are what len and subscriptions answer.
	nChannels, nSubs atomic.Int64
}

type registryShard struct {
	mu       sync.RWMutex
	channels map[string]*channel
}

// channel is a channel that has subscribers on this hub. mu is held while a
// message is put into all their outboxes, so that all see one order.
type channel struct {
	name   string
	mu     sync.Mutex
	subs   []*subscription
	stream stream
	// dead: the last subscriber has left, and the channel is leaving the
	// registry.
	dead bool
}

// subscription is one client on one channel.
type subscription struct {
	client  *Client
	channel *channel
	// topic that is held for it at the backplane, nil without one.
	topic *topic
	// index in channel.subs, and whether the client has left it, guarded by
	// channel.mu.
	index int
	left  bool
}

func newRegistry() *registry {
	r := &registry{seed: maphash.MakeSeed()}
	for i := range r.shards {
		r.shards[i].channels = make(map[string]*channel)
	}
	return r
}

func (r *registry) shard(name string) *registryShard {
	return &r.shards[maphash.String(r.seed, name)%uint64(len(r.shards))]
}

func (r *registry) find(name string) *channel {
	s := r.shard(name)
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.channels[name]
}

func (r *registry) findOrMake(name string) *channel {
	if ch := r.find(name); ch != nil {
		return ch
	}
	s := r.shard(name)
	s.mu.Lock()
	defer s.mu.Unlock()
	ch := s.channels[name]
	if ch == nil {
		ch = &channel{name: name}
		s.channels[name] = ch
	}
	return ch
}

// forget takes a dead channel out of the registry.
func (r *registry) forget(ch *channel) {
	s := r.shard(ch.name)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.channels[ch.name] == ch {
		delete(s.channels, ch.name)
	}
}

func (ch *channel) addLocked(c *Client) *subscription {
	sub := &subscription{client: c, channel: ch, index: len(ch.subs)}
	ch.subs = append(ch.subs, sub)
	ch.stream.add(sub)
	return sub
}

func (ch *channel) removeLocked(sub *subscription) {
	last := len(ch.subs) - 1
	ch.subs[sub.index] = ch.subs[last]
	ch.subs[sub.index].index = sub.index
	ch.subs[last] = nil
	ch.subs = ch.subs[:last]
	if cap(ch.subs) > 64 && len(ch.subs) < cap(ch.subs)/4 {
		ch.subs = append(make([]*subscription, 0, 2*len(ch.subs)), ch.subs...)
	}
	sub.left = true
	if !sub.client.out.part(sub, true) {
		ch.stream.forget()
	}
}

// add puts a client on a channel. greet, if not nil, is called at the very
// moment from which the client gets the channel's messages; it must not block.
func (r *registry) add(name string, c *Client, greet func()) *subscription {
	for {
		ch := r.findOrMake(name)
		ch.mu.Lock()
		if ch.dead {
			ch.mu.Unlock()
			r.forget(ch)
			continue
		}
		sub := ch.addLocked(c)
		if len(ch.subs) == 1 {
			r.nChannels.Add(1)
		}
		r.nSubs.Add(1)
		if greet != nil {
			greet()
		}
		ch.mu.Unlock()
		return sub
	}
}

// remove takes a client off a channel; the last one takes the channel with it.
func (r *registry) remove(sub *subscription) {
	ch := sub.channel
	ch.mu.Lock()
	ch.removeLocked(sub)
	empty := len(ch.subs) == 0
	if empty {
		ch.dead = true
		r.nChannels.Add(-1)
	}
	r.nSubs.Add(-1)
	ch.mu.Unlock()
	if empty {
		r.forget(ch)
	}
}

// deliver queues a message for every subscriber of a channel and returns for
// how many.
func (r *registry) deliver(h *Hub, name string, frame Frame, key string) int {
	ch := r.find(name)
	if ch == nil {
		return 0
	}
	return ch.deliver(h, frame, key)
}

func (ch *channel) deliver(h *Hub, frame Frame, key string) int {
	var f fanOut
	ch.mu.Lock()
	ch.deliverLocked(h, &f, frame, key)
	f.schedule(h)
	ch.mu.Unlock()
	return f.finish(h)
}

func (ch *channel) deliverLocked(h *Hub, f *fanOut, frame Frame, key string) {
	following, apart, ok := ch.stream.begin(&h.cfg, frame, frame.Size())
	if !ok {
		for _, sub := range ch.subs {
			sub.client.out.part(sub, false)
		}
		following, apart, _ = ch.stream.begin(&h.cfg, frame, frame.Size())
	}
	f.queued += following
	kept := apart[:0]
	for _, l := range apart {
		if !f.add(h, l.client, frame, key, source{&ch.stream, l.sub}) {
			kept = append(kept, l)
		}
	}
	clear(apart[len(kept):])
	ch.stream.end(kept)
}

func (r *registry) len() int { return int(r.nChannels.Load()) }

func (r *registry) subscriptions() int { return int(r.nSubs.Load()) }

func (r *registry) subscribers(name string) int {
	ch := r.find(name)
	if ch == nil {
		return 0
	}
	ch.mu.Lock()
	defer ch.mu.Unlock()
	return len(ch.subs)
}

func (r *registry) names() []string {
	names := make([]string, 0, r.len())
	for i := range r.shards {
		s := &r.shards[i]
		s.mu.RLock()
		for name := range s.channels {
			names = append(names, name)
		}
		s.mu.RUnlock()
	}
	return names
}
