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

// lists hold what a connection that can only block has taken and is to write.
var lists = sync.Pool{New: func() any { return new([listLength][]byte) }}

const listLength = 256

func getList() [][]byte { return lists.Get().(*[listLength][]byte)[:0] }

// putList takes a list back, if it is one that getList gave.
func putList(l [][]byte) {
	if cap(l) != listLength {
		return
	}
	l = l[:listLength]
	clear(l)
	lists.Put((*[listLength][]byte)(l))
}

func getBuffer() *[]byte { return buffers.Get().(*[]byte) }

func putBuffer(b *[]byte) {
	if b == nil || cap(*b) > maxKept {
		return
	}
	*b = (*b)[:0]
	buffers.Put(b)
}
