package hubtest

import (
	"net/http"
	"testing"
	"time"

	"forge.lthn.ai/core/go-ws/hub"
	"forge.lthn.ai/core/go-ws/hub/wire"
)

// TransportHarness tells TestTransport how to make the transport under test
// and how to reach it.
type TransportHarness struct {
	// New returns a fresh transport. What it must release it registers with
	// t.Cleanup.
	New func(t testing.TB) hub.Transport

	// Serve starts to serve requests with handler, which calls Accept of tr,
	// until the test ends, and returns how to connect. Nil is for a transport
	// of WebSockets over HTTP/1.1: an HTTP server on the loopback interface,
	// and a client of this package's own that takes nothing but what RFC 6455
	// allows.
	Serve func(t testing.TB, tr hub.Transport, handler http.Handler) TransportDialer

	// Features are what the transport can do beyond what every one must.
	Features TransportFeatures
}

// TransportFeatures gate subtests. More may come; the zero value always asks
// for what every transport must do and no more.
type TransportFeatures struct {
	// Compression says that the transport negotiates permessage-deflate
	// (RFC 7692) with a client that offers it. A Serve of one's own must then
	// understand TransportDialOptions.Compress.
	Compression bool
}

// TransportDialer connects once. It may be called concurrently. A server that
// answers and does not upgrade gives its status and no client; err says that
// there was no answer, and status is then not looked at.
type TransportDialer func(o TransportDialOptions) (c TransportClient, status int, err error)

// TransportDialOptions say how to connect.
type TransportDialOptions struct {
	// Header is added to the request.
	Header http.Header
	// Subprotocols are offered, the preferred one first.
	Subprotocols []string
	// Plain asks for a GET request without an upgrade.
	Plain bool
	// Compress asks to offer permessage-deflate without context takeover.
	Compress bool
}

// TransportClient is the client's side of a connection under test. Receive is
// called by one goroutine, Send, Ping, Pongs and Close by another, Cut by any.
//
// It reads from the network in Receive alone: while the suite does not call
// it, the client is a slow one.
type TransportClient interface {
	// Send sends one message, in as many fragments as there are parts. It may
	// block.
	Send(t hub.FrameType, parts ...[]byte) error
	// Ping sends a ping.
	Ping() error
	// Pongs is how many pongs Receive has come across.
	Pongs() int
	// Receive returns the next message. Meanwhile it answers pings and close
	// frames. Where a close frame came the error is a *hub.CloseError with its
	// code (wire.CloseNoStatus for none) and reason; any other error is an end
	// without one, or a breach of the protocol.
	Receive() (hub.FrameType, []byte, error)
	// Close sends a close frame, without a code for wire.CloseNoStatus, and
	// waits for nothing.
	Close(code wire.CloseCode, reason string) error
	// Subprotocol is what the server chose, empty for none.
	Subprotocol() string
	// Cut ends the connection with no close frame, and makes Receive and Send
	// return. It may be called several times.
	Cut()
}

// TransportRawClient is a TransportClient that can also break the protocol.
// With one of these the suite checks how the transport takes it.
type TransportRawClient interface {
	TransportClient
	// SendRaw writes bytes as they are.
	SendRaw(p []byte) error
}

// TestTransport checks that a transport keeps the contract of hub.Transport,
// one property a subtest. Run it under the race detector too:
//
//	func TestConformance(t *testing.T) {
//		hubtest.TestTransport(t, hubtest.TransportHarness{
//			New: func(t testing.TB) hub.Transport { return mine.New() },
//		})
//	}
//
// It takes a few seconds, most of them in watching that things do not happen.
func TestTransport(t *testing.T, h TransportHarness) {
	for _, c := range transportChecks() {
		if c.needs != nil && !c.needs(h.Features) {
			continue
		}
		t.Run(c.name, func(t *testing.T) { runTransportCheck(t, h, c, time.Minute) })
	}
}

// transportCheck is one property.
type transportCheck struct {
	name  string
	needs func(TransportFeatures) bool // nil for every transport
	run   func(b *transportBed)
}

func transportChecks() []transportCheck {
	return []transportCheck{
		{"AcceptAnswersAPlainRequestWithAnError", nil, checkAcceptPlain},
		{"AcceptTakesAWrappedWriter", nil, checkAcceptWrapped},
		{"AcceptNegotiatesTheSubprotocol", nil, checkSubprotocol},
		{"AcceptTakesAHundredAtOnce", nil, checkHundred},

		{"NothingIsReadBeforeStart", nil, checkStart},
		{"MessagesArriveWithTypeAndBytes", nil, checkReceive},
		{"FragmentsArriveAsOneMessage", nil, checkFragments},
		{"MessagesLeaveWithTypeAndBytes", nil, checkSend},
		{"OrderHoldsOverManyBatches", nil, checkOrder},
		{"ABatchIsTakenInOneSend", nil, checkBatch},
		{"TheSliceIsNotKept", nil, checkSlice},
		{"APreparedFrameIsShared", nil, checkShared},
		{"SizeIsOnTheWire", nil, checkSize},
		{"CompressionIsTransparent", needsCompression, checkCompression},

		{"ABlockedSendIsFollowedByOneWritable", nil, checkWritable},
		{"NothingIsLostByBlocking", nil, checkBlocking},
		{"AHugeFrameArrivesWhole", nil, checkHuge},
		{"PingDoesNotBlock", nil, checkPingBlocked},
		{"APongMovesLastRead", nil, checkPong},
		{"WhatIsReadMovesLastRead", nil, checkLastRead},
		{"PingsAreAnswered", nil, checkAnswersPings},
		{"ControlFramesGoBetweenMessages", nil, checkInterleaving},
		{"FalsePausesAndResumeLetsGoOn", nil, checkPause},
		{"ResumeMayComeBeforeReceiveReturns", nil, checkResumeInside},
		{"ResumeWithoutAPauseDoesNothing", nil, checkResumeIdle},

		{"TooLargeAMessageEndsWith1009", nil, checkReadLimit},
		{"TextThatIsNotUTF8EndsWith1007", nil, checkUTF8},
		{"ABreachOfTheProtocolEndsWith1002", nil, checkBreach},

		{"ThePeersCloseIsReported", nil, checkPeerClose},
		{"ACloseWithoutACodeIsReported", nil, checkPeerCloseNoStatus},
		{"ACutIsReported", nil, checkPeerCut},
		{"CloseSendsCodeAndReason", nil, checkClose},
		{"CloseComesAfterWhatWasSent", nil, checkCloseOrder},
		{"CloseComesAfterWhatIsHeld", nil, checkCloseHeld},
		{"CloseMayBeCalledOftenAndConcurrently", nil, checkCloseConcurrent},
		{"CloseWithZeroCuts", nil, checkCloseZero},
		{"CloseWithZeroCutsAHandshakeShort", nil, checkCloseCutsShort},
		{"CloseGivesUpAfterTheWriteTimeout", nil, checkCloseTimeout},
		{"CloseWaitsForTheReceiver", nil, checkCloseWaits},
		{"NothingIsReceivedAfterClose", nil, checkAfterClose},
		{"SendAfterTheEndFails", nil, checkSendAfter},
		{"AFailedSendIsFollowedByClosed", nil, checkFailedSend},
		{"CloseLeavesNoGoroutine", nil, checkGoroutines},
		{"ConcurrentCallsDoNoHarm", nil, checkConcurrent},
	}
}

func needsCompression(f TransportFeatures) bool { return f.Compression }
