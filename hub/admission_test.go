package hub_test

import (
	"fmt"
	"net/netip"
	"sync"
	"testing"

	"forge.lthn.ai/core/go-ws/hub"
)

func TestSeatsAreLimitedInAllPerUserAndPerNetwork(t *testing.T) {
	for _, test := range []struct {
		name       string
		cfg        hub.Config
		user, addr string // of the one that comes last
		want       hub.RefusalCause
	}{
		{"in all", hub.Config{MaxClients: 3}, "dora", "10.0.0.9", hub.RefusedClients},
		{"room in all", hub.Config{MaxClients: 4}, "dora", "10.0.0.9", ""},
		{"per user", hub.Config{MaxClients: 9, MaxClientsPerUser: 2}, "anna", "10.0.0.9", hub.RefusedUserClients},
		{"another user", hub.Config{MaxClients: 9, MaxClientsPerUser: 2}, "bert", "10.0.0.9", ""},
		{"nobody is no user", hub.Config{MaxClients: 9, MaxClientsPerUser: 1}, "", "10.0.0.9", ""},
		{"per address", hub.Config{MaxClients: 9, MaxClientsPerAddress: 2}, "dora", "10.0.0.1", hub.RefusedAddressClients},
		{"the next IPv4 address", hub.Config{MaxClients: 9, MaxClientsPerAddress: 1}, "dora", "10.0.0.2", ""},
		{"the same /64", hub.Config{MaxClients: 9, MaxClientsPerAddress: 1}, "dora", "2001:db8::ffff:1", hub.RefusedAddressClients},
		{"the same /64 in another zone", hub.Config{MaxClients: 9, MaxClientsPerAddress: 1}, "dora", "2001:db8::7%eth1", hub.RefusedAddressClients},
		{"the next /64", hub.Config{MaxClients: 9, MaxClientsPerAddress: 1}, "dora", "2001:db8:0:1::1", ""},
		{"no address", hub.Config{MaxClients: 9, MaxClientsPerAddress: 1}, "dora", "", ""},
	} {
		var s hub.Seats
		limits := test.cfg
		limits.MaxClients = 3
		limits.MaxClientsPerUser = 2 * min(limits.MaxClientsPerUser, 1)
		limits.MaxClientsPerAddress = 2 * min(limits.MaxClientsPerAddress, 1)
		for _, first := range []struct{ user, addr string }{{"anna", "10.0.0.1"}, {"anna", "10.0.0.1"}, {"", "2001:db8::1"}} {
			if _, cause := s.Take(limits, first.user, netip.MustParseAddr(first.addr)); cause != "" {
				t.Fatalf("%s: the first ones: got refused for %q", test.name, cause)
			}
		}
		addr, _ := netip.ParseAddr(test.addr)
		before, _, _ := s.Occupied()
		_, cause := s.Take(test.cfg, test.user, addr)
		if cause != test.want {
			t.Errorf("%s: got cause %q, want %q", test.name, cause, test.want)
		}
		if after, _, _ := s.Occupied(); cause != "" && after != before {
			t.Errorf("%s: a refusal: got %d seats taken, want %d", test.name, after, before)
		}
	}
}

func TestSeatsGivenBackLeaveNothing(t *testing.T) {
	cfg := hub.Config{MaxClients: 20, MaxClientsPerUser: 3, MaxClientsPerAddress: 3}
	var s hub.Seats
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			for range 200 {
				addr := netip.MustParseAddr(fmt.Sprintf("2001:db8:0:%d::1", i%8))
				// Where it is refused there is nothing to give back.
				place, _ := s.Take(cfg, fmt.Sprint("user", i%9), addr)
				s.Give(place)
			}
		})
	}
	wg.Wait()
	if total, users, networks := s.Occupied(); total != 0 || users != 0 || networks != 0 {
		t.Errorf("when all have gone: got %d clients, %d users, %d networks remembered; want none", total, users, networks)
	}
	for range 3 {
		if _, cause := s.Take(cfg, "anna", netip.MustParseAddr("10.0.0.1")); cause != "" {
			t.Errorf("after all were given back: got %q", cause)
		}
	}
}
