package natsbp_test

import (
	"bufio"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"forge.lthn.ai/core/go-ws/backplane/natsbp"
)

// pongs is a server that answers every PING and does nothing else.
func pongs(t *testing.T) (url string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	t.Cleanup(func() { l.Close(); all.Wait() })
	all.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer conn.Close()
				if _, err := conn.Write([]byte("INFO {\"server_id\":\"x\",\"version\":\"2.10.0\",\"proto\":1,\"max_payload\":1048576}\r\n")); err != nil {
					return
				}
				for lines := bufio.NewScanner(conn); lines.Scan(); {
					if strings.HasPrefix(lines.Text(), "PING") {
						if _, err := conn.Write([]byte("PONG\r\n")); err != nil {
							return
						}
					}
				}
			})
		}
	})
	return "nats://" + l.Addr().String()
}

// The client sends a PING that was written while it had no connection on the next
// one. Its answer says nothing about what was written on the one before.
func TestAnAnswerOnTheNextConnectionAcknowledgesNothing(t *testing.T) {
	back := make(chan struct{}, 1)
	nc, err := nats.Connect(pongs(t), nats.MaxReconnects(-1), nats.ReconnectBufSize(-1),
		nats.ReconnectHandler(func(*nats.Conn) { back <- struct{}{} }))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	flush := natsbp.NewSession(nc)
	if err := flush(time.Minute); err != nil {
		t.Fatalf("flush in the session: got %v, want nil", err)
	}
	if err := nc.ForceReconnect(); err != nil {
		t.Fatal(err)
	}
	if err := flush(time.Minute); err == nil {
		t.Error("flush that the next connection answers: got nil, want an error")
	}
	<-back
	if err := flush(time.Minute); err == nil {
		t.Error("flush of an old session: got nil, want an error")
	}
	if err := natsbp.NewSession(nc)(time.Minute); err != nil {
		t.Errorf("flush of a new session: got %v, want nil", err)
	}
}
