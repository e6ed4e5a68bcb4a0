//go:build !linux

// Bench measures hubs beside each other and beside the kernel's own cost, on
// Linux only.
package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "bench: it stands on epoll and on the processor clocks of Linux, and runs there only")
	os.Exit(1)
}
