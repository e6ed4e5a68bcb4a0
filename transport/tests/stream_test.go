package tests

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"forge.lthn.ai/core/go-ws/hub"
	"forge.lthn.ai/core/go-ws/hub/hubtest"
	"forge.lthn.ai/core/go-ws/hub/wire"
)

// FuzzStream has everything that is ever written to one connection written at
// once, to a client that reads by fits and starts, and holds the server's bytes
// against a strict parser: messages in order and none missing, pongs and pings
// only between frames, one close frame at the end and nothing behind it.
func FuzzStream(f *testing.F) {
	for seed := range uint64(20) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed uint64) {
		rnd := rand.New(rand.NewPCG(seed, seed))
		n := networkOf("tight tcp") // where frames are cut in two most often
		if rnd.IntN(2) == 0 {
			n = networks[rnd.IntN(len(networks))]
		}
		b := newBed(t, n)
		c, s := b.connect(hubtest.TransportDialOptions{Compress: rnd.IntN(2) == 0})
		stream(t, rnd, c, s)
	})
}

// stream draws from rnd before it starts anything.
func stream(t *testing.T, rnd *rand.Rand, c *client, s *side) {
	var batches [][]hub.Frame
	total := 0
	for range 5 + rnd.IntN(30) {
		var ms []message
		for range rnd.IntN(60) {
			size := 1 << rnd.IntN(15)
			if rnd.IntN(50) == 0 {
				size = 200_000
			}
			m := message{hub.TextFrame, fmt.Sprintf("%06d", total) + strings.Repeat("ab", rnd.IntN(size)/2)}
			if rnd.IntN(2) == 0 {
				m.t = hub.BinaryFrame
			}
			ms = append(ms, m)
			total++
		}
		batches = append(batches, s.prepare(ms...))
	}
	pings, clientPings, stops := rnd.IntN(200), rnd.IntN(200), make([]int, rnd.IntN(4))
	for i := range stops {
		stops[i] = rnd.IntN(total + 1)
	}
	early := rnd.IntN(3) == 0 // Close does not wait for the sender

	var wg sync.WaitGroup
	sent := make(chan struct{})
	wg.Go(func() {
		defer close(sent)
		for _, batch := range batches {
			if err := s.send(batch); err != nil {
				if !early {
					t.Errorf("send: %v", err)
				}
				return
			}
		}
	})
	wg.Go(func() {
		for range pings {
			_ = s.Ping() // fails once Close has begun
		}
	})
	wg.Go(func() {
		for i := range clientPings {
			if c.write(fin|opPing, fmt.Append(nil, i)) != nil {
				return
			}
		}
	})
	half := make(chan struct{})
	wg.Go(func() {
		if early {
			<-half
		} else {
			<-sent
		}
		if err := s.Close(wire.CloseServiceRestart, "bye"); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	messages, lastPong := 0, -1
	halfway := sync.OnceFunc(func() { close(half) })
	defer wg.Wait()
	defer func() {
		if t.Failed() {
			c.Cut() // or the others wait for long
		}
	}()
	defer halfway()
	if total == 0 {
		halfway()
	}
	_ = c.nc.SetReadDeadline(time.Now().Add(patience))
	for {
		if slices.Contains(stops, messages) {
			// Until the server is blocked, or has nothing more to say.
			timer := time.NewTimer(20 * time.Millisecond)
			select {
			case <-sent:
			case <-timer.C:
			}
			timer.Stop()
			stops = slices.DeleteFunc(stops, func(i int) bool { return i == messages })
		}
		e, err := c.next()
		if err != nil {
			t.Errorf("after %d messages: got %v, want a close frame", messages, err)
			return
		}
		switch e.op {
		case opText, opBinary:
			if got, want := string(e.payload[:6]), fmt.Sprintf("%06d", messages); got != want {
				t.Errorf("message %d: got %q, want %q", messages, got, want)
				return
			}
			if messages++; messages >= total/2 {
				halfway()
			}
		case opPing:
			_ = c.write(fin|opPong, e.payload)
		case opPong:
			var i int
			if _, err := fmt.Sscan(string(e.payload), &i); err != nil || i <= lastPong || i >= clientPings {
				t.Errorf("pong %q after %d", e.payload, lastPong)
			}
			lastPong = i
		case opClose:
			if e.close != (hub.CloseError{Code: wire.CloseServiceRestart, Reason: "bye"}) {
				t.Errorf("close frame: got %+v", e.close)
			}
			if !early && messages != total {
				t.Errorf("got %d messages, want %d", messages, total)
			}
			_ = c.write(fin|opClose, e.payload)
			if _, err := c.next(); errors.Is(err, errBreach) || err == nil {
				t.Errorf("after the close frame: got %v, want %v", err, io.EOF)
			}
			return
		}
	}
}
