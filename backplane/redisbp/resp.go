package redisbp

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
)

// This file speaks as much of RESP2, the protocol of Redis, as a connection that
// subscribes needs: https://redis.io/docs/latest/develop/reference/protocol-spec/.

// maxBulk is the longest string that is read: Redis's own default for
// proto-max-bulk-len.
const maxBulk = 512 << 20

// errProtocol is wrapped by the errors for what is not RESP2.
var errProtocol = errors.New("redisbp: the server does not speak Redis's protocol")

// serverError is an error reply.
type serverError string

func (e serverError) Error() string { return string(e) }

// RedisError makes it one of go-redis's kind, redis.Error.
func (serverError) RedisError() {}

// event is one thing that a subscribing connection is told.
type event struct {
	// kind is "message", "smessage", "subscribe" and so on, or "error".
	kind string
	// channel is good until the next event is read.
	channel []byte
	// payload of a message: the receiver's for ever.
	payload []byte
	err     serverError
}

type reader struct {
	br      *bufio.Reader
	kind    []byte
	channel []byte
}

func newReader(r io.Reader) *reader { return &reader{br: bufio.NewReaderSize(r, 64<<10)} }

// eventKinds are all that Redis sends to a subscriber, without patterns, which
// are never subscribed to.
var eventKinds = map[string]string{
	"message": "message", "smessage": "smessage", "pong": "pong",
	"subscribe": "subscribe", "ssubscribe": "ssubscribe",
	"unsubscribe": "unsubscribe", "sunsubscribe": "sunsubscribe",
}

// next reads an event.
func (r *reader) next() (event, error) {
	line, err := r.line()
	if err != nil {
		return event{}, err
	}
	switch line[0] {
	case '-':
		return event{kind: "error", err: serverError(line[1:])}, nil
	case '*':
	default:
		return event{}, fmt.Errorf("%w: %.20q to a subscriber", errProtocol, line)
	}
	n, err := number(line)
	if err != nil || n < 2 || n > 3 {
		return event{}, fmt.Errorf("%w: %.20q to a subscriber", errProtocol, line)
	}
	if r.kind, err = r.bulk(r.kind[:0]); err != nil {
		return event{}, err
	}
	e := event{kind: eventKinds[string(r.kind)]}
	if (e.kind == "pong") != (n == 2) || e.kind == "" {
		return event{}, fmt.Errorf("%w: %d of %.20q to a subscriber", errProtocol, n, r.kind)
	}
	if r.channel, err = r.bulk(r.channel[:0]); err != nil {
		return event{}, err
	}
	e.channel = r.channel
	switch e.kind {
	case "pong":
	case "message", "smessage":
		e.payload, err = r.bulk(nil)
	default:
		if line, err = r.line(); err == nil && line[0] != ':' {
			err = fmt.Errorf("%w: %.20q for a count", errProtocol, line)
		}
	}
	return e, err
}

// value reads a reply of any kind, of which only the first string matters.
func (r *reader) value(depth int) (first string, err error) {
	line, err := r.line()
	if err != nil {
		return "", err
	}
	switch line[0] {
	case '+', ':':
		return string(line[1:]), nil
	case '-':
		return "", serverError(line[1:])
	case '$':
		n, err := number(line)
		if err != nil || n < 0 {
			return "", err
		}
		p, err := r.bytes(nil, n)
		return string(p), err
	case '*':
		n, err := number(line)
		if err != nil || n > 1<<16 || depth > 8 {
			return "", fmt.Errorf("%w: %.20q", errProtocol, line)
		}
		for i := range n {
			s, err := r.value(depth + 1)
			if err != nil {
				return "", err
			}
			if i == 0 {
				first = s
			}
		}
		return first, nil
	}
	return "", fmt.Errorf("%w: %.20q", errProtocol, line)
}

// line reads up to the end of a line, which it leaves out. It is good until the
// next read, and never empty.
func (r *reader) line() ([]byte, error) {
	line, err := r.br.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		return nil, fmt.Errorf("%w: a line of %d bytes", errProtocol, len(line))
	}
	if err != nil {
		return nil, err
	}
	line, found := bytes.CutSuffix(line, []byte("\r\n"))
	if !found || len(line) == 0 {
		return nil, fmt.Errorf("%w: %.20q", errProtocol, line)
	}
	return line, nil
}

// bulk appends a string to p.
func (r *reader) bulk(p []byte) ([]byte, error) {
	line, err := r.line()
	if err != nil {
		return p, err
	}
	n, err := number(line)
	if err != nil || line[0] != '$' || n < 0 {
		return p, fmt.Errorf("%w: %.20q for a string", errProtocol, line)
	}
	return r.bytes(p, n)
}

// bytes appends n bytes and the end of the line behind them, which it leaves out.
// Memory grows with what has come, not with what was announced.
func (r *reader) bytes(p []byte, n int) ([]byte, error) {
	if n > maxBulk {
		return p, fmt.Errorf("%w: a string of %d bytes", errProtocol, n)
	}
	const step = 1 << 20
	for n > 0 {
		k := min(n, max(step, len(p)))
		at := len(p)
		if p == nil {
			p = make([]byte, k)
		} else {
			p = append(p, make([]byte, k)...)
		}
		if _, err := io.ReadFull(r.br, p[at:]); err != nil {
			return p[:at], err
		}
		n -= k
	}
	var end [2]byte
	if _, err := io.ReadFull(r.br, end[:]); err != nil {
		return p, err
	}
	if end != [2]byte{'\r', '\n'} {
		return p, fmt.Errorf("%w: a string goes on past its end", errProtocol)
	}
	if p == nil {
		p = []byte{}
	}
	return p, nil
}

// number reads what follows the first byte of a line.
func number(line []byte) (int, error) {
	n, err := strconv.Atoi(string(line[1:]))
	if err != nil || n < -1 {
		return 0, fmt.Errorf("%w: %.20q", errProtocol, line)
	}
	return n, nil
}

// appendCommand appends a command in the form in which servers read it.
func appendCommand(p []byte, name string, args ...string) []byte {
	p = append(p, '*')
	p = strconv.AppendInt(p, int64(1+len(args)), 10)
	p = appendBulk(append(p, '\r', '\n'), name)
	for _, a := range args {
		p = appendBulk(p, a)
	}
	return p
}

func appendBulk(p []byte, s string) []byte {
	p = append(p, '$')
	p = strconv.AppendInt(p, int64(len(s)), 10)
	p = append(p, '\r', '\n')
	p = append(p, s...)
	return append(p, '\r', '\n')
}
