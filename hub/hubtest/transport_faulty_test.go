package hubtest_test

import (
	"fmt"
	"net"
	"net/http"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"forge.lthn.ai/core/go-ws/hub"
	"forge.lthn.ai/core/go-ws/hub/hubtest"
	"forge.lthn.ai/core/go-ws/hub/wire"
)

type transportFault struct {
	check, fault string
	t            faultyTransport
}

// transportFaults has a fault for every subtest of TestTransport that must see
// it, and some more.
var transportFaults = []transportFault{
	{"AcceptAnswersAPlainRequestWithAnError", "no answer", faultyTransport{
		accept: func(_ http.ResponseWriter, r *http.Request, _ *hub.AcceptOptions) bool {
			return r.Header.Get("Upgrade") != "websocket"
		}}},
	{"AcceptAnswersAPlainRequestWithAnError", "takes it", faultyTransport{
		accept: func(_ http.ResponseWriter, r *http.Request, _ *hub.AcceptOptions) bool {
			r.Header.Set("Upgrade", "websocket")
			return false
		}}},
	{"AcceptTakesAWrappedWriter", "asks the writer itself", faultyTransport{
		accept: func(w http.ResponseWriter, _ *http.Request, _ *hub.AcceptOptions) bool {
			_, wrapped := w.(interface{ Unwrap() http.ResponseWriter })
			return wrapped
		}}},
	{"AcceptNegotiatesTheSubprotocol", "the client's preference", faultyTransport{
		accept: func(_ http.ResponseWriter, r *http.Request, o *hub.AcceptOptions) bool {
			o.Subprotocols = r.Header.Values("Sec-WebSocket-Protocol")
			return false
		}}},
	{"AcceptNegotiatesTheSubprotocol", "not told", conns(func(c *faultyConn) {
		c.protocol = func() string { return "" }
	})},
	{"AcceptTakesAHundredAtOnce", "at most fifty", faultyTransport{accept: upTo(50)}},

	{"NothingIsReadBeforeStart", "reads at once", conns(func(c *faultyConn) {
		c.lastRead = time.Now
	})},
	{"NothingIsReadBeforeStart", "forgets who was gone before", conns(func(c *faultyConn) {
		began := c.Conn.LastRead()
		c.start = func(r hub.Receiver) {
			if c.Ping() == nil && c.Conn.LastRead() == began {
				c.Conn.Start(r)
			}
		}
	})},
	{"MessagesArriveWithTypeAndBytes", "all text", conns(func(c *faultyConn) {
		c.receive = func(r hub.Receiver, _ hub.FrameType, payload []byte) bool { return r.Receive(hub.TextFrame, payload) }
	})},
	{"MessagesArriveWithTypeAndBytes", "drops the empty", conns(func(c *faultyConn) {
		c.receive = func(r hub.Receiver, t hub.FrameType, payload []byte) bool {
			return len(payload) == 0 || r.Receive(t, payload)
		}
	})},
	{"MessagesArriveWithTypeAndBytes", "hands over twice", conns(func(c *faultyConn) {
		c.receive = func(r hub.Receiver, t hub.FrameType, payload []byte) bool {
			r.Receive(t, payload)
			return r.Receive(t, payload)
		}
	})},
	{"FragmentsArriveAsOneMessage", "in pieces", conns(func(c *faultyConn) {
		c.receive = func(r hub.Receiver, t hub.FrameType, payload []byte) bool {
			return r.Receive(t, payload[:len(payload)/2]) && r.Receive(t, payload[len(payload)/2:])
		}
	})},
	{"MessagesLeaveWithTypeAndBytes", "all text", faultyTransport{
		prepare: func(_ hub.FrameType, payload []byte) hub.Frame {
			return hubtest.NewTransport().Prepare(hub.TextFrame, payload)
		}}},
	{"MessagesLeaveWithTypeAndBytes", "masks the payload where it lies", faultyTransport{
		prepare: func(t hub.FrameType, payload []byte) hub.Frame {
			f := hubtest.NewTransport().Prepare(t, slices.Clone(payload))
			for i := range payload {
				payload[i] ^= 1
			}
			return f
		}}},
	{"OrderHoldsOverManyBatches", "newest first", conns(func(c *faultyConn) {
		c.send = func(frames []hub.Frame) (int, error) {
			slices.Reverse(frames)
			return c.Conn.Send(frames)
		}
	})},
	{"OrderHoldsOverManyBatches", "drops where many wait", conns(func(c *faultyConn) {
		c.send = func(frames []hub.Frame) (int, error) {
			_, err := c.Conn.Send(frames[:min(len(frames), 10)])
			return len(frames), err
		}
	})},
	{"ABatchIsTakenInOneSend", "one at a time", conns(func(c *faultyConn) {
		c.send = func(frames []hub.Frame) (int, error) {
			n, err := c.Conn.Send(frames[:1])
			if err == nil && len(frames) > 1 {
				err = hub.ErrWouldBlock
			}
			return n, err
		}
	})},
	{"TheSliceIsNotKept", "sent with the next", conns(func(c *faultyConn) {
		var before []hub.Frame
		c.send = func(frames []hub.Frame) (int, error) {
			c.Conn.Send(before)
			before = frames
			return len(frames), nil
		}
	})},
	{"APreparedFrameIsShared", "sent but once", faultyTransport{
		prepare: func(t hub.FrameType, payload []byte) hub.Frame {
			return &onceFrame{Frame: hubtest.NewTransport().Prepare(t, payload)}
		}, conn: sendOnce}},
	{"APreparedFrameIsShared", "the payload is kept", faultyTransport{
		prepare: func(t hub.FrameType, payload []byte) hub.Frame {
			return &keptFrame{t: t, payload: payload}
		}, conn: sendKept}},
	{"SizeIsOnTheWire", "the header is missing, and more", faultyTransport{
		prepare: func(t hub.FrameType, payload []byte) hub.Frame { return zeroFrame{} }}},

	{"CompressionIsTransparent", "cuts what is long", faultyTransport{
		prepare: func(t hub.FrameType, payload []byte) hub.Frame {
			return hubtest.NewTransport().Prepare(t, payload[:min(len(payload), 70_000)])
		}}},
	{"CompressionIsTransparent", "no limit", faultyTransport{accept: limit(1 << 30)}},

	{"ABlockedSendIsFollowedByOneWritable", "none", conns(func(c *faultyConn) {
		c.writable = func(hub.Receiver) {}
	})},
	{"ABlockedSendIsFollowedByOneWritable", "two", conns(func(c *faultyConn) {
		c.writable = func(r hub.Receiver) { r.Writable(); r.Writable() }
	})},
	{"ABlockedSendIsFollowedByOneWritable", "takes without an end", conns(func(c *faultyConn) {
		c.send = func(frames []hub.Frame) (int, error) { return len(frames), nil }
	})},
	{"NothingIsLostByBlocking", "loses what is left", conns(func(c *faultyConn) {
		c.send = func(frames []hub.Frame) (int, error) {
			_, err := c.Conn.Send(frames)
			return len(frames), err
		}
	})},
	{"AHugeFrameArrivesWhole", "says that it is written", conns(func(c *faultyConn) {
		c.send = func(frames []hub.Frame) (int, error) {
			n, _ := c.Conn.Send(frames)
			return n, nil
		}
	})},
	{"AHugeFrameArrivesWhole", "the rest is lost", faultyTransport{
		prepare: func(t hub.FrameType, payload []byte) hub.Frame {
			return hubtest.NewTransport().Prepare(t, payload[:min(len(payload), 10<<20)])
		}}},
	{"PingDoesNotBlock", "waits for the pong", conns(func(c *faultyConn) {
		over := faultsOver
		c.ping = func() error { <-over; return nil }
	})},
	{"APongMovesLastRead", "only messages do", conns(func(c *faultyConn) {
		began := c.Conn.LastRead()
		c.lastRead = func() time.Time { return began }
	})},
	{"APongMovesLastRead", "the ping itself does", conns(func(c *faultyConn) { c.lastRead = time.Now })},
	{"WhatIsReadMovesLastRead", "only once", conns(func(c *faultyConn) {
		began := c.Conn.LastRead()
		var first atomic.Pointer[time.Time]
		c.lastRead = func() time.Time {
			now := c.Conn.LastRead()
			if now.Equal(began) {
				return now
			}
			first.CompareAndSwap(nil, &now)
			return *first.Load()
		}
	})},
	{"PingsAreAnswered", "reads only messages", conns(func(c *faultyConn) {
		c.start = func(hub.Receiver) {}
	})},
	{"ControlFramesGoBetweenMessages", "a ping in the place of a frame", conns(func(c *faultyConn) {
		var pinged atomic.Bool
		c.ping = func() error { pinged.Store(true); return c.Conn.Ping() }
		c.send = func(frames []hub.Frame) (int, error) {
			if pinged.Swap(false) {
				frames = slices.Clone(frames)
				frames[0] = c.t.Transport.Prepare(hub.BinaryFrame, []byte("ping"))
			}
			return c.Conn.Send(frames)
		}
	})},
	{"FalsePausesAndResumeLetsGoOn", "goes on", conns(func(c *faultyConn) {
		c.receive = func(r hub.Receiver, t hub.FrameType, payload []byte) bool {
			r.Receive(t, payload)
			return true
		}
	})},
	{"FalsePausesAndResumeLetsGoOn", "for ever", conns(func(c *faultyConn) { c.resume = func() {} })},
	{"ResumeMayComeBeforeReceiveReturns", "forgotten", conns(func(c *faultyConn) {
		var inside atomic.Bool
		c.receive = func(r hub.Receiver, t hub.FrameType, payload []byte) bool {
			inside.Store(true)
			defer inside.Store(false)
			return r.Receive(t, payload)
		}
		c.resume = func() {
			if !inside.Load() {
				c.Conn.Resume()
			}
		}
	})},
	{"ResumeWithoutAPauseDoesNothing", "remembered", conns(func(c *faultyConn) {
		var token atomic.Bool
		c.resume = func() { token.Store(true); c.Conn.Resume() }
		c.receive = func(r hub.Receiver, t hub.FrameType, payload []byte) bool {
			return r.Receive(t, payload) || token.Swap(false)
		}
	})},

	{"ResumeWithoutAPauseDoesNothing", "remembered from another Receive", conns(func(c *faultyConn) {
		var inside, token atomic.Bool
		c.resume = func() { token.Store(inside.Load()); c.Conn.Resume() }
		c.receive = func(r hub.Receiver, t hub.FrameType, payload []byte) bool {
			inside.Store(true)
			defer inside.Store(false)
			return r.Receive(t, payload) || token.Swap(false)
		}
	})},

	{"TooLargeAMessageEndsWith1009", "no limit", faultyTransport{accept: limit(1 << 30)}},
	{"TooLargeAMessageEndsWith1009", "off by one", faultyTransport{accept: limit(999)}},
	{"TooLargeAMessageEndsWith1009", "blames the peer", conns(func(c *faultyConn) {
		c.closed = func(r hub.Receiver, err error) {
			if ce, ok := err.(*hub.CloseError); ok && ce.Code == wire.CloseTooBig {
				err = &hub.CloseError{Code: ce.Code, Remote: true}
			}
			r.Closed(err)
		}
	})},
	{"TextThatIsNotUTF8EndsWith1007", "another code", conns(func(c *faultyConn) {
		c.closed = func(r hub.Receiver, err error) { r.Closed(&hub.CloseError{Code: wire.CloseProtocolError}) }
	})},

	{"ABreachOfTheProtocolEndsWith1002", "overlooked", faultyTransport{overlooks: true}},

	{"ThePeersCloseIsReported", "without the reason", conns(func(c *faultyConn) {
		c.closed = func(r hub.Receiver, err error) {
			if ce, ok := err.(*hub.CloseError); ok {
				err = &hub.CloseError{Code: ce.Code, Remote: ce.Remote}
			}
			r.Closed(err)
		}
	})},
	{"ThePeersCloseIsReported", "as any error", conns(func(c *faultyConn) {
		c.closed = func(r hub.Receiver, err error) { r.Closed(fmt.Errorf("closed: %v", err)) }
	})},
	{"ACloseWithoutACodeIsReported", "as 1000", conns(func(c *faultyConn) {
		c.closed = func(r hub.Receiver, err error) { r.Closed(&hub.CloseError{Code: wire.CloseNormal, Remote: true}) }
	})},
	{"ACutIsReported", "not", conns(func(c *faultyConn) { c.closed = func(hub.Receiver, error) {} })},
	{"ACutIsReported", "twice", conns(func(c *faultyConn) {
		c.closed = func(r hub.Receiver, err error) { r.Closed(err); r.Closed(err) }
	})},
	{"ACutIsReported", "as the peer's close", conns(func(c *faultyConn) {
		c.closed = func(r hub.Receiver, _ error) { r.Closed(&hub.CloseError{Code: wire.CloseNormal, Remote: true}) }
	})},
	{"CloseSendsCodeAndReason", "another reason", conns(func(c *faultyConn) {
		c.close = func(code wire.CloseCode, _ string) error { return c.Conn.Close(code, "") }
	})},
	{"CloseSendsCodeAndReason", "always 1000", conns(func(c *faultyConn) {
		c.close = func(code wire.CloseCode, reason string) error {
			return c.Conn.Close(min(code, wire.CloseNormal), reason)
		}
	})},
	{"CloseComesAfterWhatWasSent", "overtakes", conns(func(c *faultyConn) {
		var last []hub.Frame
		c.send = func(frames []hub.Frame) (int, error) {
			last = frames[len(frames)-1:]
			n, err := c.Conn.Send(frames[:len(frames)-1])
			if err == nil {
				n++
			}
			return n, err
		}
		c.close = func(code wire.CloseCode, reason string) error {
			err := c.Conn.Close(code, reason)
			c.Conn.Send(last)
			return err
		}
	})},
	{"CloseComesAfterWhatIsHeld", "cuts", conns(cutBlocked)},
	{"CloseMayBeCalledOftenAndConcurrently", "a second call hangs", conns(func(c *faultyConn) {
		var called atomic.Bool
		over := faultsOver
		c.close = func(code wire.CloseCode, reason string) error {
			if called.Swap(true) {
				<-over
			}
			return c.Conn.Close(code, reason)
		}
	})},
	{"CloseWithZeroCuts", "with a handshake", conns(func(c *faultyConn) {
		c.close = func(code wire.CloseCode, reason string) error {
			return c.Conn.Close(max(code, wire.CloseNormal), reason)
		}
	})},
	{"CloseWithZeroCuts", "before Closed", conns(func(c *faultyConn) {
		c.close = func(code wire.CloseCode, reason string) error {
			go c.Conn.Close(code, reason)
			return nil
		}
	})},
	{"CloseWithZeroCutsAHandshakeShort", "waits with the others", conns(func(c *faultyConn) {
		first := make(chan struct{}, 1) // no sync.Once: a bubble's time stands still at a lock
		over := make(chan struct{})
		first <- struct{}{}
		c.close = func(code wire.CloseCode, reason string) (err error) {
			select {
			case <-first:
				defer close(over)
				return c.Conn.Close(code, reason)
			case <-over:
				return nil
			}
		}
	})},
	{"CloseGivesUpAfterTheWriteTimeout", "never", faultyTransport{
		accept: func(_ http.ResponseWriter, _ *http.Request, o *hub.AcceptOptions) bool {
			o.WriteTimeout = time.Hour
			return false
		}}},
	{"CloseWaitsForTheReceiver", "does not", conns(func(c *faultyConn) {
		c.close = func(code wire.CloseCode, reason string) error {
			go c.Conn.Close(code, reason)
			return nil
		}
	})},
	{"NothingIsReceivedAfterClose", "a little", conns(func(c *faultyConn) {
		var r hub.Receiver
		c.start = func(rr hub.Receiver) { r = rr; c.Conn.Start(rr) }
		c.close = func(code wire.CloseCode, reason string) error {
			err := c.Conn.Close(code, reason)
			time.AfterFunc(10*time.Millisecond, func() { r.Receive(hub.TextFrame, []byte("late")) })
			return err
		}
	})},
	{"SendAfterTheEndFails", "swallows", conns(func(c *faultyConn) {
		c.send = func(frames []hub.Frame) (int, error) {
			c.Conn.Send(frames)
			return len(frames), nil
		}
	})},
	{"SendAfterTheEndFails", "as if blocked", conns(func(c *faultyConn) {
		c.send = func(frames []hub.Frame) (int, error) {
			n, err := c.Conn.Send(frames)
			if err != nil {
				err = hub.ErrWouldBlock
			}
			return n, err
		}
	})},
	{"AFailedSendIsFollowedByClosed", "forgets it", conns(forgetClosed)},
	{"AFailedSendIsFollowedByClosed", "gives the close frame up", conns(cutFailed)},
	{"CloseLeavesNoGoroutine", "one each", conns(func(c *faultyConn) {
		over := faultsOver
		go func() { <-over }()
	})},
	{"ConcurrentCallsDoNoHarm", "a ping between loses a frame", conns(func(c *faultyConn) {
		var pings atomic.Int64
		c.ping = func() error { pings.Add(1); return c.Conn.Ping() }
		c.send = func(frames []hub.Frame) (int, error) {
			for pings.Load() == 0 {
				runtime.Gosched()
			}
			if pings.Swap(-1<<40) > 0 {
				return len(frames), nil
			}
			return c.Conn.Send(frames)
		}
	})},
	{"ConcurrentCallsDoNoHarm", "Receive beside itself", conns(func(c *faultyConn) {
		c.receive = func(r hub.Receiver, t hub.FrameType, payload []byte) bool {
			payload = slices.Clone(payload)
			go r.Receive(t, payload)
			return true
		}
	})},
}

