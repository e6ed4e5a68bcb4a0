// Package hubtest is for two kinds of tests. It depends on nothing but package
// hub and the standard library, and belongs in tests alone.
//
// # Implementing a port
//
// Every contract of package hub that is there to be implemented has a suite,
// which a test runs against an implementation in one line:
//
//	hubtest.TestTransport(t, hubtest.TransportHarness{New: …})
//	hubtest.TestBackplane(t, hubtest.BackplaneHarness{New: …, Break: …, Heal: …})
//	hubtest.TestHistory(t, hubtest.HistoryHarness{Backplane: …, Lose: …, Save: …})
//	hubtest.TestAuthenticator(t, mine, hubtest.AuthenticatorCase{…})
//
// One subtest is one property. What an implementation can do beyond what every
// one must is declared in the harness's features, and subtests that a later
// version adds are gated by a feature too, so that an upgrade breaks nobody's
// tests. The suites wait for events and not for time to pass; only that
// something does not happen is watched for a moment. Under the race detector
// they find more.
//
// # Using a hub
//
// The fakes stand where the network would be. They fulfil their contracts and
// pass the suites, are fast enough for benchmarks, and work within the bubbles
// of testing/synctest:
//
//   - [Transport] connects clients to a hub's handler without a socket. The
//     test holds each client's end as a [Peer], which can be told to be slow,
//     silent or gone.
//   - [Broker] joins hubs. Each [Backplane] of it can be told to fail, to lag,
//     to repeat or to lose, and with BrokerConfig.History the broker keeps logs,
//     which it can lose or take back to an older state.
package hubtest
