package main

import (
	"log/slog"
	"time"

	"forge.lthn.ai/core/go-ws/hub"
)

// hubConfig is the hub that the settings ask for.
func (s *settings) hubConfig(sockets hub.Transport, plane hub.Backplane, logger *slog.Logger) hub.Config {
	return hub.Config{
		Transport:            sockets,
		Backplane:            plane,
		Authenticator:        s.authenticator(),
		HeartbeatInterval:    offWhenZero(s.heartbeat),
		PongTimeout:          offWhenZero(s.pongTimeout),
		DrainTimeout:         offWhenZero(s.drainTimeout),
		DrainSpread:          offWhenZero(s.drainSpread),
		OutboxBytes:          outboxBytes(s.maxPublishedBytes),
		MaxMessageBytes:      s.maxMessageBytes,
		MaxMessagesPerSecond: offWhenZero(s.maxMessageRate),
		MaxSubscriptions:     s.maxSubscriptions,
		MaxClients:           s.maxClients,
		MaxClientsPerUser:    s.maxPerUser,
		MaxClientsPerAddress: s.maxPerAddress,
		AllowedOrigins:       s.allowedOrigins,
		TrustedProxies:       s.trustedProxies,
		Logger:               logger,
	}
}

// outboxBytes is how much may wait for a client: at least the hub's default, and
// as much as a frame of the largest body has. What clients get beyond the body,
// a type and a timestamp, fits into frameRoom, as does a channel's name that grows
// by being escaped.
func outboxBytes(maxPublishedBytes int) int {
	const (
		least     = 1 << 20
		frameRoom = 4 << 10
	)
	return max(least, maxPublishedBytes+frameRoom)
}

// offWhenZero turns the flags' "0: none" into the hub's, where zero is the
// default and a negative value is none.
func offWhenZero[N int | time.Duration](n N) N {
	if n == 0 {
		return -1
	}
	return n
}
