// Process runs a command and shows its output live in browsers:
//
//	go run ./examples/process -- sh -c 'for i in 1 2 3; do echo $i; sleep 1; done'
//
// The command starts when the first browser watches, and its exit code becomes
// this program's.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// The first signal ends the command, a second one ends everything at once.
	context.AfterFunc(ctx, stop)
	err := run(ctx, os.Args[1:], os.Stdout)
	if code, ok := errors.AsType[exitCode](err); ok {
		os.Exit(int(code))
	}
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
}

// exitCode is how a command ended that did not end well.
type exitCode int

func (c exitCode) Error() string {
	return fmt.Sprintf("process: the command ended with exit code %d", int(c))
}

// run is the program. Its error is an exitCode where only the command failed.
func run(ctx context.Context, args []string, stdout io.Writer) error {
	fs := flag.NewFlagSet("process", flag.ContinueOnError)
	addr := fs.String("addr", "127.0.0.1:8082", "`address` to listen on; port 0 picks a free one")
	id := fs.String("id", "", "the process's `id`: clients watch the channel process:ID (default the command's name)")
	wait := fs.Bool("wait", true, "start the command only when somebody watches")
	fs.Usage = func() {
		fmt.Fprint(fs.Output(), "usage: process [flags] -- command [argument…]\n\n")
		fs.PrintDefaults()
	}
	if err := fs.Parse(args); err != nil {
		return err
	}
	if fs.NArg() == 0 {
		return errors.New("process: no command; usage: process [flags] -- command [argument…]")
	}
	if *id == "" {
		*id = filepath.Base(fs.Arg(0))
	}
	s, err := newStage(*addr, *id)
	if err != nil {
		return fmt.Errorf("process: %w", err)
	}
	defer s.close()
	fmt.Fprintf(stdout, "watch the channel %q\nlistening on http://%s\n", s.channel(), s.listener.Addr())
	if *wait && !s.awaitAudience(ctx) {
		return nil
	}
	code, err := play(ctx, s, fs.Args())
	if err != nil {
		return fmt.Errorf("process: %w", err)
	}
	if code != 0 {
		return exitCode(code)
	}
	return nil
}
