package hub

import (
	"net/netip"
	"sync"
)

// seats counts the clients that there are, in all, per user and per address. A
// client keeps its seat until its connection is closed, so that those that are
// on their way out count too.
type seats struct {
	mu      sync.Mutex
	total   int
	user    map[string]int
	address map[netip.Addr]int
}

// seat is what one client occupies. Its zero value is none.
type seat struct {
	taken   bool
	user    string
	address netip.Addr
}

// network is the address that MaxClientsPerAddress counts by: an IPv6 host has
// a whole /64 to itself.
func network(a netip.Addr) netip.Addr {
	if !a.Is6() {
		return a
	}
	p, err := a.WithZone("").Prefix(64)
	if err != nil {
		return a
	}
	return p.Addr()
}

// take gives a seat, or the cause why there is none.
func (s *seats) take(cfg *Config, user string, address netip.Addr) (seat, RefusalCause) {
	place := seat{taken: true}
	if cfg.MaxClientsPerUser > 0 {
		place.user = user
	}
	if cfg.MaxClientsPerAddress > 0 && address.IsValid() {
		place.address = network(address)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.total >= cfg.MaxClients:
		return seat{}, RefusedClients
	case place.user != "" && s.user[place.user] >= cfg.MaxClientsPerUser:
		return seat{}, RefusedUserClients
	case place.address.IsValid() && s.address[place.address] >= cfg.MaxClientsPerAddress:
		return seat{}, RefusedAddressClients
	}
	s.total++
	if place.user != "" {
		if s.user == nil {
			s.user = make(map[string]int)
		}
		s.user[place.user]++
	}
	if place.address.IsValid() {
		if s.address == nil {
			s.address = make(map[netip.Addr]int)
		}
		s.address[place.address]++
	}
	return place, ""
}

// give takes a seat back.
func (s *seats) give(place seat) {
	if !place.taken {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.total--
	if place.user != "" {
		if s.user[place.user]--; s.user[place.user] == 0 {
			delete(s.user, place.user)
		}
	}
	if place.address.IsValid() {
		if s.address[place.address]--; s.address[place.address] == 0 {
			delete(s.address, place.address)
		}
	}
}
