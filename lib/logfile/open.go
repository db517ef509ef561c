package logfile

import (
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"sup/lib/safepath"
)

// inherited gives the descriptor that a path like /dev/stdout stands for.
// Opening such a path would not do: a socket cannot be opened, and a regular
// file would be written from its beginning again.
func inherited(path string) (int, bool) {
	switch path {
	case "/dev/stdin":
		return 0, true
	case "/dev/stdout":
		return 1, true
	case "/dev/stderr":
		return 2, true
	}
	for _, dir := range []string{"/dev/fd/", "/proc/self/fd/"} {
		if s, ok := strings.CutPrefix(path, dir); ok {
			n, err := strconv.Atoi(s)
			return n, err == nil && n >= 0
		}
	}
	return -1, false
}

// opened is an open log.
type opened struct {
	fd   int
	st   unix.Stat_t
	dup  bool         // a duplicate of an inherited descriptor
	read bool         // can be read, too
	dir  *unix.Stat_t // where its path lies, nil for a duplicate
}

func (o *opened) regular() bool { return o.st.Mode&unix.S_IFMT == unix.S_IFREG && !o.dup }

// open opens path for writing and creates it, and the directory it lies in,
// if need be: like the one that was there before, if was is set. It never
// waits: not for the reader of a FIFO, not for a line. A log that only its
// owner may read must be ours.
func open(path string, mode uint32, was *unix.Stat_t) (opened, error) {
	var o opened
	if n, ok := inherited(path); ok {
		fd, err := unix.FcntlInt(uintptr(n), unix.F_DUPFD_CLOEXEC, 3)
		if err != nil {
			return o, err
		}
		o.fd, o.dup = fd, true
		return o, o.stat()
	}
	private := mode&0o077 == 0
	l, err := safepath.OpenLog(path, mode, private)
	if err == unix.ENOENT && makeDir(filepath.Dir(path), was) == nil {
		l, err = safepath.OpenLog(path, mode, private)
	}
	if err != nil {
		return o, err
	}
	o.fd, o.read, o.dir = l.FD, l.Readable, &l.Dir
	return o, o.stat()
}

func (o *opened) stat() error {
	if err := unix.Fstat(o.fd, &o.st); err != nil {
		unix.Close(o.fd)
		return err
	}
	return nil
}

// makeDir makes a directory with the mode and the owner that it had before, or
// the owner of the directory around it; where we may not give it away it is
// ours.
func makeDir(path string, was *unix.Stat_t) error {
	around, name, err := safepath.In(path)
	if err != nil {
		return err
	}
	defer around.Close()
	return around.MakeLike(name, was)
}