// faultsOver ends what a fault left running.
var faultsOver chan struct{}

func upTo(n int64) func(http.ResponseWriter, *http.Request, *hub.AcceptOptions) bool {
	return func(w http.ResponseWriter, _ *http.Request, _ *hub.AcceptOptions) bool {
		if atomic.AddInt64(&n, -1) >= 0 {
			return false
		}
		http.Error(w, "full", http.StatusServiceUnavailable)
		return true
	}
}

func limit(n int64) func(http.ResponseWriter, *http.Request, *hub.AcceptOptions) bool {
	return func(_ http.ResponseWriter, _ *http.Request, o *hub.AcceptOptions) bool {
		o.ReadLimit = n
		return false
	}
}

type zeroFrame struct{}

func (zeroFrame) Size() int { return 0 }

// onceFrame is a frame that the first connection takes for itself.
type onceFrame struct {
	hub.Frame
	sent atomic.Bool
}

func sendOnce(c *faultyConn) {
	c.send = func(frames []hub.Frame) (int, error) {
		var rest []hub.Frame
		for _, f := range frames {
			if o := f.(*onceFrame); !o.sent.Swap(true) {
				rest = append(rest, o.Frame)
			}
		}
		_, err := c.Conn.Send(rest)
		return len(frames), err
	}
}

