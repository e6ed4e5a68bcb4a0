package hub

import "sync"

// roster is all the clients of a hub.
//
// Lock order: roster.mu, and everybody.mu as any channel's.
type roster struct {
	mu   sync.Mutex
	byID map[string]*Client
	// everybody is the channel that broadcasts go to.
	everybody channel
}

func newRoster() *roster { return &roster{byID: make(map[string]*Client)} }

func (r *roster) add(c *Client) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.byID[c.id] = c
	r.everybody.mu.Lock()
	defer r.everybody.mu.Unlock()
	c.present = r.everybody.addLocked(c)
}

func (r *roster) remove(c *Client) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.byID[c.id] != c {
		return
	}
	delete(r.byID, c.id)
	r.everybody.mu.Lock()
	defer r.everybody.mu.Unlock()
	r.everybody.removeLocked(c.present)
}

func (r *roster) find(id string) *Client {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.byID[id]
}

func (r *roster) len() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.byID)
}

func (r *roster) snapshot() []*Client {
	r.everybody.mu.Lock()
	defer r.everybody.mu.Unlock()
	list := make([]*Client, 0, len(r.everybody.subs))
	for _, sub := range r.everybody.subs {
		list = append(list, sub.client)
	}
	return list
}

// deliver queues a message for every client and returns for how many.
func (r *roster) deliver(h *Hub, frame Frame, key string) int {
	return r.everybody.deliver(h, frame, key)
}
