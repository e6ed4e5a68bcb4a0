package main

import (
	"context"
	"log/slog"
)

// lonely is the log of a hub whose backplane joins it with nobody. To the hub it
// is a backplane as any other, but whoever reads "backplane connected" takes
// this gateway for one of several.
type lonely struct{ slog.Handler }

// Handle leaves out what would be misread.
func (l lonely) Handle(ctx context.Context, r slog.Record) error {
	if r.Message == "backplane connected" {
		return nil
	}
	return l.Handler.Handle(ctx, r)
}

// WithAttrs keeps it out of loggers that are derived, as WithGroup does.
func (l lonely) WithAttrs(attrs []slog.Attr) slog.Handler {
	return lonely{l.Handler.WithAttrs(attrs)}
}

func (l lonely) WithGroup(name string) slog.Handler {
	return lonely{l.Handler.WithGroup(name)}
}