// keptFrame is a frame that is made of the caller's own bytes when it is sent.
type keptFrame struct {
	t       hub.FrameType
	payload []byte
}

func (f *keptFrame) Size() int { return len(f.payload) + 2 }

func sendKept(c *faultyConn) {
	c.send = func(frames []hub.Frame) (int, error) {
		var made []hub.Frame
		for _, f := range frames {
			f := f.(*keptFrame)
			made = append(made, hubtest.NewTransport().Prepare(f.t, f.payload))
		}
		return c.Conn.Send(made)
	}
}

// forgetClosed leaves it to Send's error, where there was one, to say that the
// connection is over.
func forgetClosed(c *faultyConn) {
	var failed, closing atomic.Bool
	c.send = func(frames []hub.Frame) (int, error) {
		n, err := c.Conn.Send(frames)
		if err != nil && err != hub.ErrWouldBlock {
			failed.Store(true)
		}
		return n, err
	}
	c.close = func(code wire.CloseCode, reason string) error {
		closing.Store(true)
		return c.Conn.Close(code, reason)
	}
	c.closed = func(r hub.Receiver, err error) {
		time.Sleep(time.Second) // of a bubble: Send is first
		if !failed.Load() || closing.Load() {
			r.Closed(err)
		}
	}
}

// cutFailed takes a Send that fails for the end, whatever is under way.
func cutFailed(c *faultyConn) {
	var failed atomic.Bool
	c.send = func(frames []hub.Frame) (int, error) {
		n, err := c.Conn.Send(frames)
		if err != nil && err != hub.ErrWouldBlock {
			failed.Store(true)
		}
		return n, err
	}
	c.closed = func(r hub.Receiver, err error) {
		time.Sleep(time.Second) // of a bubble: Send is first
		if failed.Load() {
			err = net.ErrClosed
		}
		r.Closed(err)
	}
}

