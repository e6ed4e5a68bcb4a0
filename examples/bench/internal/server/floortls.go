//go:build linux

package server

import (
	"bufio"
	"bytes"
	"crypto/sha1"
	"crypto/tls"
	"encoding/base64"
	"io"
	"net"
	"sync"
	"time"
)

var (
	floor1TLS = Kind{
		Name: "floor1-tls", Protocol: "lines", TLS: true,
		About: "one frame per Write of a tls.Conn",
		Start: func(o Options) (Server, error) { return startTLSFloor(o), nil },
	}
	floorNTLS = Kind{
		Name: "floorN-tls", Protocol: "lines", TLS: true,
		About: "all that waits for a connection in one Write of a tls.Conn",
		Start: func(o Options) (Server, error) { return gatheringTLSFloor{startTLSFloor(o)}, nil },
	}
)

// tlsFloor has a goroutine for each connection until it has joined. Whoever
// publishes then writes, one connection after another.
type tlsFloor struct {
	bare     bool
	config   *tls.Config
	listener net.Listener

	mu       sync.Mutex
	channels map[int][]*tls.Conn
	waiting  map[int][]byte
}

type gatheringTLSFloor struct{ *tlsFloor }

func startTLSFloor(o Options) *tlsFloor {
	f := &tlsFloor{
		bare: o.Bare, listener: o.Listener, config: &tls.Config{Certificates: []tls.Certificate{o.Certificate}},
		channels: map[int][]*tls.Conn{}, waiting: map[int][]byte{},
	}
	go func() {
		for {
			c, err := f.listener.Accept()
			if err != nil {
				return
			}
			go func() {
				secure := tls.Server(c, f.config)
				if f.enter(secure) != nil {
					secure.Close()
				}
			}()
		}
	}()
	return f
}

func (f *tlsFloor) enter(c *tls.Conn) error {
	r := bufio.NewReader(c)
	var head []byte
	for !bytes.HasSuffix(head, []byte("\r\n\r\n")) {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return err
		}
		head = append(head, line...)
	}
	if _, err := io.WriteString(c, upgradeHead+acceptKey(head)+"\r\n\r\n"); err != nil {
		return err
	}
	var b []byte
	for {
		next, err := r.ReadByte()
		if err != nil {
			return err
		}
		b = append(b, next)
		text, n := parseJoin(b)
		if n == 0 {
			continue
		}
		channels, err := channelNumbers(text)
		if err != nil {
			return err
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		for _, ch := range channels {
			f.channels[ch] = append(f.channels[ch], c)
		}
		_, err = c.Write(append(appendHeader(nil, len(joined)), joined...))
		return err
	}
}

// Publish writes the frame.
func (f *tlsFloor) Publish(channel int, payload []byte) error {
	frame := appendFloorFrame(nil, channel, payload, time.Now(), f.bare)
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.writeLocked(channel, frame)
}

func (f *tlsFloor) writeLocked(channel int, b []byte) error {
	for _, c := range f.channels[channel] {
		if _, err := c.Write(b); err != nil {
			return err
		}
	}
	return nil
}

// Publish keeps the frame for Flush.
func (f gatheringTLSFloor) Publish(channel int, payload []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.waiting[channel] = appendFloorFrame(f.waiting[channel], channel, payload, time.Now(), f.bare)
	return nil
}

// Flush writes channel by channel: TLS scenarios have only one.
func (f gatheringTLSFloor) Flush() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for ch, b := range f.waiting {
		if err := f.writeLocked(ch, b); err != nil {
			return err
		}
		f.waiting[ch] = b[:0]
	}
	return nil
}

const upgradeHead = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "

// acceptKey is the answer to a handshake's key (RFC 6455, section 4.2.2).
func acceptKey(head []byte) string {
	for line := range bytes.Lines(head) {
		name, value, _ := bytes.Cut(line, []byte(":"))
		if bytes.EqualFold(name, []byte("Sec-WebSocket-Key")) {
			sum := sha1.Sum(append(bytes.Clone(bytes.TrimSpace(value)), "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"...))
			return base64.StdEncoding.EncodeToString(sum[:])
		}
	}
	return ""
}
