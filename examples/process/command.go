package main

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"
	"unicode/utf8"
)

const (
	// pieceSize is the longest piece of output in one message, in bytes, so
	// that a line of any length passes.
	pieceSize = 4096
	// pace is how fast output is read, in bytes a second. A command that writes
	// faster waits, as it would for a slow terminal, and nobody who watches is
	// flooded.
	pace = 1 << 20
	// patience is how long a command has to end when it is told to, and how
	// long what it left behind may go on writing.
	patience = 3 * time.Second

	// What a shell says of a command that can't be started.
	codeNotStarted = 127
)

// play runs a command and shows its output until it has ended, and returns its
// exit code. When ctx ends the command is ended too, with all that it started.
func play(ctx context.Context, s *stage, command []string) (code int, err error) {
	output, input, err := os.Pipe()
	if err != nil {
		return 0, err
	}
	defer output.Close()
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	// One pipe for both, so that they stay in the order in which they were
	// written.
	cmd.Stdout, cmd.Stderr = input, input
	cmd.WaitDelay = patience
	prepare(cmd)

	started, ended := make(chan error, 1), make(chan error, 1)
	go func() {
		// On Linux the command is killed when the thread that started it ends:
		// see prepare. So this thread has to stay.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		input.Close()
		started <- err
		if err != nil {
			return
		}
		ended <- cmd.Wait()
	}()
	if err := <-started; err != nil {
		return codeNotStarted, errors.Join(s.show(err.Error()+"\n"), s.tell("failed", codeNotStarted))
	}
	if err := s.tell("running", 0); err != nil {
		return 0, err
	}
	read := make(chan error, 1)
	go func() { read <- s.stream(output) }()

	waitErr := <-ended
	killRest(cmd)
	// Whatever has got away and still holds the pipe is not waited for.
	if err := output.SetReadDeadline(time.Now().Add(patience)); err != nil {
		output.Close()
	}
	readErr := <-read
	if _, ok := errors.AsType[*exec.ExitError](waitErr); ok || ctx.Err() != nil {
		waitErr = nil // The exit code says it.
	}
	code = codeOf(cmd.ProcessState)
	return code, errors.Join(waitErr, readErr, s.tell("exited", code))
}

// stream shows what is read until the end. The pieces are whole characters.
func (s *stage) stream(output io.Reader) error {
	buffer := make([]byte, pieceSize)
	held := 0
	for {
		n, err := output.Read(buffer[held:])
		n += held
		cut := n
		if err == nil {
			cut = wholeCharacters(buffer[:n])
		}
		if cut > 0 {
			if err := s.show(strings.ToValidUTF8(string(buffer[:cut]), "\uFFFD")); err != nil {
				return err
			}
			time.Sleep(time.Duration(cut) * time.Second / pace)
		}
		held = copy(buffer, buffer[cut:n])
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, os.ErrClosed):
			return nil
		case err != nil:
			return err
		}
	}
}

// wholeCharacters is the length of b without a last character that is cut off.
func wholeCharacters(b []byte) int {
	for i := len(b) - 1; i >= 0 && i >= len(b)-utf8.UTFMax; i-- {
		if utf8.RuneStart(b[i]) {
			if utf8.FullRune(b[i:]) {
				return len(b)
			}
			return i
		}
	}
	return len(b)
}

// show and tell do not end with the command: its last words count.
func (s *stage) show(output string) error {
	_, err := s.hub.SendProcessOutput(context.Background(), s.id, output)
	return err
}

func (s *stage) tell(status string, code int) error {
	_, err := s.hub.SendProcessStatus(context.Background(), s.id, status, code)
	return err
}
