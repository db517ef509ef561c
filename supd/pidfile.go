package main

import (
	"fmt"
	"os"

	"sup/lib/safepath"
)

// writePidfile puts our pid into a file that appears whole, by rename. A
// symbolic link in its place is followed only if nobody else can have planted
// it, and replaced otherwise.
func writePidfile(path string) error {
	return safepath.Replace(path, pidText(), 0o644)
}

// removePidfile removes the file if it is still ours.
func removePidfile(path string) {
	text, err := safepath.ReadFile(path, 64)
	if err == nil && string(text) == string(pidText()) {
		_ = safepath.Remove(path)
	}
}

func pidText() []byte { return fmt.Appendf(nil, "%d\n", os.Getpid()) }
