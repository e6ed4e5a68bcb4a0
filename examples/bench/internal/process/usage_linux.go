// Package process tells what a process uses, and binds processes to processors.
package process

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// CPU is the time that all threads of this process have run, in user and
// system mode.
func CPU() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &ts); err != nil {
		panic("process: no CPU clock: " + err.Error())
	}
	return time.Duration(ts.Nano())
}

// settle is how long memory is given to come to rest: goroutines that end,
// stacks that shrink, one collection after another.
const settle = 100 * time.Millisecond

// Memory returns the resident bytes that are left once the garbage is collected
// and given back, and the number of goroutines.
func Memory() (rss int64, goroutines int, err error) {
	for range 4 {
		time.Sleep(settle)
		runtime.GC()
	}
	debug.FreeOSMemory()
	rss, err = resident()
	return rss, runtime.NumGoroutine(), err
}

// resident reads the sum over all mappings, since the counter in statm is only
// brought up to date now and then.
func resident() (int64, error) {
	f, err := os.Open("/proc/self/smaps_rollup")
	if err != nil {
		return 0, err
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if value, ok := strings.CutPrefix(lines.Text(), "Rss:"); ok {
			var kb int64
			_, err := fmt.Sscanf(value, "%d kB", &kb)
			return kb << 10, err
		}
	}
	return 0, fmt.Errorf("process: no Rss in %s", f.Name())
}

// Processors are those that this process may run on.
func Processors() ([]int, error) {
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		return nil, fmt.Errorf("process: %w", err)
	}
	var found []int
	for cpu := 0; len(found) < set.Count(); cpu++ {
		if set.IsSet(cpu) {
			found = append(found, cpu)
		}
	}
	return found, nil
}

// StartOn starts a command on one processor. All its threads stay there, and
// its Go runtime sets GOMAXPROCS to one by itself: a child begins with the
// processors of the thread that starts it.
func StartOn(cpu int, cmd *exec.Cmd) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var before, one unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		return fmt.Errorf("process: %w", err)
	}
	one.Set(cpu)
	if err := unix.SchedSetaffinity(0, &one); err != nil {
		return fmt.Errorf("process: processor %d: %w", cpu, err)
	}
	err := cmd.Start()
	if back := unix.SchedSetaffinity(0, &before); err == nil && back != nil {
		err = fmt.Errorf("process: %w", back)
	}
	return err
}

// RaiseFiles raises the limit of open files as far as it goes.
func RaiseFiles() error {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("process: %w", err)
	}
	limit.Cur = limit.Max
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("process: %w", err)
	}
	return nil
}
