//go:build !unix

package main

import (
	"os"
	"os/exec"
)

// Elsewhere than on Unix only the command itself is ended.

func prepare(*exec.Cmd) {}

func killRest(*exec.Cmd) {}

func codeOf(state *os.ProcessState) int { return state.ExitCode() }
