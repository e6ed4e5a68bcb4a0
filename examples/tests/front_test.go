package tests_test

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
)

// front is an address that stays while the program behind it comes and goes:
// a port that is given back may be somebody else's.
type front struct {
	url    string
	behind atomic.Pointer[string]
}

func newFront(t *testing.T) *front {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &front{url: "http://" + listener.Addr().String()}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			near, err := listener.Accept()
			if err != nil {
				return
			}
			running.Go(func() { f.join(near) })
		}
	})
	t.Cleanup(func() {
		listener.Close()
		running.Wait() // until both sides of each connection have gone
	})
	return f
}

// set says where connections go from now on.
func (f *front) set(addr string) { f.behind.Store(&addr) }

// join passes bytes both ways until one side ends. While nothing is behind, a
// connection ends at once.
func (f *front) join(near net.Conn) {
	defer near.Close()
	far, err := net.Dial("tcp", *f.behind.Load())
	if err != nil {
		return
	}
	defer far.Close()
	done := make(chan struct{}, 2)
	for _, way := range [][2]net.Conn{{near, far}, {far, near}} {
		go func() {
			io.Copy(way[0], way[1])
			done <- struct{}{}
		}()
	}
	<-done
	near.Close()
	far.Close()
	<-done
}
