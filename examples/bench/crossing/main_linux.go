// Crossing measures what a message costs that goes from one hub to others: the
// CPU time of the publishing hub, of the broker and of each hub that takes it in,
// and the memory that a channel takes at the broker and at a hub. The broker runs
// on one processor, the hubs on another.
//
//	go run ./examples/bench/crossing -broker redis
//	go run ./examples/bench/crossing -broker nats
//
// redis-server must be installed; the NATS server is the one of its Go module. The
// hubs' clients have no sockets, so that only the crossing is measured.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"time"

	"forge.lthn.ai/core/go-ws/examples/bench/internal/control"
)

func main() {
	if role := os.Getenv(control.Child); role != "" {
		exit(runChild(role))
	}
	exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

func exit(err error) {
	switch {
	case err == nil:
		os.Exit(0)
	case errors.Is(err, flag.ErrHelp):
		os.Exit(2)
	}
	fmt.Fprintln(os.Stderr, "crossing:", err)
	os.Exit(1)
}

// pace is how a publisher publishes: some at once, each on a goroutine of its own,
// then a pause.
type pace struct {
	about string
	at    int
	every time.Duration
}

var paces = []pace{
	{"alone, 1,000 a second", 1, time.Millisecond},
	{"100 at once, 10,000 a second", 100, 10 * time.Millisecond},
}

func run(args []string, stdout, stderr io.Writer) error {
	fs := flag.NewFlagSet("crossing", flag.ContinueOnError)
	fs.SetOutput(stderr)
	name := fs.String("broker", "redis", "redis or nats")
	during := fs.Duration("during", 3*time.Second, "how long each pace is measured")
	channels := fs.Int("channels", 10_000, "how many channels a hub joins for the figures of memory")
	if err := fs.Parse(args); err != nil {
		return err
	}
	if *name != "redis" && *name != "nats" {
		return fmt.Errorf("-broker: %q is neither redis nor nats", *name)
	}
	fmt.Fprintf(stdout, "%s\n\nµs of CPU for a message of 128 bytes\n", *name)
	fmt.Fprintf(stdout, "%-30s %5s  %10s %8s %17s  %10s\n", "published", "hubs", "publishing", "broker", "each receiving hub", "bytes/copy")
	for _, hubs := range []int{1, 8} {
		if err := cross(*name, hubs, *during, stdout, stderr); err != nil {
			return err
		}
	}
	fmt.Fprintf(stdout, "\nfor each of %d channels of a hub\n", *channels)
	fmt.Fprintf(stdout, "%5s  %15s %15s %15s\n", "hubs", "broker, bytes", "a hub, bytes", "broker, µs")
	for _, hubs := range []int{1, 8} {
		if err := join(*name, hubs, *channels, stdout, stderr); err != nil {
			return err
		}
	}
	return nil
}

// cross measures publishing to some other hubs.
func cross(name string, hubs int, during time.Duration, stdout, stderr io.Writer) error {
	f, err := startFleet(name, hubs, stderr)
	if err != nil {
		return err
	}
	defer f.stop()
	if _, err := f.hubs.ask(request{Join: 1}); err != nil {
		return err
	}
	for _, p := range paces {
		q := request{Publish: p.at * int(during/p.every), At: p.at, Every: p.every}
		warm := q
		warm.Publish /= 10
		if _, err := f.publish(warm, hubs); err != nil {
			return err
		}
		c, err := f.publish(q, hubs)
		if err != nil {
			return fmt.Errorf("%s: %w", p.about, err)
		}
		n := float64(q.Publish)
		fmt.Fprintf(stdout, "%-30s %5d  %10.1f %8.1f %17.1f  %10.0f\n", p.about, hubs, micros(c.publisher)/n, micros(c.broker)/n,
			micros(c.hubs)/n/float64(hubs), float64(c.bytes)/n/float64(hubs))
	}
	return nil
}

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

// join measures the memory that channels take.
func join(name string, hubs, channels int, stdout, stderr io.Writer) error {
	f, err := startFleet(name, hubs, stderr)
	if err != nil {
		return err
	}
	defer f.stop()
	var memory, taken [2]int64
	var cpu [2]time.Duration
	for i, q := range []request{{Join: 1, Memory: true}, {Join: channels, Memory: true}} {
		a, err := f.hubs.ask(q)
		if err != nil {
			return err
		}
		if taken[i], cpu[i], err = f.broker.usage(); err != nil {
			return err
		}
		memory[i] = a.RSS
	}
	n := float64(hubs) * float64(channels-1)
	fmt.Fprintf(stdout, "%5d  %15.0f %15.0f %15.1f\n", hubs, float64(taken[1]-taken[0])/n, float64(memory[1]-memory[0])/n, micros(cpu[1]-cpu[0])/n)
	return nil
}
