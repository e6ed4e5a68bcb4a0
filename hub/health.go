package hub

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// health tells the application how the backplane is, on a goroutine of its own,
// so that a callback that blocks holds up nobody.
type health struct {
	hub    *Hub
	wake   chan struct{}
	ctx    context.Context
	cancel context.CancelFunc
	wait   sync.WaitGroup
}

func newHealth(h *Hub) *health {
	ctx, cancel := context.WithCancel(context.Background())
	return &health{hub: h, ctx: ctx, cancel: cancel, wake: make(chan struct{}, 1)}
}

func (w *health) start() {
	if w.hub.cfg.OnBackplaneHealth != nil {
		w.wait.Go(w.run)
	}
}

func (w *health) stop() {
	w.cancel()
	w.wait.Wait()
}

func (w *health) poke() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

func (w *health) run() {
	healthy := false // as the application knows it
	for {
		select {
		case <-w.ctx.Done():
			return
		case <-w.wake:
		}
		err := w.hub.interest.unhealthy()
		if (err == nil) == healthy || w.ctx.Err() != nil {
			continue
		}
		healthy = err == nil
		w.hub.contain("OnBackplaneHealth", func() { w.hub.cfg.OnBackplaneHealth(err) })
	}
}

// backplaneChanged wakes those who look at how the backplane is. It may be called
// under any lock.
func (h *Hub) backplaneChanged() {
	h.fleet.poke()
	h.health.poke()
}

// errDeaf is why a hub whose backplane has no complaint is unhealthy.
var errDeaf = errors.New("hub: what is published does not come back from the broker")

// fallDeaf takes it that nothing comes from the backplane any more, for all that
// it says. Publications may be missing from here on. mute is why nothing could be
// published either.
func (h *Hub) fallDeaf(silent time.Duration, mute error) {
	err := fmt.Errorf("%w for %v", errDeaf, silent.Round(time.Second))
	if mute != nil {
		err = fmt.Errorf("%w: %w", err, mute)
	}
	h.count.disruptions.Add(1)
	h.interest.setDeaf(err)
	h.cfg.Logger.Warn("backplane is silent", slog.Any("error", err))
}
