package main

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"sup/lib/safepath"
)

// writePidfile puts our pid into a file that appears whole, by rename. A
// symbolic link in its place is followed only if nobody else can have planted
// it, and replaced otherwise. What is no regular file of its own stays what it is
// (see specialFile): our pid is written to a device or a pipe that takes it.
func writePidfile(path string) error {
	if !specialFile(path) {
		return safepath.Replace(path, pidText(), 0o644)
	}
	st, err := safepath.Stat(path)
	if kind := st.Mode & unix.S_IFMT; err != nil || kind != unix.S_IFCHR && kind != unix.S_IFIFO {
		return nil
	}
	f, err := safepath.OpenFile(path, unix.O_WRONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return nil // a pipe that nobody reads
	}
	_, _ = f.Write(pidText())
	_ = f.Close()
	return nil
}

// removePidfile removes the file if it is still ours.
func removePidfile(path string) {
	if specialFile(path) {
		return
	}
	text, err := safepath.ReadFile(path, 64)
	if err == nil && string(text) == string(pidText()) {
		_ = safepath.Remove(path)
	}
}

func pidText() []byte { return fmt.Appendf(nil, "%d\n", os.Getpid()) }

// specialFile tells whether a path leads to what must not be replaced: a device, a
// pipe, a socket, or the file that is our standard input or output. Images that
// want no pid file name /dev/null.
func specialFile(path string) bool {
	st, err := safepath.Stat(path)
	if err != nil {
		return false
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		return false // that is an error, and is told
	case unix.S_IFREG:
	default:
		return true
	}
	for fd := range 3 {
		var own unix.Stat_t
		if unix.Fstat(fd, &own) == nil && own.Dev == st.Dev && own.Ino == st.Ino {
			return true
		}
	}
	return false
}
