package natsbp

import (
	"log/slog"
)

// wantPayload is what hubs count on: the port's suite publishes as much.
const wantPayload = 512 << 10

// inspect looks at the server of a new session, and says where its settings will
// lose messages.
func (c *control) inspect(s *session) {
	nc, log := c.nc, c.b.cfg.Logger
	s.server, s.maxPayload = nc.ConnectedServerName(), nc.MaxPayload()
	known := len(nc.Servers())
	cluster := nc.ConnectedClusterName()
	// Never the URL: a token in it is not what url.Redacted hides.
	log.Info("natsbp: connected",
		slog.String("server", s.server), slog.String("address", nc.ConnectedAddr()),
		slog.String("version", nc.ConnectedServerVersion()), slog.String("cluster", cluster),
		slog.Int("servers", known), slog.Int64("max_payload", s.maxPayload))
	if s.maxPayload < wantPayload {
		log.Warn("natsbp: the server's max_payload is small: larger messages are refused with hub.ErrTooLarge and reach this hub's clients only",
			slog.Int64("max_payload", s.maxPayload), slog.Int("want", wantPayload))
	}
	if cluster != "" && known < 2 {
		log.Warn("natsbp: the server is of a cluster but names no other server: name several in Config.URL, or nobody is left when this one goes",
			slog.String("cluster", cluster))
	}
}
