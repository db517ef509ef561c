package logfile

import (
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
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
	dup  bool // a duplicate of an inherited descriptor
	read bool // can be read, too
}

func (o *opened) regular() bool { return o.st.Mode&unix.S_IFMT == unix.S_IFREG && !o.dup }

// open opens path for writing and creates it, and the directory it lies in,
// if need be: like the one that was there before, if was is set. It never
// waits: not for the reader of a FIFO, not for a line.
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
	const flags = unix.O_CREAT | unix.O_CLOEXEC | unix.O_NONBLOCK | unix.O_NOCTTY
	// A regular file is opened for reading as well, so that its last byte can
	// be seen. What is already there and is no regular file must not be: of a
	// FIFO we would be the reader.
	var before unix.Stat_t
	access := unix.O_RDWR
	if unix.Stat(path, &before) == nil && before.Mode&unix.S_IFMT != unix.S_IFREG {
		access = unix.O_WRONLY
	}
	fd, err := openTrusted(path, access|flags, mode)
	if err == unix.ENOENT && makeDir(filepath.Dir(path), was) == nil {
		fd, err = openTrusted(path, access|flags, mode)
	}
	if err == unix.EACCES && access == unix.O_RDWR {
		access = unix.O_WRONLY
		fd, err = openTrusted(path, access|flags, mode)
	}
	if err != nil {
		return o, err
	}
	o.fd, o.read = fd, access == unix.O_RDWR
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
	if err := unix.Mkdir(path, 0o755); err != nil {
		return err
	}
	fd, err := retryOpen(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	var made, around unix.Stat_t
	if unix.Fstat(fd, &made) != nil || int(made.Uid) != unix.Geteuid() {
		return nil // not the one that we have made
	}
	if was != nil {
		// The owner first: a change of it may cost bits of the mode.
		_ = unix.Fchown(fd, int(was.Uid), int(was.Gid))
		_ = unix.Fchmod(fd, was.Mode&0o7777)
	} else if unix.Stat(filepath.Dir(path), &around) == nil {
		_ = unix.Fchown(fd, int(around.Uid), int(around.Gid))
	}
	return nil
}

// openTrusted follows a symbolic link at the end of path only if root or we
// ourselves own it, or others cannot write in its directory: a link planted in
// a shared directory must not make us write elsewhere.
func openTrusted(path string, flags int, mode uint32) (int, error) {
	fd, err := retryOpen(path, flags|unix.O_NOFOLLOW, mode)
	if err != unix.ELOOP {
		return fd, err
	}
	var link, dir unix.Stat_t
	if err := unix.Lstat(path, &link); err != nil {
		return -1, err
	}
	if link.Uid != 0 && int(link.Uid) != unix.Geteuid() {
		if err := unix.Stat(filepath.Dir(path), &dir); err != nil {
			return -1, err
		}
		if dir.Mode&unix.S_IWOTH != 0 {
			return -1, unix.ELOOP
		}
	}
	return retryOpen(path, flags, mode)
}

func retryOpen(path string, flags int, mode uint32) (int, error) {
	for {
		fd, err := unix.Open(path, flags, mode)
		if err != unix.EINTR {
			return fd, err
		}
	}
}
