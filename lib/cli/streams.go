// Package cli is what all tools share at their command line: options, the
// version, usage errors, and what they need of a terminal.
package cli

import (
	"fmt"
	"io"
	"os"
)

// Streams are the standard streams of a tool. Tests put buffers in their
// place.
type Streams struct {
	In       io.Reader
	Out, Err io.Writer
}

// Standard returns the streams of this process.
func Standard() Streams {
	return Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}
}

// ExitUsage is the exit status of a command that was called wrongly.
const ExitUsage = 2

// UsageError reports on w that prog, named as it was called, was called
// wrongly, and returns the exit status for it.
func UsageError(w io.Writer, prog string, err error) int {
	fmt.Fprintf(w, "Error: %v\nFor help, use %s -h\n", err, prog)
	return ExitUsage
}
