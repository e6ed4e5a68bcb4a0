package netfault

import (
	"context"
	"io"
	"net"
	"sync"
	"time"
)

const (
	chunkSize = 32 << 10
	// chunksInFlight bounds what one direction of a connection holds, beside
	// the kernel's buffers.
	chunksInFlight = 128
)

// conn is one client's connection and the one to the target. In each direction
// one goroutine reads and one writes, so that a delay does not make the stream
// narrower.
type conn struct {
	proxy  *Proxy
	client *net.TCPConn
	ctx    context.Context // ends with over
	cancel context.CancelFunc
	over   chan struct{} // closed when the connection has to end
	gone   chan struct{} // closed when it has ended

	// Guarded by proxy.mu.
	server *net.TCPConn // nil until the target is reached
	broken bool         // something was swallowed: it can't go on
	shut   bool
	hard   bool // it ends by a reset
}

// chunk is what was read at once. An end without data ends the stream.
type chunk struct {
	data []byte
	due  time.Time
	end  error
}

func (c *conn) serve() {
	defer c.leave()
	server := c.dial()
	if server == nil {
		return
	}
	var all sync.WaitGroup
	all.Go(func() { c.pump(server, c.client, &c.proxy.stats.Up) })
	all.Go(func() { c.pump(c.client, server, &c.proxy.stats.Down) })
	all.Wait()
}

// dial connects to the target, not before the proxy is thawed.
func (c *conn) dial() *net.TCPConn {
	p := c.proxy
	for {
		p.mu.Lock()
		frozen, thawed, target := p.frozen, p.thawed, p.target
		if frozen == Swallow {
			c.broken = true
		}
		p.mu.Unlock()
		if frozen == 0 {
			return c.connect(target)
		}
		if frozen == Swallow {
			// Somebody has to take the bytes, or the client would block.
			c.swallow()
		}
		select {
		case <-thawed:
		case <-c.over:
			return nil
		}
	}
}

func (c *conn) connect(target string) *net.TCPConn {
	var dialer net.Dialer
	server, err := dialer.DialContext(c.ctx, "tcp", target)
	p := c.proxy
	p.mu.Lock()
	defer p.mu.Unlock()
	if err != nil {
		if !c.shut {
			p.stats.Failed++
		}
		c.shutLocked(true)
		return nil
	}
	if c.shut {
		reset(server.(*net.TCPConn))
		return nil
	}
	c.server = server.(*net.TCPConn)
	return c.server
}

// swallow reads until the connection ends.
func (c *conn) swallow() {
	buf := make([]byte, chunkSize)
	for {
		n, err := c.client.Read(buf)
		c.proxy.mu.Lock()
		c.proxy.stats.Swallowed += int64(n)
		c.proxy.changedLocked()
		c.proxy.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// pump carries one direction.
func (c *conn) pump(to, from *net.TCPConn, counter *int64) {
	chunks := make(chan chunk, chunksInFlight)
	var writer sync.WaitGroup
	writer.Go(func() { c.write(to, chunks, counter) })
	defer writer.Wait()
	defer close(chunks)
	buf := make([]byte, chunkSize)
	for {
		n, err := from.Read(buf)
		next, pass := c.arrived(append([]byte(nil), buf[:n]...), err)
		if pass {
			select {
			case chunks <- next:
			case <-c.over:
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// arrived stamps and counts what came in, and reports whether it goes on.
func (c *conn) arrived(data []byte, end error) (next chunk, pass bool) {
	p := c.proxy
	p.mu.Lock()
	defer p.mu.Unlock()
	defer p.changedLocked()
	switch {
	case p.frozen == Swallow:
		c.broken = true
		p.stats.Swallowed += int64(len(data))
		return chunk{}, false
	case c.broken:
		return chunk{}, false
	case p.frozen == Hold:
		p.stats.Held += int64(len(data))
	}
	return chunk{data: data, due: time.Now().Add(p.delay), end: end}, true
}

func (c *conn) write(to *net.TCPConn, chunks <-chan chunk, counter *int64) {
	for next := range chunks {
		if !c.pass(next) {
			continue // read on: the reader must not block
		}
		if len(next.data) > 0 {
			c.count(len(next.data), counter) // before: who reads it may look
			if _, err := to.Write(next.data); err != nil {
				next.end = err
			}
		}
		switch {
		case next.end == io.EOF:
			_ = to.CloseWrite() // where it fails the other side has gone
		case next.end != nil:
			c.fail()
		}
	}
}

// pass waits until a chunk may go on. False: it must not.
func (c *conn) pass(next chunk) bool {
	if wait := time.Until(next.due); wait > 0 {
		timer := time.NewTimer(wait)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-c.over:
			return false
		}
	}
	p := c.proxy
	for {
		p.mu.Lock()
		frozen, thawed := p.frozen, p.thawed
		if frozen == Swallow {
			c.broken = true
			p.stats.Swallowed += int64(len(next.data))
			p.changedLocked()
		}
		broken, shut := c.broken, c.shut
		p.mu.Unlock()
		if broken || shut {
			return false
		}
		if frozen == 0 {
			return true
		}
		select {
		case <-thawed:
		case <-c.over:
			return false
		}
	}
}

func (c *conn) count(n int, counter *int64) {
	c.proxy.mu.Lock()
	defer c.proxy.mu.Unlock()
	*counter += int64(n)
	c.proxy.changedLocked()
}

// fail hands a broken connection on to the other side.
func (c *conn) fail() {
	c.proxy.mu.Lock()
	defer c.proxy.mu.Unlock()
	c.shutLocked(true)
}

// shutLocked ends the connection and reports whether it was not ended before.
func (c *conn) shutLocked(hard bool) bool {
	if c.shut {
		return false
	}
	c.shut, c.hard = true, hard
	close(c.over)
	c.cancel()
	for _, side := range []*net.TCPConn{c.client, c.server} {
		switch {
		case side == nil:
		case hard:
			reset(side)
		default:
			_ = side.Close() // the pumps see it
		}
	}
	return true
}

// leave forgets the connection.
func (c *conn) leave() {
	p := c.proxy
	p.mu.Lock()
	defer p.mu.Unlock()
	c.shutLocked(false)
	delete(p.conns, c)
	p.stats.Open--
	p.changedLocked()
	close(c.gone)
}
