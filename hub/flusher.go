package hub

import (
	"errors"
	"runtime"
	"sync"
)

// flusher is the set of workers that write. Clients with something waiting
// stand in its line, each at most once; a worker takes one, hands all that
// waits for it to the connection in one call, and goes on. No goroutine waits
// for any single client, and while workers are busy bursts gather.
type flusher struct {
	hub     *Hub
	workers sync.WaitGroup

	mu      sync.Mutex
	more    sync.Cond
	line    []*Client
	head    int
	stopped bool
}

func newFlusher(h *Hub) *flusher {
	f := &flusher{hub: h}
	f.more.L = &f.mu
	return f
}

func (f *flusher) start() {
	for range runtime.GOMAXPROCS(0) {
		f.workers.Go(f.work)
	}
}

// stop ends the workers and waits for them. Nobody pushes any more.
func (f *flusher) stop() {
	f.mu.Lock()
	f.stopped = true
	f.mu.Unlock()
	f.more.Broadcast()
	f.workers.Wait()
}

// push puts clients into the line. Each must have just become scheduled.
func (f *flusher) push(clients ...*Client) {
	if len(clients) == 0 {
		return
	}
	f.mu.Lock()
	if f.head > len(f.line)/2 {
		// A line that never empties would grow at its end for ever.
		n := copy(f.line, f.line[f.head:])
		clear(f.line[n:])
		f.line, f.head = f.line[:n], 0
	}
	f.line = append(f.line, clients...)
	f.mu.Unlock()
	if len(clients) == 1 {
		f.more.Signal()
	} else {
		f.more.Broadcast()
	}
}

func (f *flusher) pop() (*Client, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for f.head == len(f.line) && !f.stopped {
		f.more.Wait()
	}
	if f.head == len(f.line) {
		return nil, false
	}
	c := f.line[f.head]
	f.line[f.head] = nil
	f.head++
	if f.head == len(f.line) {
		f.line, f.head = f.line[:0], 0
	}
	return c, true
}

func (f *flusher) work() {
	var batch []Frame
	for {
		c, ok := f.pop()
		if !ok {
			return
		}
		batch = f.flush(c, batch[:0])
	}
}

// flush writes what waits for one client, and returns the batch's memory.
func (f *flusher) flush(c *Client, batch []Frame) []Frame {
	n := &f.hub.count
	batch, bytes := c.out.take(batch)
	if len(batch) == 0 {
		// It was dropped meanwhile.
		if c.out.settle(&f.hub.cfg, n, nil, 0, false, false) {
			f.push(c)
		}
		return batch
	}
	taken, err := c.conn.Send(batch)
	blocked := errors.Is(err, ErrWouldBlock)
	rest := batch[taken:]
	for _, frame := range rest {
		bytes -= frame.Size()
	}
	n.delivered.Add(uint64(taken))
	n.bytesOut.Add(uint64(bytes))
	n.flushes.Add(1)
	if observe := f.hub.cfg.Observer.Flushed; observe != nil {
		observe(FlushObservation{Frames: taken, Blocked: blocked})
	}
	failed := err != nil && !blocked
	if blocked {
		f.hub.heartbeat.watchBlocked(c)
	}
	if c.out.settle(&f.hub.cfg, n, rest, bytes, blocked, failed) {
		f.push(c)
	}
	// A connection that is over says so by Closed. To end the client here would
	// cut off the close frame that its transport may be writing.
	clear(batch)
	if cap(batch) > maxBatchMemory {
		return nil
	}
	return batch
}

// maxBatchMemory is the longest batch, in messages, whose memory a worker
// keeps.
const maxBatchMemory = 1024
