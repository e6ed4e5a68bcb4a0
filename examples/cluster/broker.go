package main

import (
	"sync"

	"forge.lthn.ai/core/go-ws/examples/internal/natsserver"
)

// broker is a NATS server inside the process that can be stopped and started.
// Its methods may be called concurrently.
type broker struct {
	addr string // the same after a stop and a start

	mu     sync.Mutex
	server *natsserver.Server // nil while it is stopped
}

func startBroker() (*broker, error) {
	server, err := natsserver.Start(natsserver.Config{Listen: "127.0.0.1:0"})
	if err != nil {
		return nil, err
	}
	return &broker{addr: server.Addr(), server: server}, nil
}

func (b *broker) url() string { return "nats://" + b.addr }

func (b *broker) running() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.server != nil
}

func (b *broker) stop() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.server != nil {
		b.server.Stop()
		b.server = nil
	}
}

func (b *broker) start() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.server != nil {
		return nil
	}
	server, err := natsserver.Start(natsserver.Config{Listen: b.addr})
	if err != nil {
		return err
	}
	b.server = server
	return nil
}
