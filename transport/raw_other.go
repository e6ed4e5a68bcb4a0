//go:build !linux || portable

package transport

import (
	"net"
	"syscall"

	"forge.lthn.ai/core/go-ws/hub"
)

// rawConn says that there is no way but nc's own Write.
func rawConn(net.Conn) syscall.RawConn { return nil }

// rawWriter is never used where rawConn gives nil.
type rawWriter struct{}

func getRawWriter(syscall.RawConn) *rawWriter                         { return nil }
func (*rawWriter) put()                                               {}
func (*rawWriter) gather([]hub.Frame, bool) (chunk []byte, count int) { return nil, 0 }
func (*rawWriter) write([]byte) (int, error)                          { return 0, nil }
func (*rawWriter) writeSome([]byte) (int, error)                      { return 0, nil }
