//go:build !linux

// Crossing measures what it costs when messages go from hub to hub, on Linux only.
package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "crossing: it stands on the processor clocks of Linux, and runs there only")
	os.Exit(1)
}
