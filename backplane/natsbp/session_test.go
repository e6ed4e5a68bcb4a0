package natsbp_test

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"forge.lthn.ai/core/go-ws/backplane/natsbp"
)

// The client sends a PING that was written while it had no connection on the next
// one. Its answer says nothing about what was written on the one before.
func TestAnAnswerOnTheNextConnectionAcknowledgesNothing(t *testing.T) {
	back := make(chan struct{}, 1)
	nc, err := nats.Connect(serve(t).url, nats.MaxReconnects(-1), nats.ReconnectBufSize(-1),
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
