package client

import (
	"errors"
	"io"
	"net/http"
	"sync/atomic"
	"time"
)

// errEnded stands for io.EOF below the library, which takes an io.EOF within a
// message for the message's end.
var errEnded = errors.New("the server ended the connection without a close frame")

// maxCorked is how many bytes of several frames are written together.
const maxCorked = 64 << 10

// body is the connection below the WebSocket library, as the upgrade's answer
// brings it. It sees when bytes come, and makes one write of many frames.
type body struct {
	io.ReadWriteCloser
	began time.Time
	// read is when bytes came last, counted from began.
	read atomic.Int64

	// more: another frame follows at once, so this one may wait for it.
	more atomic.Bool
	// buf has what waits. It belongs to whoever writes: the library lets one
	// frame be written at a time.
	buf []byte
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.ReadWriteCloser.Read(p)
	if n > 0 {
		b.read.Store(int64(time.Since(b.began)))
	}
	if err == io.EOF {
		err = errEnded
	}
	return n, err
}

// lastRead is when bytes came last.
func (b *body) lastRead() time.Time { return b.began.Add(time.Duration(b.read.Load())) }

func (b *body) Write(p []byte) (int, error) {
	if b.more.Load() && len(b.buf)+len(p) <= maxCorked {
		b.buf = append(b.buf, p...)
		return len(p), nil
	}
	if len(b.buf) == 0 {
		return b.ReadWriteCloser.Write(p)
	}
	b.buf = append(b.buf, p...)
	_, err := b.ReadWriteCloser.Write(b.buf)
	b.buf = nil
	if err != nil {
		return 0, err
	}
	return len(p), nil
}

// tap is the transport of one attempt: it puts a body around the connection.
type tap struct {
	http.RoundTripper
	body *body
}

func (t *tap) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := t.RoundTripper.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusSwitchingProtocols {
		// A redirect is not followed, as by browsers: net/http would send the
		// headers on, and the URL with its query as the Referer, the library takes
		// away its bound on redirects, and a Location that can't be parsed would
		// stand in an error.
		resp.Header = resp.Header.Clone()
		resp.Header.Del("Location")
		return resp, nil
	}
	if rwc, ok := resp.Body.(io.ReadWriteCloser); ok {
		t.body = &body{ReadWriteCloser: rwc, began: time.Now()}
		resp.Body = t.body
	}
	return resp, nil
}
