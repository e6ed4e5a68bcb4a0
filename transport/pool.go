package transport

import "sync"

// maxKept is the largest buffer that a pool keeps.
const maxKept = 64 << 10

// buffers holds what messages are read into, and the portable path gathers
// into. Only a connection in the middle of either has one.
var buffers = sync.Pool{New: func() any {
	b := make([]byte, 0, 1024)
	return &b
}}

func getBuffer() *[]byte { return buffers.Get().(*[]byte) }

func putBuffer(b *[]byte) {
	if b == nil || cap(*b) > maxKept {
		return
	}
	*b = (*b)[:0]
	buffers.Put(b)
}