// cutBlocked closes with no handshake where something is held.
func cutBlocked(c *faultyConn) {
	var blocked atomic.Bool
	c.send = func(frames []hub.Frame) (int, error) {
		n, err := c.Conn.Send(frames)
		blocked.Store(err == hub.ErrWouldBlock)
		return n, err
	}
	c.close = func(code wire.CloseCode, reason string) error {
		if blocked.Load() {
			code = 0
		}
		return c.Conn.Close(code, reason)
	}
}

// TestTransportSuiteSeesFaults runs in bubbles, so that neither patience nor the
// machine's speed decides what a check sees.
func TestTransportSuiteSeesFaults(t *testing.T) {
	for _, f := range transportFaults {
		t.Run(f.check+"/"+f.fault, func(t *testing.T) {
			if f.check == "ConcurrentCallsDoNoHarm" {
				// Its loops never rest, so that a bubble's time would not pass.
				f.isSeen(t, 200*time.Millisecond)
				return
			}
			synctest.Test(t, func(t *testing.T) {
				f.isSeen(t, 10*time.Second)
				time.Sleep(2 * time.Hour) // the time for a closing handshake is an hour
			})
		})
	}
}

// isSeen runs the fault's check, which calls a hang what lasts longer than
// patience.
func (f transportFault) isSeen(t *testing.T, patience time.Duration) {
	faultsOver = make(chan struct{})
	defer close(faultsOver)
	r := record(t, func(tb testing.TB) {
		hubtest.RunTransportCheck(tb, fakeHarness(func(testing.TB) hub.Transport {
			faulty := f.t
			faulty.Transport = hubtest.NewTransport()
			return &faulty
		}), f.check, patience)
	})
	if !r.Failed() {
		t.Error("the check passed, want a failure")
	}
	t.Logf("%q", r.messages())
}

func TestTransportSuiteHasAFaultForEveryCheck(t *testing.T) {
	for _, name := range hubtest.TransportCheckNames() {
		if !slices.ContainsFunc(transportFaults, func(f transportFault) bool { return f.check == name }) {
			t.Errorf("no fault is shown to %s", name)
		}
	}
}
