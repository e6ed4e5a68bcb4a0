package main

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"forge.lthn.ai/core/go-ws/hub"
	"forge.lthn.ai/core/go-ws/hub/wire"
	"forge.lthn.ai/core/go-ws/transport"
)

const bound = 60 * time.Second

// chat is a hub that hands on what is said, and its address.
func chat(t *testing.T) string {
	t.Helper()
	sockets, err := transport.New(transport.Config{})
	if err != nil {
		t.Fatal(err)
	}
	var h *hub.Hub
	h, err = hub.New(hub.Config{Transport: sockets, OnMessage: func(ctx context.Context, _ *hub.Client, f wire.Frame) (*hub.Message, error) {
		_, err := h.SendToChannel(ctx, f.Channel, hub.Message{Data: f.Data})
		return nil, err
	}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	go func() { ran <- h.Run(ctx) }()
	<-h.Started()
	web := httptest.NewServer(h.Handler())
	t.Cleanup(func() {
		cancel()
		if err := <-ran; err != nil {
			t.Errorf("Run: %v", err)
		}
		web.Close()
	})
	return "ws" + strings.TrimPrefix(web.URL, "http") + "/ws"
}

// person is somebody at a terminal.
type person struct {
	t     *testing.T
	types io.WriteCloser
	lines chan string
	left  chan error
}

func arrive(t *testing.T, address, name string) *person {
	in, types := io.Pipe()
	out, screen := io.Pipe()
	p := &person{t: t, types: types, lines: make(chan string, 1000), left: make(chan error, 1)}
	go func() {
		p.left <- talk(t.Context(), address, name, in, screen)
		screen.Close()
	}()
	go func() {
		for lines := bufio.NewScanner(out); lines.Scan(); {
			p.lines <- lines.Text()
		}
	}()
	p.sees("* you are in the lobby")
	return p
}

func (p *person) says(text string) {
	p.t.Helper()
	if _, err := io.WriteString(p.types, text+"\n"); err != nil {
		p.t.Fatal(err)
	}
}

func (p *person) sees(want string) {
	p.t.Helper()
	select {
	case got := <-p.lines:
		if got != want {
			p.t.Errorf("got %q, want %q", got, want)
		}
	case <-time.After(bound):
		p.t.Fatalf("waited in vain for %q", want)
	}
}

func TestTwoTerminalsTalk(t *testing.T) {
	address := chat(t)
	ann, ben := arrive(t, address, "Ann"), arrive(t, address, "Ben")
	ann.says("hi")
	ann.sees("Ann: hi")
	ben.sees("Ann: hi")
	ben.says("hello, <Ann>")
	ann.sees("Ben: hello, <Ann>")
	ben.sees("Ben: hello, <Ann>")
	for _, p := range []*person{ann, ben} {
		p.types.Close()
		if err := <-p.left; err != nil {
			t.Errorf("leaving: got %v, want nil", err)
		}
	}
}

func TestAChatThatRefusesIsLeft(t *testing.T) {
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) }))
	defer web.Close()
	in, types := io.Pipe()
	defer types.Close()
	err := talk(t.Context(), web.URL, "Ann", in, io.Discard)
	if err == nil || !strings.Contains(err.Error(), "403") {
		t.Errorf("got %v, want the status 403", err)
	}
}
