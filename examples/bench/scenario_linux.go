package main

import (
	"fmt"
	"time"

	"forge.lthn.ai/core/go-ws/examples/bench/internal/control"
	"forge.lthn.ai/core/go-ws/examples/bench/internal/payload"
)

// figure is one column of a scenario's table.
type figure struct {
	key, title string
	// to names the servers whose figure of the same round this one is divided
	// by, for a ratio beside it.
	to []string
}

// scenario is one table.
type scenario struct {
	name, about string
	// servers that take part.
	servers []string
	// waiting is the most messages that may wait for one connection.
	waiting int
	figures []figure
	measure func(*pair, float64) (values, error)
}

// values are figures by key.
type values map[string]float64

var (
	plain   = []string{"floor1", "floorN", "ours", "centrifuge", "tuned", "gws", "gorilla", "nhooyr"}
	floors  = []string{"floor1", "floorN"}
	loadCPU = figure{"load", "load CPU %", nil}
)

var scenarios = []scenario{
	burst("burst-20", 1000, 1, 1, 20, 5),
	burst("burst-50", 1000, 1, 1, 50, 4),
	burst("burst-200", 1000, 1, 1, 200, 3),
	burst("burst-5000", 5000, 1, 1, 200, 1),
	burst("many-channels", 1000, 1000, 10, 20, 3),
	steady("steady", plain, []string{"floor1"}, payload.Size),
	latency(),
	idle("idle-5000", 5000),
	idle("idle-10000", 10000),
	slow(),
	flood(),
	steady("deflate", []string{"ours", "ours-deflate"}, []string{"ours"}, 1024),
	overTLS("tls-burst-200"),
	steady("tls-steady", []string{"floor1-tls", "ours-tls"}, []string{"floor1-tls"}, payload.Size),
}

func scaled(n int, scale float64) int { return max(1, int(float64(n)*scale)) }

// clients scales a number of connections, which is never below that of a
// connection's channels.
func clients(conns, channels, perConn int, scale float64) control.Connect {
	c := control.Connect{Conns: scaled(conns, scale), Channels: channels, PerConn: perConn}
	if channels > 1 {
		c.Channels = scaled(channels, scale)
		c.PerConn = min(perConn, c.Channels)
	}
	return c
}

func burst(name string, conns, channels, perConn, messages, times int) scenario {
	about := fmt.Sprintf("bursts of %d messages to a channel of %d clients", messages, conns)
	if channels > 1 {
		about = fmt.Sprintf("bursts of %d messages to each of %d channels, %d clients on %d channels each: %d for each client",
			messages, channels, conns, perConn, messages*perConn)
	}
	return scenario{
		name: name, about: about, servers: plain, waiting: messages * perConn,
		figures: []figure{{"cpu", "µs of CPU/delivery", floors}, {"per-frame", "messages/frame", nil}, {"bytes", "bytes/message", nil}, loadCPU},
		measure: func(p *pair, scale float64) (values, error) {
			return bursts(p, clients(conns, channels, perConn, scale), messages, times)
		},
	}
}

// A fast server is done with a burst in milliseconds: bursts go on until they
// have cost so much, but there are no more than so many.
const (
	worthMeasuring = 500 * time.Millisecond
	mostBursts     = 50
)

// bursts measures bursts one after another, at least times; the first only warms
// up.
func bursts(p *pair, c control.Connect, messages, times int) (values, error) {
	if _, err := p.connect(c); err != nil {
		return nil, err
	}
	v := values{}
	var cpu time.Duration
	q := control.Publish{Channels: c.Channels, Messages: messages, Size: payload.Size}
	if _, err := p.publish(q, c.PerConn, false); err != nil {
		return nil, err
	}
	q.Profile = p.profile
	done := 0
	for ; done < times || cpu < worthMeasuring && done < mostBursts; done++ {
		o, err := p.publish(q, c.PerConn, false)
		if err != nil {
			return nil, err
		}
		cpu += o.cpu
		v.take(o)
	}
	v["cpu"] = perDelivery(cpu, done*messages*c.PerConn*c.Conns)
	return v, nil
}

func perDelivery(cpu time.Duration, deliveries int) float64 {
	return float64(cpu) / float64(time.Microsecond) / float64(deliveries)
}

// take notes what the load saw.
func (v values) take(o outcome) {
	v["load"] = 100 * o.load.Busy
	v["per-frame"] = o.load.PerFrame
	v["bytes"] = o.load.FrameBytes
	if o.load.P50 > 0 {
		v["p50"] = float64(o.load.P50) / 1e6
		v["p99"] = float64(o.load.P99) / 1e6
	}
}

// paced publishes at a steady pace after a short start that is not measured.
func paced(p *pair, c control.Connect, perSecond, size int, during time.Duration, scale float64) (values, error) {
	q := control.Publish{Channels: c.Channels, Size: size, Every: time.Second / time.Duration(perSecond)}
	q.Messages = 1 + perSecond/4
	if _, err := p.publish(q, c.PerConn, false); err != nil {
		return nil, err
	}
	q.Messages, q.Profile = max(5, int(during.Seconds()*float64(perSecond)*scale)), p.profile
	o, err := p.publish(q, c.PerConn, true)
	if err != nil {
		return nil, err
	}
	v := values{"cpu": perDelivery(o.cpu, q.Messages*c.PerConn*(c.Conns-p.stopped))}
	v.take(o)
	return v, nil
}

func steady(name string, servers, to []string, size int) scenario {
	return scenario{
		name: name, about: fmt.Sprintf("50 messages a second of %d bytes to a channel of 1000 clients: nothing to batch", size),
		servers: servers, waiting: 50,
		figures: []figure{{"cpu", "µs of CPU/delivery", to}, {"bytes", "bytes/message", nil}, loadCPU},
		measure: func(p *pair, scale float64) (values, error) {
			c := clients(1000, 1, 1, scale)
			if _, err := p.connect(c); err != nil {
				return nil, err
			}
			return paced(p, c, 50, size, 4*time.Second, scale)
		},
	}
}

