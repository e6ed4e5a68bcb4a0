package hubtest

import (
	"fmt"
	"net/http"
	"sync"
)

func checkAcceptPlain(b *transportBed) {
	l, status, err := b.dial(linkOptions{dial: TransportDialOptions{Plain: true}})
	if err != nil || l != nil || status < 400 || status > 599 {
		b.Errorf("got connection %v, status %d, error %v, want an HTTP error", l != nil, status, err)
	}
	b.wait("Accept to return an error", func() bool { return len(b.refused) > 0 })
}

// wrappedWriter is what middleware hands on: it can do no more than write, and
// tell what it wraps.
type wrappedWriter struct{ w http.ResponseWriter }

func (w wrappedWriter) Header() http.Header         { return w.w.Header() }
func (w wrappedWriter) Write(p []byte) (int, error) { return w.w.Write(p) }
func (w wrappedWriter) WriteHeader(status int)      { w.w.WriteHeader(status) }
func (w wrappedWriter) Unwrap() http.ResponseWriter { return w.w }

func checkAcceptWrapped(b *transportBed) {
	b.wrap = func(w http.ResponseWriter) http.ResponseWriter { return wrappedWriter{wrappedWriter{w}} }
	l := b.connect(linkOptions{})
	echo(l)
}

// echo sends a message each way.
func echo(l *transportLink) {
	l.b.Helper()
	want := []message{text("hello")}
	if err := l.client.Send(want[0].t, []byte(want[0].payload)); err != nil {
		l.b.Fatalf("the client's Send: %v", err)
	}
	l.expectSent(want)
	if err := l.send(l.b.frames(want...)); err != nil {
		l.b.Fatalf("Send: %v", err)
	}
	l.expect(want)
}

func checkSubprotocol(b *transportBed) {
	for _, c := range []struct {
		hub, client []string
		want        string
	}{
		{nil, nil, ""},
		{[]string{"v2", "v1"}, []string{"v1", "v2"}, "v2"},
		{[]string{"v2", "v1"}, []string{"v0", "v1"}, "v1"},
		{[]string{"v2"}, nil, ""},
		{nil, []string{"v1"}, ""},
		{[]string{"v2"}, []string{"v1"}, ""},
	} {
		o := linkOptions{dial: TransportDialOptions{Subprotocols: c.client}}
		o.accept.Subprotocols = c.hub
		l := b.connect(o)
		if got, told := l.conn.Subprotocol(), l.client.Subprotocol(); got != c.want || told != c.want {
			b.Errorf("hub %q, client %q: got %q here and %q there, want %q", c.hub, c.client, got, told, c.want)
		}
		echo(l)
	}
}

func checkHundred(b *transportBed) {
	const n = 100
	links := make([]*transportLink, n)
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			l, status, err := b.dial(linkOptions{})
			if err == nil && l == nil {
				err = fmt.Errorf("status %d", status)
			}
			if err == nil {
				err = l.client.Send(text("").t, fmt.Appendf(nil, "from %d", i))
			}
			links[i], errs[i] = l, err
		})
	}
	b.must("a hundred connections", wg.Wait)
	for i, err := range errs {
		if err != nil {
			b.Fatalf("connection %d: %v", i, err)
		}
	}
	for i, l := range links {
		l.expectSent([]message{text(fmt.Sprintf("from %d", i))})
		wg.Go(func() { errs[i] = l.send(b.frames(text(fmt.Sprintf("to %d", i)))) })
	}
	b.must("a hundred sends", wg.Wait)
	for i, l := range links {
		if errs[i] != nil {
			b.Fatalf("Send on connection %d: %v", i, errs[i])
		}
		l.expect([]message{text(fmt.Sprintf("to %d", i))})
	}
}
