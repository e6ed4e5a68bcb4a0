package main

import (
	"context"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"

	"forge.lthn.ai/core/go-ws/examples/internal/probe"
)

func TestWhatOneSaysEverybodyHears(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- run(ctx, listener) }()
	url := "http://" + listener.Addr().String()

	// The hub runs a moment after the page is served, and says 503 till then.
	ann, status := probe.Try(t, url+"/ws")
	for status == http.StatusServiceUnavailable {
		ann, status = probe.Try(t, url+"/ws")
	}
	ben := probe.Dial(t, url+"/ws")
	ann.Join("lobby")
	ben.Join("lobby")
	ann.Send(`{"type":"say","channel":"lobby","id":"1","data":{"from":"Ann","text":"hi"}}`)
	for _, c := range []*probe.Client{ann, ben} {
		f := c.Next("event")
		if got, want := string(f.Data), `{"from":"Ann","text":"hi"}`; got != want || f.Channel != "lobby" {
			t.Errorf("got %s on %q, want %s on lobby", got, f.Channel, want)
		}
	}
	if f := ann.Next("reply"); f.ID != "1" {
		t.Errorf("reply: got id %q, want 1", f.ID)
	}
	ann.Send(`{"type":"say","channel":"elsewhere","id":"2","data":"hi"}`)
	if f := ann.Next("error"); f.ID != "2" || !strings.Contains(string(f.Data), `"forbidden"`) {
		t.Errorf("saying something on a channel that one is not on: got %+v, want the error forbidden", f)
	}

	ann.Send(`{"type":"shout","channel":"lobby","id":"3","data":"HI"}`)
	if f := ann.Next("error"); f.ID != "3" || !strings.Contains(string(f.Data), `"unknown_type"`) {
		t.Errorf("a type that is not the program's: got %+v, want the error unknown_type", f)
	}

	answer, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		t.Errorf("page: got %s, want 200", answer.Status)
	}
	stop()
	ann.Closed()
	ben.Closed()
	if err := <-ended; err != nil {
		t.Errorf("run: %v", err)
	}
}

func TestProgramIsShort(t *testing.T) {
	source, err := os.ReadFile("main.go")
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Count(string(source), "\n"); got >= 60 {
		t.Errorf("main.go has %d lines, want fewer than 60", got)
	}
}