func latency() scenario {
	to := []string{"floor1"}
	return scenario{
		name: "latency", about: "20 messages a second to a channel of 1000 clients: from publishing to reading",
		servers: plain, waiting: 20,
		figures: []figure{{"p50", "p50 ms", to}, {"p99", "p99 ms", to}, {"cpu", "µs of CPU/delivery", to}, loadCPU},
		measure: func(p *pair, scale float64) (values, error) {
			c := clients(1000, 1, 1, scale)
			if _, err := p.connect(c); err != nil {
				return nil, err
			}
			return paced(p, c, 20, payload.Size, 5*time.Second, scale)
		},
	}
}

func idle(name string, conns int) scenario {
	return scenario{
		name: name, about: fmt.Sprintf("%d clients that have joined a channel and are quiet", conns),
		servers: append(plain[:len(plain):len(plain)], "ours-deflate"),
		figures: []figure{{"rss", "KB of RSS/client", nil}, {"goroutines", "goroutines/client", nil}, {"connect", "µs of CPU to connect and join", []string{"floor1"}}},
		measure: func(p *pair, scale float64) (values, error) {
			before, err := p.usage(true)
			if err != nil {
				return nil, err
			}
			c := clients(conns, 1, 1, scale)
			cpu, err := p.connect(c)
			if err != nil {
				return nil, err
			}
			after, err := p.usage(true)
			if err != nil {
				return nil, err
			}
			return values{
				"rss":        kilobytes(after.RSS-before.RSS, c.Conns),
				"goroutines": float64(after.Goroutines-before.Goroutines) / float64(c.Conns),
				"connect":    perDelivery(cpu, c.Conns),
			}, nil
		},
	}
}

func kilobytes(rss int64, conns int) float64 { return float64(rss) / 1024 / float64(conns) }

// Before each latency so many messages of so many bytes are sent in 2 s, so that
// the sockets of those that don't read are full and messages wait in the server.
const (
	fill      = 100
	fillSize  = 4096
	fillEvery = 20 * time.Millisecond
)

func slow() scenario {
	return scenario{
		name:    "slow",
		about:   fmt.Sprintf("the latency of the others while 0, 1 and 100 of 1000 clients do not read, each time after %d messages of %d bytes in 2 s", fill, fillSize),
		servers: plain, waiting: 3*fill + 500,
		figures: []figure{
			{"p50-0", "p50 ms, 0 stopped", nil}, {"p99-0", "p99 ms", nil},
			{"p50-1", "p50 ms, 1 stopped", nil}, {"p99-1", "p99 ms", nil}, {"ratio-1", "× its own p99", nil},
			{"p50-100", "p50 ms, 100 stopped", nil}, {"p99-100", "p99 ms", nil}, {"ratio-100", "× its own p99", nil},
			{"kept", "KB more RSS/stopped client", nil},
		},
		measure: func(p *pair, scale float64) (values, error) {
			c := clients(1000, 1, 1, scale)
			c.Fragile = scaled(100, scale)
			if _, err := p.connect(c); err != nil {
				return nil, err
			}
			all := values{}
			var before int64
			for _, stuck := range []int{0, 1, 100} {
				p.stopped = min(stuck, c.Fragile)
				q := control.Publish{Channels: 1, Messages: fill, Size: fillSize, Every: fillEvery}
				if _, err := p.publish(q, 1, false); err != nil {
					return nil, err
				}
				v, err := paced(p, c, 20, payload.Size, 4*time.Second, scale)
				if err != nil {
					return nil, err
				}
				all[fmt.Sprintf("p50-%d", stuck)] = v["p50"]
				all[fmt.Sprintf("p99-%d", stuck)] = v["p99"]
				if stuck > 0 {
					all[fmt.Sprintf("ratio-%d", stuck)] = v["p99"] / all["p99-0"]
				}
				if stuck == 1 {
					continue // one client's memory is lost in the noise
				}
				u, err := p.usage(true)
				if err != nil {
					return nil, err
				}
				all["kept"] = kilobytes(u.RSS-before, c.Fragile)
				before = u.RSS
			}
			return all, nil
		},
	}
}

func flood() scenario {
	const messages = 3000
	return scenario{
		name: "flood", about: "one burst of 3000 messages to 100 clients, and the memory that it leaves behind",
		servers: plain, waiting: messages,
		figures: []figure{{"cpu", "µs of CPU/delivery", floors}, {"kept", "KB more RSS/client", nil}, loadCPU},
		measure: func(p *pair, scale float64) (values, error) {
			c := clients(100, 1, 1, scale)
			if _, err := p.connect(c); err != nil {
				return nil, err
			}
			before, err := p.usage(true)
			if err != nil {
				return nil, err
			}
			q := control.Publish{Channels: 1, Messages: messages, Size: payload.Size, Profile: p.profile}
			o, err := p.publish(q, 1, false)
			if err != nil {
				return nil, err
			}
			after, err := p.usage(true)
			v := values{"cpu": perDelivery(o.cpu, messages*c.Conns), "kept": kilobytes(after.RSS-before.RSS, c.Conns)}
			v.take(o)
			return v, err
		},
	}
}

func overTLS(name string) scenario {
	s := burst(name, 1000, 1, 1, 200, 3)
	s.about += ", over TLS"
	s.servers = []string{"floor1-tls", "floorN-tls", "ours-tls"}
	s.figures[0].to = []string{"floor1-tls", "floorN-tls"}
	return s
}
