package hubtest

import (
	"testing"
	"time"

	"forge.lthn.ai/core/go-ws/hub"
)

// RunAuthenticatorCheck runs one subtest of TestAuthenticator on tb.
func RunAuthenticatorCheck(tb testing.TB, a hub.Authenticator, name string, patience time.Duration, cases ...AuthenticatorCase) {
	for _, c := range authenticatorChecks {
		if c.name == name {
			c.run(&authenticatorBed{TB: tb, a: a, cases: cases, patience: patience})
			return
		}
	}
	tb.Fatalf("no check %q", name)
}

// AuthenticatorCheckNames are the subtests of TestAuthenticator.
func AuthenticatorCheckNames() (names []string) {
	for _, c := range authenticatorChecks {
		names = append(names, c.name)
	}
	return names
}
