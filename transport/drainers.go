package transport

import (
	"runtime"
	"sync"
)

// drainer is a goroutine that writes for one connection after the other. Its
// stack has grown to what crypto/tls needs, which a new goroutine's has not.
type drainer struct {
	work chan *outbox
	done chan struct{}
}

// maxDrainers is how many there are before a connection that has something to
// write lets them have the processor first, and how many wait for work.
const maxDrainers = 16

// drainers are those of a Transport, for connections that can only block. The
// last connection takes those that are spare with it.
type drainers struct {
	mu    sync.Mutex
	count int
	spare []*drainer
}

// drain has what waits for a connection written, and then counts down its
// drains, in which that is counted. It does not wait.
func (p *drainers) drain(o *outbox) {
	d, many := p.get()
	if d == nil && many {
		// Most of them only wait for the processor. Let them have it.
		runtime.Gosched()
		d, _ = p.get()
	}
	if d == nil {
		d = p.start()
	}
	d.work <- o
}

func (p *drainers) get() (d *drainer, many bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if last := len(p.spare) - 1; last >= 0 {
		d = p.spare[last]
		p.spare = p.spare[:last]
	}
	return d, p.count >= maxDrainers
}

func (p *drainers) start() *drainer {
	p.mu.Lock()
	p.count++
	p.mu.Unlock()
	d := &drainer{work: make(chan *outbox, 1), done: make(chan struct{})}
	go p.run(d)
	return d
}

func (p *drainers) run(d *drainer) {
	defer close(d.done)
	for o := range d.work {
		o.drain()
		// As long as the connection waits for this it has not left.
		kept := p.giveBack(d)
		o.drains.Done()
		if !kept {
			return
		}
	}
}

func (p *drainers) giveBack(d *drainer) (kept bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.spare) == maxDrainers {
		p.count--
		return false
	}
	p.spare = append(p.spare, d)
	return true
}

// dismiss ends those that are spare, and waits for them.
func (p *drainers) dismiss() {
	p.mu.Lock()
	spare := p.spare
	p.spare = nil
	p.count -= len(spare)
	p.mu.Unlock()
	for _, d := range spare {
		close(d.work)
		<-d.done
	}
}
