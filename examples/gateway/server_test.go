package main

import (
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// pipes is a listener whose connections are in memory, so that a bubble's time
// passes while they are waited for.
type pipes struct {
	ends chan net.Conn
	done chan struct{}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case conn := <-p.ends:
		return conn, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	close(p.done)
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

func TestConnectionsThatDoNotGetOnAreClosed(t *testing.T) {
	const slowBody = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{"
	const wholeRequest = "GET / HTTP/1.1\r\nHost: x\r\n\r\n"
	for _, c := range []struct {
		name, sent string
		want       time.Duration
	}{
		{"nothing is sent", "", headerTime},
		{"a header that never ends", "GET /ws HTTP/1.1\r\nHost: x\r\n", headerTime},
		{"a body that never ends", slowBody, requestTime},
		{"no second request", wholeRequest, idleTime},
	} {
		synctest.Test(t, func(t *testing.T) {
			listener := &pipes{make(chan net.Conn), make(chan struct{})}
			handler := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body) })
			server := newServer(handler, headerTime, slog.New(slog.DiscardHandler))
			ended := make(chan error, 1)
			go func() { ended <- server.Serve(listener) }()
			client, end := net.Pipe()
			listener.ends <- end
			began := time.Now()
			go io.Copy(client, strings.NewReader(c.sent))
			if _, err := io.Copy(io.Discard, client); err != nil {
				t.Errorf("%s: reading: %v", c.name, err)
			}
			// net/http takes a moment more where it still reads a body away.
			if took := time.Since(began); took < c.want || took > c.want+time.Second {
				t.Errorf("%s: closed after %v, want %v", c.name, took, c.want)
			}
			server.Close()
			<-ended
		})
	}
}

func TestAnAnswerThatNobodyTakesIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		listener := &pipes{make(chan net.Conn), make(chan struct{})}
		gaveUp := make(chan time.Duration, 1)
		began := time.Now()
		handler := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			for err := error(nil); err == nil; {
				_, err = w.Write(make([]byte, 1<<16))
			}
			gaveUp <- time.Since(began)
		})
		server := newServer(handler, headerTime, slog.New(slog.DiscardHandler))
		ended := make(chan error, 1)
		go func() { ended <- server.Serve(listener) }()
		client, end := net.Pipe()
		listener.ends <- end
		if _, err := io.WriteString(client, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		select {
		case took := <-gaveUp:
			if took != requestTime {
				t.Errorf("given up after %v, want %v", took, requestTime)
			}
		case <-time.After(time.Hour):
			t.Error("still writing after an hour")
		}
		client.Close()
		server.Close()
		<-ended
	})
}
