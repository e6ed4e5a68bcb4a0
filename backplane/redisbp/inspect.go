package redisbp

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"
)

// What a server's settings should allow: Redis's own defaults for
// client-output-buffer-limit pubsub. A subscriber that is further behind is cut
// off, and loses what was on its way.
const (
	wantedHardLimit = 32 << 20
	wantedSoftLimit = 8 << 20
	oldestVersion   = 6
)

// inspect makes sure that a new connection works, and looks at the node's
// settings in the same round trip. It warns once of those that lose messages. A
// server may forbid it to look: then it says nothing.
func (b *Backplane) inspect(ctx context.Context, conn *redis.Conn, addr string) error {
	pipe := conn.Pipeline()
	ping := pipe.Ping(ctx)
	info := pipe.Info(ctx, "server")
	limits := pipe.ConfigGet(ctx, "client-output-buffer-limit")
	bulk := pipe.ConfigGet(ctx, "proto-max-bulk-len")
	_, _ = pipe.Exec(ctx) // what it says the commands say too
	for _, cmd := range []redis.Cmder{ping, info, limits, bulk} {
		if broken(cmd.Err()) || refusedUser(cmd.Err()) {
			return cmd.Err()
		}
	}
	var found []string
	version := infoField(info.Val(), "redis_version")
	major, _, _ := strings.Cut(version, ".")
	if n, err := strconv.Atoi(major); err == nil && n < oldestVersion {
		found = append(found, fmt.Sprintf("version %s is older than %d, and not tested", version, oldestVersion))
	}
	if text := poorLimit(limits.Val()["client-output-buffer-limit"], int(b.maxPayload.Load())); text != "" {
		found = append(found, text)
	}
	if n, err := strconv.ParseInt(bulk.Val()["proto-max-bulk-len"], 10, 64); err == nil && n > 0 && n < b.maxPayload.Load() {
		b.maxPayload.Store(n)
		found = append(found, fmt.Sprintf("proto-max-bulk-len %d is less than Config.MaxPayload", n))
	}
	if len(found) > 0 && b.warned.CompareAndSwap(false, true) {
		b.cfg.Logger.Warn("redis settings that lose messages",
			slog.String("address", addr), slog.String("settings", strings.Join(found, "; ")))
	}
	return nil
}

// infoField finds a field in the answer to INFO.
func infoField(info, name string) string {
	for line := range strings.Lines(info) {
		if value, ok := strings.CutPrefix(line, name+":"); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// poorLimit says what is wrong with client-output-buffer-limit, whose value is a
// list of classes, each with a hard limit, a soft one, and seconds.
func poorLimit(value string, payload int) string {
	fields := strings.Fields(value)
	for len(fields) >= 4 {
		class := fields[:4]
		if fields = fields[4:]; class[0] != "pubsub" {
			continue
		}
		hard, err1 := strconv.ParseInt(class[1], 10, 64)
		soft, err2 := strconv.ParseInt(class[2], 10, 64)
		if err1 != nil || err2 != nil {
			return ""
		}
		wanted := max(wantedHardLimit, int64(2*payload))
		if hard > 0 && hard < wanted || soft > 0 && soft < wantedSoftLimit {
			return fmt.Sprintf("client-output-buffer-limit %s: a hub that falls behind by more is cut off; "+
				"set pubsub %dmb %dmb 60 or more", strings.Join(class, " "), wanted>>20, max(wantedSoftLimit, wanted/4)>>20)
		}
	}
	return ""
}
