// Terminal talks on the chat's channel from a terminal: what one types is said,
// what others say is printed, and while the chat is away it comes back by itself.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"log/slog"
	"os"
	"os/signal"
	"time"

	"forge.lthn.ai/core/go-ws/client"
	"forge.lthn.ai/core/go-ws/hub/wire"
)

// line is what a client says.
type line struct {
	From string `json:"from"`
	Text string `json:"text"`
}

func main() {
	address := flag.String("url", "ws://127.0.0.1:8081/ws", "where the chat is")
	name := flag.String("name", "guest", "who is talking")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := talk(ctx, *address, *name, os.Stdin, os.Stdout); err != nil {
		log.Fatal(err)
	}
}

// talk says each line of in, and prints what is said to out, until in or ctx ends
// or the chat says that coming back is in vain.
func talk(ctx context.Context, address, name string, in io.Reader, out io.Writer) error {
	c, err := client.New(client.ReconnectConfig{
		URL: address, QueueWhileAway: true, Logger: slog.New(slog.DiscardHandler),
		OnDisconnect: func(err error) {
			if !errors.Is(err, client.ErrClosed) {
				fmt.Fprintf(out, "* away: %v\n", err)
			}
		},
	})
	if err != nil {
		return err
	}
	err = c.Subscribe("lobby", func(_ context.Context, d client.Delivery) {
		var l line
		switch {
		case d.Err != nil:
			fmt.Fprintf(out, "* %v\n", d.Err)
		case d.Type == wire.TypeSubscribed:
			fmt.Fprintln(out, "* you are in the lobby")
		case json.Unmarshal(d.Data, &l) == nil:
			fmt.Fprintf(out, "%s: %s\n", l.From, l.Text)
		}
	})
	if err != nil {
		return err
	}
	// Reading a terminal can't be stopped: it ends with the program.
	go func() {
		defer c.Close()
		for lines := bufio.NewScanner(in); lines.Scan(); {
			if err := say(ctx, c, line{name, lines.Text()}); err != nil {
				fmt.Fprintf(out, "* not said: %v\n", err)
			}
		}
	}()
	if err := c.Run(ctx); !errors.Is(err, client.ErrClosed) && ctx.Err() == nil {
		return err
	}
	return nil
}

// say waits for the chat's answer: without one nobody knows whether it was heard.
func say(ctx context.Context, c *client.ReconnectingClient, l line) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	_, err := c.Request(ctx, client.Message{Type: "say", Channel: "lobby", Data: l})
	return err
}
