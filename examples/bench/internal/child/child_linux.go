// Package child starts the processes that a measuring program is made of, and
// speaks with them.
package child

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"syscall"

	"forge.lthn.ai/core/go-ws/examples/bench/internal/control"
	"forge.lthn.ai/core/go-ws/examples/bench/internal/process"
)

// Child is a process. It dies with this program, whatever way that ends.
type Child struct {
	Ended <-chan struct{} // closed when the process has ended

	cmd *exec.Cmd
	in  io.Closer
	out *os.File
	enc *json.Encoder
	dec *json.Decoder
}

// Self starts this program once more, on a processor. control.Child tells it its
// role, as JSON.
func Self(processor int, role any, stderr io.Writer) (*Child, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	encoded, err := json.Marshal(role)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), control.Child+"="+string(encoded))
	cmd.Stderr = stderr
	return Start(processor, cmd)
}

// Start starts a command on a processor. Receive reads what it writes, unless
// cmd.Stdout is set.
func Start(processor int, cmd *exec.Cmd) (*Child, error) {
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	ended := make(chan struct{})
	c := &Child{Ended: ended, cmd: cmd, in: in, enc: json.NewEncoder(in)}
	var far *os.File
	if cmd.Stdout == nil {
		if c.out, far, err = os.Pipe(); err != nil {
			in.Close()
			return nil, err
		}
		cmd.Stdout, c.dec = far, json.NewDecoder(c.out)
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	started := make(chan error, 1)
	go func() {
		// The process dies when the thread ends that has started it.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := process.StartOn(processor, cmd)
		if far != nil {
			far.Close()
		}
		started <- err
		if err == nil {
			_ = cmd.Wait() // most are killed
			close(ended)
		}
	}()
	if err := <-started; err != nil {
		in.Close()
		if c.out != nil {
			c.out.Close()
		}
		return nil, err
	}
	return c, nil
}

// PID is the process's number.
func (c *Child) PID() int { return c.cmd.Process.Pid }

// Send writes a value as JSON to the process's input.
func (c *Child) Send(q any) error {
	if err := c.enc.Encode(q); err != nil {
		return fmt.Errorf("child: %w", err)
	}
	return nil
}

// Receive reads a value from the process's output.
func (c *Child) Receive(a any) error {
	if err := c.dec.Decode(a); err != nil {
		return fmt.Errorf("child: %w", err)
	}
	return nil
}

// Stop ends the process, which has nothing to save, and waits for its end. It
// may be called on nil.
func (c *Child) Stop() {
	if c == nil {
		return
	}
	c.in.Close()
	_ = c.cmd.Process.Kill() // it may have ended
	<-c.Ended
	if c.out != nil {
		c.out.Close()
	}
}
