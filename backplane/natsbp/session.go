package natsbp

import (
	"errors"
	"time"

	"github.com/nats-io/nats.go"
)

// session is a stretch of time in which the subscriptions are live at one
// server: it begins when they are, and ends with the connection. What was
// written in one session is never taken for acknowledged in another: the client
// would send a PING that was written before a cut after it, and the answer would
// speak for publications that were lost.
type session struct {
	nc *nats.Conn
	// generation counts the client's connections: another one means that the
	// session is over, seen yet or not.
	generation uint64
	server     string
	maxPayload int64

	ended chan struct{}
	err   error // why; set before ended is closed
}

func (s *session) over() bool {
	select {
	case <-s.ended:
		return true
	default:
		return false
	}
}

var (
	errMoved       = errors.New("the connection was lost meanwhile")
	errUnconfirmed = errors.New("the server did not answer")
)

// flush returns nil when the server has worked through all that was written to
// it in this session.
func (s *session) flush(patience time.Duration) error {
	if err := flush(s.nc, patience); err != nil {
		return err
	}
	if s.nc.Stats().Reconnects != s.generation {
		return errMoved
	}
	return nil
}

func flush(nc *nats.Conn, patience time.Duration) error {
	switch err := nc.FlushTimeout(patience); {
	case errors.Is(err, nats.ErrTimeout):
		return errUnconfirmed
	case errors.Is(err, nats.ErrConnectionClosed):
		// So the client says also where it connects anew.
		return errMoved
	default:
		return err
	}
}
