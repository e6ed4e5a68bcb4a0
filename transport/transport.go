package transport

import (
	"fmt"
	"sync/atomic"

	"forge.lthn.ai/core/go-ws/hub"
)

// Config says how a Transport works. The zero value is a good one.
type Config struct {
	// Compression offers permessage-deflate (RFC 7692) to clients that ask for
	// it, always without context takeover. It saves bandwidth and costs time
	// and memory on both sides; see the package comment. Off by default.
	Compression bool
	// CompressionThreshold is the length of a payload, in bytes, from which on
	// it is compressed. The default is 512: below that little is won.
	CompressionThreshold int
}

const defaultCompressionThreshold = 512

// Transport upgrades HTTP requests to WebSocket connections. All its methods
// may be called concurrently, and one Transport may serve several hubs.
type Transport struct {
	compression bool
	threshold   int
	deflating   atomic.Int64 // live connections that negotiated deflate
	readers     readers
	drainers    drainers
}

var _ hub.Transport = (*Transport)(nil)

// New returns a transport. The error names the field of config that can't be.
func New(config Config) (*Transport, error) {
	if config.CompressionThreshold < 0 {
		return nil, fmt.Errorf("transport: Config.CompressionThreshold is negative: %d", config.CompressionThreshold)
	}
	t := &Transport{compression: config.Compression, threshold: config.CompressionThreshold}
	if t.threshold == 0 {
		t.threshold = defaultCompressionThreshold
	}
	return t, nil
}
