package client

import "sync"

// announcer calls the callbacks of the client's life, one after another, in the
// order in which things happened, on a goroutine that runs only while there is
// something to call.
type announcer struct {
	owner *ReconnectingClient

	mu      sync.Mutex
	waiting []func()
	left    int // errors that were left out
	running bool
	// room is closed when the queue is short again; nil where nobody waits.
	room chan struct{}
}

// maxAnnouncements is how many wait at most. Life's own are a handful for each
// connection, and a connection is not begun while so many wait; past them errors
// are left out.
const maxAnnouncements = 256

func (a *announcer) push(f func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.pushLocked(f)
}

func (a *announcer) pushLocked(f func()) {
	a.waiting = append(a.waiting, f)
	if !a.running {
		a.running = true
		a.owner.callbacks.Go(a.run)
	}
}

// pushError queues a call of OnError, or counts it where too many wait. It
// reports how many were left out before this one.
func (a *announcer) pushError(call func(left int)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.waiting) >= maxAnnouncements {
		a.left++
		return
	}
	left := a.left
	a.left = 0
	a.pushLocked(func() { call(left) })
}

func (a *announcer) run() {
	for {
		a.mu.Lock()
		if len(a.waiting) < maxAnnouncements/2 && a.room != nil {
			close(a.room)
			a.room = nil
		}
		if len(a.waiting) == 0 {
			a.running, a.waiting = false, nil
			a.mu.Unlock()
			return
		}
		f := a.waiting[0]
		a.waiting[0] = nil
		a.waiting = a.waiting[1:]
		a.mu.Unlock()
		f()
	}
}

// full returns what is closed when there is room again, or nil where there is.
func (a *announcer) full() <-chan struct{} {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.waiting) < maxAnnouncements/2 {
		return nil
	}
	if a.room == nil {
		a.room = make(chan struct{})
	}
	return a.room
}
