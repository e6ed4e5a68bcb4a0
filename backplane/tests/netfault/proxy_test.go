package netfault_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"syscall"
	"testing"
	"time"

	"forge.lthn.ai/core/go-ws/backplane/tests/netfault"
)

const hang = time.Minute

// echo is a server that sends back what it gets, after its name, and tells how
// connections end.
type echo struct {
	addr string
	ends chan error // nil for an end of file
}

func serve(t *testing.T, name string) *echo {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	e := &echo{addr: listener.Addr().String(), ends: make(chan error, 100)}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer c.Close()
				if name != "" {
					fmt.Fprint(c, name)
				}
				_, err := io.Copy(c, c)
				e.ends <- err
			})
		}
	})
	t.Cleanup(func() { listener.Close(); all.Wait() })
	return e
}

func listen(t *testing.T, target string) *netfault.Proxy {
	t.Helper()
	p, err := netfault.Listen(target)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

func dial(t *testing.T, p *netfault.Proxy) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", p.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(hang)); err != nil {
		t.Fatal(err)
	}
	return c
}

// dialRefused returns how a connection that is turned away ends, be it within
// the dial or after it.
func dialRefused(t *testing.T, p *netfault.Proxy) error {
	t.Helper()
	c, err := net.Dial("tcp", p.Addr())
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(hang)); err != nil {
		return err
	}
	return ended(t, c)
}

func say(t *testing.T, c net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatalf("writing %q: got %v, want nil", text, err)
	}
}

func hear(t *testing.T, c net.Conn, want string) {
	t.Helper()
	got := make([]byte, len(want))
	if _, err := io.ReadFull(c, got); err != nil || string(got) != want {
		t.Fatalf("reading: got %q, %v, want %q", got, err, want)
	}
}

func wait(t *testing.T, p *netfault.Proxy, what string, condition func(netfault.Stats) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), hang)
	defer cancel()
	if err := p.Wait(ctx, condition); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

func ended(t *testing.T, c net.Conn) error {
	t.Helper()
	n, err := io.Copy(io.Discard, c)
	if n > 0 {
		t.Errorf("after the connection's end: got %d bytes, want none", n)
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, syscall.ETIMEDOUT) {
		t.Fatalf("the connection's end: got nothing for %v", hang)
	}
	return err
}

func TestBytesPassUnchangedAndAreCounted(t *testing.T) {
	p := listen(t, serve(t, "").addr)
	c := dial(t, p)
	big := make([]byte, 3<<20)
	for i := range big {
		big[i] = byte(i * 7)
	}
	go func() { _, _ = c.Write(big) }()
	got := make([]byte, len(big))
	if _, err := io.ReadFull(c, got); err != nil {
		t.Fatal(err)
	}
	if string(got) != string(big) {
		t.Error("3 MiB through the proxy: got other bytes")
	}
	wait(t, p, "counters", func(s netfault.Stats) bool {
		return s.Up == int64(len(big)) && s.Down == int64(len(big)) && s.Accepted == 1 && s.Open == 1
	})
}

func TestAnEndPassesInEachDirectionAlone(t *testing.T) {
	server := serve(t, "")
	p := listen(t, server.addr)
	c := dial(t, p)
	say(t, c, "last words")
	if err := c.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	hear(t, c, "last words")
	if err := ended(t, c); err != nil {
		t.Errorf("the server's end: got %v, want an end of file", err)
	}
	wait(t, p, "the connection's end", func(s netfault.Stats) bool { return s.Open == 0 && s.Cut == 0 })
}

func TestCutEndsAllAndTakesNewOnes(t *testing.T) {
	server := serve(t, "")
	p := listen(t, server.addr)
	conns := []net.Conn{dial(t, p), dial(t, p), dial(t, p)}
	for _, c := range conns {
		say(t, c, "x")
		hear(t, c, "x")
	}
	if got, want := p.Cut(), len(conns); got != want {
		t.Errorf("Cut: got %d connections, want %d", got, want)
	}
	for _, c := range conns {
		if err := ended(t, c); err != nil {
			t.Errorf("client after Cut: got %v, want an end of file", err)
		}
		if err := <-server.ends; err != nil {
			t.Errorf("server after Cut: got %v, want an end of file", err)
		}
	}
	if s := p.Stats(); s.Open != 0 || s.Cut != 3 {
		t.Errorf("after Cut: got %+v, want 3 cut, none open", s)
	}
	c := dial(t, p)
	say(t, c, "again")
	hear(t, c, "again")
}

func TestResetIsATrueReset(t *testing.T) {
	server := serve(t, "")
	p := listen(t, server.addr)
	c := dial(t, p)
	say(t, c, "x")
	hear(t, c, "x")
	if got := p.Reset(); got != 1 {
		t.Errorf("Reset: got %d connections, want 1", got)
	}
	if err := ended(t, c); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("client: got %v, want %v", err, syscall.ECONNRESET)
	}
	if err := <-server.ends; !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("server: got %v, want %v", err, syscall.ECONNRESET)
	}
}

func TestAResetOfOneSideReachesTheOther(t *testing.T) {
	server := serve(t, "")
	p := listen(t, server.addr)
	c := dial(t, p)
	say(t, c, "x")
	hear(t, c, "x")
	if err := c.(*net.TCPConn).SetLinger(0); err != nil {
		t.Fatal(err)
	}
	c.Close()
	if err := <-server.ends; !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("server: got %v, want %v", err, syscall.ECONNRESET)
	}
}

