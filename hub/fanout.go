package hub

// fanOut is one message on its way into many outboxes. Its zero value is ready.
// add and schedule are called under the lock that orders the messages, finish
// after it.
type fanOut struct {
	queued    int
	scheduled [64]*Client
	n         int
	// overflowed clients are ended once no lock is held.
	overflowed []*Client
}

// add puts the message into a client's outbox and reports whether the client
// follows the channel's stream from now on.
func (f *fanOut) add(h *Hub, c *Client, frame Frame, key string, by source) (follows bool) {
	switch c.out.append(&h.cfg, &h.count, frame, key, by) {
	case appendFollows:
		f.queued++
		return true
	case appendedSchedule:
		f.scheduled[f.n] = c
		f.n++
		f.queued++
		if f.n == len(f.scheduled) {
			f.schedule(h)
		}
	case appended:
		f.queued++
	case appendOverflow:
		f.overflowed = append(f.overflowed, c)
	}
	return false
}

// schedule hands the clients that have become scheduled to the workers.
func (f *fanOut) schedule(h *Hub) {
	h.flusher.push(f.scheduled[:f.n]...)
	f.n = 0
}

// finish ends the clients that were too slow and returns for how many the
// message was queued.
func (f *fanOut) finish(h *Hub) int {
	for _, c := range f.overflowed {
		c.endSlow("outbox full")
	}
	h.count.queued.Add(uint64(f.queued))
	return f.queued
}

// sendTo queues a frame for one client and reports whether it was queued.
func (h *Hub) sendTo(c *Client, frame Frame) bool {
	var f fanOut
	f.add(h, c, frame, "", source{})
	f.schedule(h)
	return f.finish(h) == 1
}
