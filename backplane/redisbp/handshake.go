package redisbp

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"forge.lthn.ai/core/go-ws/hub"
	"github.com/redis/go-redis/v9"
)

// connect dials and introduces itself.
func (l *link) connect() (*conn, error) {
	o := l.node.Options()
	ctx, cancel := context.WithTimeout(l.ctx, dialTimeout+ioTimeout)
	defer cancel()
	nc, err := o.Dialer(ctx, o.Network, o.Addr)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	// Close cuts the handshake short too.
	stop := context.AfterFunc(l.ctx, func() { nc.Close() })
	defer stop()
	c := &conn{
		b: l.b, link: l, net: nc, r: newReader(nc),
		over: make(chan struct{}), wake: make(chan struct{}, 1), back: make(chan struct{}, 1),
		live: make(map[string]hub.Topic),
	}
	if err := c.handshake(ctx, o); err != nil {
		nc.Close()
		return nil, err
	}
	return c, nil
}

// handshake authenticates, and makes sure that this is a master: what is
// published at a replica reaches nobody else.
func (c *conn) handshake(ctx context.Context, o *redis.Options) error {
	user, password, err := credentials(ctx, o)
	if err != nil {
		return fmt.Errorf("credentials: %w", err)
	}
	var out []byte
	var steps []string
	add := func(name string, args ...string) {
		steps = append(steps, name)
		out = appendCommand(out, name, args...)
	}
	switch {
	case user != "":
		add("AUTH", user, password)
	case password != "":
		add("AUTH", password)
	}
	if o.DB > 0 {
		add("SELECT", strconv.Itoa(o.DB))
	}
	if o.ClientName != "" {
		add("CLIENT", "SETNAME", o.ClientName)
	}
	add("ROLE")
	deadline, _ := ctx.Deadline()
	_ = c.net.SetDeadline(deadline)
	if _, err := c.net.Write(out); err != nil {
		return fmt.Errorf("handshake: %w", err)
	}
	for _, name := range steps {
		reply, err := c.r.value(0)
		_, answered := errors.AsType[serverError](err)
		switch {
		case err != nil && (!answered || name == "AUTH" || name == "SELECT" || refusedUser(err)):
			return fmt.Errorf("%s: %w", strings.ToLower(name), err)
		case err != nil && !forbidden(err) && name == "ROLE":
			return fmt.Errorf("%s: %w", strings.ToLower(name), err) // LOADING and the like
		case name == "ROLE" && err == nil && reply != "master":
			return errReplica
		}
	}
	return c.net.SetDeadline(time.Time{})
}

// errReplica says that a node is no master, or none any more.
var errReplica = errors.New("the node is a replica, not a master")

func credentials(ctx context.Context, o *redis.Options) (user, password string, err error) {
	switch {
	case o.CredentialsProviderContext != nil:
		return o.CredentialsProviderContext(ctx)
	case o.CredentialsProvider != nil:
		user, password = o.CredentialsProvider()
		return user, password, nil
	}
	return o.Username, o.Password, nil
}

// refused reports whether no attempt will succeed as things are configured.
func refused(err error) bool {
	return refusedUser(err) || forbidden(err) || unknownCommand(err) ||
		hasPrefix(err, "ERR DB index", "ERR invalid DB", "ERR AUTH", "ERR Client sent AUTH")
}

func refusedUser(err error) bool {
	return hasPrefix(err, "WRONGPASS", "NOAUTH", "ERR invalid password")
}

func unknownCommand(err error) bool { return hasPrefix(err, "ERR unknown command") }

func forbidden(err error) bool { return hasPrefix(err, "NOPERM") }

// hasPrefix looks at what the server said.
func hasPrefix(err error, prefixes ...string) bool {
	said, ok := errors.AsType[redis.Error](err)
	if !ok {
		return false
	}
	for _, prefix := range prefixes {
		if strings.HasPrefix(said.Error(), prefix) {
			return true
		}
	}
	return false
}
