package load

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// socket lets crypto/tls read from a socket in a loop over epoll. A Read that
// finds nothing returns an error that crypto/tls takes for a passing one; it
// keeps the part of a record that it has and may be asked again.
type socket struct {
	fd int
	// wait for the peer, for the handshake, instead of returning.
	wait bool
}

// wouldBlock is the passing error.
type wouldBlock struct{}

func (wouldBlock) Error() string   { return errAgain.Error() }
func (wouldBlock) Timeout() bool   { return true }
func (wouldBlock) Temporary() bool { return true }
func (wouldBlock) Is(err error) bool {
	return err == errAgain
}

func (s *socket) Read(b []byte) (int, error) {
	for {
		n, err := unix.Read(s.fd, b)
		switch {
		case err == unix.EINTR:
		case err == unix.EAGAIN && s.wait:
			if err := s.poll(unix.POLLIN); err != nil {
				return 0, err
			}
		case err == unix.EAGAIN:
			return 0, wouldBlock{}
		case err != nil:
			return 0, err
		case n == 0:
			return 0, io.EOF
		default:
			return n, nil
		}
	}
}

func (s *socket) Write(b []byte) (int, error) { return unix.Write(s.fd, b) }

// handshakeTimeout bounds each wait of a TLS handshake.
const handshakeTimeout = 30 * time.Second

func (s *socket) poll(events int16) error {
	for {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(s.fd), Events: events}}, int(handshakeTimeout/time.Millisecond))
		switch {
		case err == unix.EINTR:
		case err != nil:
			return err
		case n == 0:
			return errors.New("load: no answer")
		default:
			return nil
		}
	}
}

func (s *socket) Close() error                     { return nil }
func (s *socket) LocalAddr() net.Addr              { return nil }
func (s *socket) RemoteAddr() net.Addr             { return nil }
func (s *socket) SetDeadline(time.Time) error      { return nil }
func (s *socket) SetReadDeadline(time.Time) error  { return nil }
func (s *socket) SetWriteDeadline(time.Time) error { return nil }

// trust makes a client's configuration of a server's certificate.
func trust(pem string) (*tls.Config, error) {
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM([]byte(pem)) {
		return nil, errors.New("load: no certificate")
	}
	return &tls.Config{RootCAs: roots, ServerName: "127.0.0.1"}, nil
}

// shake makes a TLS connection of a connected socket.
func shake(fd int, config *tls.Config) (*tls.Conn, error) {
	s := &socket{fd: fd, wait: true}
	if err := s.poll(unix.POLLOUT); err != nil {
		return nil, err
	}
	c := tls.Client(s, config)
	if err := c.Handshake(); err != nil {
		return nil, fmt.Errorf("load: TLS handshake: %w", err)
	}
	s.wait = false
	return c, nil
}
