package natsbp_test

import (
	"bufio"
	"net"
	"strings"
	"sync"
	"testing"
)

// fake is a server that answers PINGs, unless it is told to hold the answers
// back, and does nothing else but count.
type fake struct {
	url string

	mu      sync.Mutex
	changed chan struct{} // closed and replaced at every change
	held    chan struct{} // closed when answers are held no more; nil: they are not
	pings   int
	pubs    int
}

func serve(t *testing.T) *fake {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &fake{url: "nats://" + l.Addr().String(), changed: make(chan struct{})}
	var all sync.WaitGroup
	t.Cleanup(func() { l.Close(); all.Wait() })
	all.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() { f.talk(conn) })
		}
	})
	return f
}

func (f *fake) talk(conn net.Conn) {
	answers := make(chan chan struct{}, 1000)
	var writing sync.WaitGroup
	defer writing.Wait()
	defer conn.Close()
	defer close(answers)
	if _, err := conn.Write([]byte("INFO {\"server_id\":\"x\",\"version\":\"2.10.0\",\"proto\":1,\"max_payload\":1048576}\r\n")); err != nil {
		return
	}
	writing.Go(func() {
		for held := range answers {
			if held != nil {
				<-held
			}
			if _, err := conn.Write([]byte("PONG\r\n")); err != nil {
				conn.Close() // the reader sees it
			}
		}
	})
	for lines := bufio.NewScanner(conn); lines.Scan(); {
		switch verb, _, _ := strings.Cut(lines.Text(), " "); verb {
		case "PING":
			f.note(func() { f.pings++; answers <- f.held })
		case "PUB":
			f.note(func() { f.pubs++ })
		}
	}
}

func (f *fake) note(what func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	what()
	close(f.changed)
	f.changed = make(chan struct{})
}

// hold keeps answers back from now on, until release.
func (f *fake) hold() (release func()) {
	held := make(chan struct{})
	f.note(func() { f.held = held })
	return func() {
		f.note(func() { f.held = nil })
		close(held)
	}
}

// seen is how many PINGs and publications came.
func (f *fake) seen() (pings, pubs int, changed <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.pings, f.pubs, f.changed
}
