package hub

import "sync"

// roster is all the clients of a hub. Its lock is held while a broadcast is put
// into all their outboxes, so that all see one order.
//
// Lock order: roster.mu, outbox.mu.
type roster struct {
	mu   sync.Mutex
	list []*Client
	byID map[string]*Client
}

func newRoster() *roster { return &roster{byID: make(map[string]*Client)} }

func (r *roster) add(c *Client) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c.rosterIndex = len(r.list)
	r.list = append(r.list, c)
	r.byID[c.id] = c
}

func (r *roster) remove(c *Client) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.byID[c.id] != c {
		return
	}
	delete(r.byID, c.id)
	last := len(r.list) - 1
	r.list[c.rosterIndex] = r.list[last]
	r.list[c.rosterIndex].rosterIndex = c.rosterIndex
	r.list[last] = nil
	r.list = r.list[:last]
}

func (r *roster) find(id string) *Client {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.byID[id]
}

func (r *roster) len() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.list)
}

func (r *roster) snapshot() []*Client {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]*Client(nil), r.list...)
}

// deliver queues a message for every client and returns for how many.
func (r *roster) deliver(h *Hub, frame Frame, key string) int {
	var f fanOut
	r.mu.Lock()
	for _, c := range r.list {
		f.add(h, c, frame, key, source{})
	}
	f.schedule(h)
	r.mu.Unlock()
	return f.finish(h)
}
