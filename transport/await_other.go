//go:build !linux || portable

package transport

// awaitRaw is never used where rawConn gives nil.
func (*libraryConn) awaitRaw() (int, error) { return 0, nil }
