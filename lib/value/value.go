// Package value holds the scalar types of the configuration: what a byte
// size, a signal, an octal mode, a list of exit codes or a restart policy is,
// and how each is written in a file.
package value

import "golang.org/x/sys/unix"

// AutoRestart says when a process that ended by itself is started again.
type AutoRestart uint8

const (
	// RestartUnexpected restarts a process whose exit status is not among
	// its exit codes. It is the default.
	RestartUnexpected AutoRestart = iota
	// RestartNever leaves an ended process alone.
	RestartNever
	// RestartAlways restarts whatever the status was.
	RestartAlways
)

// Signal is a signal by number, as in unix.SIGTERM.
type Signal = unix.Signal
