package transport

import (
	"compress/flate"
	"sync"
)

// deflater is a compressor with where it writes to. It takes about 1 MB: there
// are as many as Prepare runs at once, and the pool lets go of them.
type deflater struct {
	w   *flate.Writer
	out []byte
}

func (d *deflater) Write(p []byte) (int, error) {
	d.out = append(d.out, p...)
	return len(p), nil
}

var deflaters = sync.Pool{New: func() any {
	d := &deflater{}
	// The level is known to be valid.
	d.w, _ = flate.NewWriter(d, flate.BestSpeed)
	return d
}}

// deflateTail ends every flushed block; RFC 7692 has senders cut it off.
const deflateTail = 4

// deflateFrame compresses payload into a frame of its own, or returns nil
// where that is no shorter.
func deflateFrame(first byte, payload []byte) []byte {
	d := deflaters.Get().(*deflater)
	defer deflaters.Put(d)
	d.out = d.out[:0]
	d.w.Reset(d)
	// Writes to d don't fail.
	_, _ = d.w.Write(payload)
	_ = d.w.Flush()
	body := d.out[:len(d.out)-deflateTail]
	if len(body) >= len(payload) {
		return nil
	}
	out := appendFrame(make([]byte, 0, maxHeader+len(body)), first, body)
	if cap(d.out) > maxKept {
		d.out = nil
	}
	return out
}