func TestFreezeHoldsBytesAndEndsUntilThaw(t *testing.T) {
	server := serve(t, "")
	p := listen(t, server.addr)
	c := dial(t, p)
	say(t, c, "1")
	hear(t, c, "1")
	p.Freeze(netfault.Hold)
	say(t, c, "23")
	if err := c.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	late := dial(t, p)
	say(t, late, "4")
	wait(t, p, "two bytes held", func(s netfault.Stats) bool { return s.Held >= 2 })
	select {
	case err := <-server.ends:
		t.Fatalf("while frozen: the server saw an end (%v)", err)
	default:
	}
	if s := p.Stats(); s.Up != 1 || s.Down != 1 {
		t.Errorf("while frozen: got %d bytes up and %d down, want 1 and 1", s.Up, s.Down)
	}
	p.Thaw()
	hear(t, c, "23")
	if err := ended(t, c); err != nil {
		t.Errorf("after Thaw: got %v, want an end of file", err)
	}
	hear(t, late, "4")
	if s := p.Stats(); s.Swallowed != 0 || s.Cut != 0 {
		t.Errorf("after Thaw: got %+v, want nothing swallowed or cut", s)
	}
}

func TestFreezeSwallowsAndThawResetsWhatHasHoles(t *testing.T) {
	server := serve(t, "")
	p := listen(t, server.addr)
	speaks, silent := dial(t, p), dial(t, p)
	for _, c := range []net.Conn{speaks, silent} {
		say(t, c, "1")
		hear(t, c, "1")
	}
	p.Freeze(netfault.Swallow)
	say(t, speaks, "lost")
	late := dial(t, p)
	say(t, late, "lost too")
	wait(t, p, "bytes swallowed", func(s netfault.Stats) bool { return s.Swallowed == 12 && s.Accepted == 3 })
	if s := p.Stats(); s.Open != 3 || s.Up != 2 {
		t.Errorf("while frozen: got %+v, want 3 open and 2 bytes up", s)
	}
	p.Thaw()
	for _, c := range []net.Conn{speaks, late} {
		if err := ended(t, c); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("connection with a hole: got %v, want %v", err, syscall.ECONNRESET)
		}
	}
	say(t, silent, "2")
	hear(t, silent, "2")
	again := dial(t, p)
	say(t, again, "3")
	hear(t, again, "3")
}

func TestRefuseNewLeavesOldConnectionsAlone(t *testing.T) {
	p := listen(t, serve(t, "").addr)
	old := dial(t, p)
	say(t, old, "1")
	hear(t, old, "1")
	p.RefuseNew(true)
	p.Freeze(netfault.Hold)
	if err := dialRefused(t, p); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("refused: got %v, want %v", err, syscall.ECONNRESET)
	}
	if got := p.Stats().Refused; got != 1 {
		t.Errorf("refused: got %d, want 1", got)
	}
	p.RefuseNew(false)
	p.Thaw()
	say(t, old, "2")
	hear(t, old, "2")
	c := dial(t, p)
	say(t, c, "3")
	hear(t, c, "3")
}

func TestDelayHoldsBackEachByte(t *testing.T) {
	p := listen(t, serve(t, "").addr)
	c := dial(t, p)
	say(t, c, "1")
	hear(t, c, "1")
	const delay = 50 * time.Millisecond
	p.Delay(delay)
	began := time.Now()
	say(t, c, "2")
	hear(t, c, "2")
	if took := time.Since(began); took < 2*delay {
		t.Errorf("there and back: took %v, want %v at least", took, 2*delay)
	}
	p.Delay(0)
	say(t, c, "3")
	hear(t, c, "3")
}

func TestTheTargetCanBeChangedAndBeAway(t *testing.T) {
	one, two := serve(t, "one"), serve(t, "two")
	p := listen(t, one.addr)
	first := dial(t, p)
	hear(t, first, "one")
	p.SetTarget(two.addr)
	hear(t, dial(t, p), "two")
	say(t, first, "x")
	hear(t, first, "x")

	p.SetTarget("127.0.0.1:1") // nobody
	if err := dialRefused(t, p); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("target away: got %v, want %v", err, syscall.ECONNRESET)
	}
	wait(t, p, "a failure", func(s netfault.Stats) bool { return s.Failed == 1 })
}

// In whatever state it is, a proxy can be closed, and nothing of it is left:
// the package's tests run under goleak.
func TestCloseEndsEverything(t *testing.T) {
	for name, fault := range map[string]func(*netfault.Proxy){
		"idle":      func(*netfault.Proxy) {},
		"held":      func(p *netfault.Proxy) { p.Freeze(netfault.Hold) },
		"swallowed": func(p *netfault.Proxy) { p.Freeze(netfault.Swallow) },
		"changed":   func(p *netfault.Proxy) { p.Freeze(netfault.Hold); p.Freeze(netfault.Swallow) },
		"delayed":   func(p *netfault.Proxy) { p.Delay(time.Hour) },
	} {
		t.Run(name, func(t *testing.T) {
			p := listen(t, serve(t, "").addr)
			c := dial(t, p)
			say(t, c, "1")
			hear(t, c, "1")
			fault(p)
			say(t, c, "2")
			say(t, dial(t, p), "3")
			wait(t, p, "two connections", func(s netfault.Stats) bool { return s.Accepted == 2 })
			var all sync.WaitGroup
			for range 3 {
				all.Go(func() {
					if err := p.Close(); err != nil {
						t.Errorf("Close: got %v, want nil", err)
					}
				})
			}
			all.Wait()
			if got := p.Stats().Open; got != 0 {
				t.Errorf("after Close: got %d connections, want none", got)
			}
		})
	}
}

func TestWaitEndsWithItsContext(t *testing.T) {
	p := listen(t, "127.0.0.1:1")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := p.Wait(ctx, func(netfault.Stats) bool { return false }); !errors.Is(err, context.Canceled) {
		t.Errorf("Wait: got %v, want %v", err, context.Canceled)
	}
}
