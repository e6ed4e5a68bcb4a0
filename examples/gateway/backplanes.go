package main

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"net/url"
	"os"
	"slices"

	"forge.lthn.ai/core/go-ws/backplane"
	"forge.lthn.ai/core/go-ws/backplane/natsbp"
	"forge.lthn.ai/core/go-ws/backplane/redisbp"
	"forge.lthn.ai/core/go-ws/examples/internal/natsserver"
	"forge.lthn.ai/core/go-ws/hub"
)

// joint is what joins a gateway to others.
type joint struct {
	hub.Backplane
	// note tells, if there is something to tell, how another gateway joins.
	note string
	// close ends what the gateway runs for it, after the hub has ended. May be nil.
	close func()
}

// backplanes are what -backplane can name. A gateway with the memory backplane
// is alone; it behaves like one that is joined with others.
var backplanes = map[string]func(settings, *slog.Logger) (joint, error){
	"memory": func(settings, *slog.Logger) (joint, error) {
		return joint{Backplane: backplane.NewMemory(backplane.MemoryConfig{}).Join()}, nil
	},
	"redis": func(s settings, logger *slog.Logger) (joint, error) {
		b, err := redisbp.New(redisbp.Config{URL: s.redisURL, Logger: logger})
		return joint{Backplane: b}, err
	},
	"nats": joinNATS,
}

func backplaneNames() []string { return slices.Sorted(maps.Keys(backplanes)) }

// joinNATS joins at the server that -nats-url names, or at one of the gateway's own.
func joinNATS(s settings, logger *slog.Logger) (joint, error) {
	if s.natsURL != "" {
		b, err := natsbp.New(natsbp.Config{URL: s.natsURL, Logger: logger})
		return joint{Backplane: b}, err
	}
	server, err := natsserver.Start(natsserver.Config{
		Listen: cmp.Or(s.natsListen, "127.0.0.1:0"), Token: s.natsToken,
		MaxPayload: outboxBytes(s.maxPublishedBytes) + envelopeRoom,
		Logger:     logger,
	})
	if err != nil {
		return joint{}, fmt.Errorf("-nats-listen: %w", err)
	}
	here, others := reach(server.Addr())
	own := url.URL{Scheme: "nats", Host: here}
	note := "another gateway joins with -backplane nats -nats-url nats://" + others
	if s.natsToken != "" {
		own.User = url.User(s.natsToken)
		note = "another gateway joins with -backplane nats -nats-url nats://TOKEN@" + others + ", with the -nats-token of this one for TOKEN"
	}
	b, err := natsbp.New(natsbp.Config{URL: own.String(), Logger: logger})
	if err != nil {
		server.Stop()
		return joint{}, err
	}
	return joint{b, note, server.Stop}, nil
}

// envelopeRoom is for what hubs put before a message on its way to each other.
const envelopeRoom = 1 << 10

// reach is where a server that listens at an address is reached, from here and
// by others. A server that listens everywhere says that by an address that
// leads nowhere.
func reach(listens string) (here, others string) {
	at, err := netip.ParseAddrPort(listens)
	if err != nil || !at.Addr().IsUnspecified() {
		return listens, listens
	}
	_, port, _ := net.SplitHostPort(listens)
	name, err := os.Hostname()
	if err != nil {
		name = "HOST"
	}
	return net.JoinHostPort("localhost", port), net.JoinHostPort(name, port)
}

// checkBackplane finds what would leave a gateway alone that was meant not to be.
func (s *settings) checkBackplane() error {
	var errs []error
	needs := func(flag, value, backplane string) {
		if value != "" && s.backplane != backplane {
			errs = append(errs, fmt.Errorf("gateway: -%s: needs -backplane %s", flag, backplane))
		}
	}
	needs("redis-url", s.redisURL, "redis")
	needs("nats-url", s.natsURL, "nats")
	needs("nats-listen", s.natsListen, "nats")
	needs("nats-token", s.natsToken, "nats")
	if s.backplane == "redis" && s.redisURL == "" {
		errs = append(errs, errors.New("gateway: -redis-url: is missing; -backplane redis needs it"))
	}
	if s.natsURL != "" && s.natsListen != "" {
		errs = append(errs, errors.New("gateway: -nats-listen: is for the gateway's own server; with -nats-url it runs none"))
	}
	if s.natsURL != "" && s.natsToken != "" {
		errs = append(errs, errors.New("gateway: -nats-token: is for the gateway's own server; a token for another one is a part of -nats-url, as nats://TOKEN@host:4222"))
	}
	return errors.Join(errs...)
}
