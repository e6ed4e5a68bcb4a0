package hubtest

import (
	"testing"
	"time"
)

// RunTransportCheck runs one subtest of TestTransport on tb.
func RunTransportCheck(tb testing.TB, h TransportHarness, name string, patience time.Duration) {
	for _, c := range transportChecks() {
		if c.name == name {
			runTransportCheck(tb, h, c, patience)
			return
		}
	}
	tb.Fatalf("no check %q", name)
}

// TransportCheckNames are the subtests of TestTransport.
func TransportCheckNames() (names []string) {
	for _, c := range transportChecks() {
		names = append(names, c.name)
	}
	return names
}

// DialSocket connects the client that TestTransport uses on sockets.
func DialSocket(address string, o TransportDialOptions) (TransportClient, int, error) {
	c, status, err := dialSocket(address, o)
	if c == nil {
		return nil, status, err
	}
	return c, status, nil
}
