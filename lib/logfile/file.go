package logfile

import (
	"bytes"
	"time"

	"golang.org/x/sys/unix"
)

// File is a log that is being written. It belongs to one goroutine at a time.
//
// What was written is in the file when a method returns; nothing is buffered.
type File struct {
	// Trouble, if set, is told what went wrong without keeping the log from
	// being written: a rotation that failed, once per series of failures.
	Trouble func(error)
	// Now is the clock; tests replace it.
	Now func() time.Time

	path    string
	options Options

	open opened
	// size is where the file ends as far as we know; only regular files have
	// one.
	size         int64
	rotateAfter  time.Time // when to try again after a failed rotation
	rotateFailed bool
	period       time.Time // when the file is due to be rotated for its age
	archive      *archive
	truncations  int
}

// Open opens the log at path, creating it if need be, to be continued at its
// end. /dev/stdout, /dev/stderr and /dev/fd/N mean our own descriptors. The
// error is an [*Error].
func Open(path string, o Options) (*File, error) {
	f := &File{path: path, options: o, Now: time.Now}
	f.open.fd = -1
	if err := f.Reopen(); err != nil {
		return nil, err
	}
	return f, nil
}

// Path is the name under which the log was opened.
func (f *File) Path() string { return f.path }

// Size is where the log ends, 0 if it is no regular file.
func (f *File) Size() int64 { return f.size }

// Regular tells whether the log is a file that has a size, can be rotated and
// be read, as opposed to a terminal, a FIFO or an inherited descriptor.
func (f *File) Regular() bool { return f.open.regular() }

// FD is the open descriptor. It changes with rotation, Reopen and Check.
func (f *File) FD() int { return f.open.fd }

// SetOptions changes how the file is rotated from now on.
func (f *File) SetOptions(o Options) {
	f.options = o
	f.archive = nil
	f.startPeriod()
}

// Close closes the file. Nothing needs to be written out before.
func (f *File) Close() error {
	if f.open.fd < 0 {
		return nil
	}
	fd := f.open.fd
	f.open.fd = -1
	return unix.Close(fd)
}

// Reopen opens the file by its name and, once that has succeeded, closes the
// one that was open before. After an error all is as it was.
func (f *File) Reopen() error {
	o, err := open(f.path, f.options.mode())
	if err != nil {
		return failed("open", f.path, err)
	}
	if f.open.fd >= 0 {
		unix.Close(f.open.fd)
	}
	f.open, f.size = o, 0
	if f.Regular() {
		f.size = o.st.Size
	}
	f.startPeriod()
	return nil
}

// endsLine tells whether the file's last byte is a newline. A file that
// cannot be read counts as if it were.
func (f *File) endsLine() bool {
	var last [1]byte
	if !f.open.read || f.size == 0 {
		return true
	}
	n, err := unix.Pread(f.open.fd, last[:], f.size-1)
	return err != nil || n == 1 && last[0] == '\n'
}

// Clear empties the file; rotated ones stay.
func (f *File) Clear() error {
	if !f.Regular() {
		return nil
	}
	if err := unix.Ftruncate(f.open.fd, 0); err != nil {
		return failed("clear", f.path, err)
	}
	f.size = 0
	return nil
}

// Check compares the open file with what now lies under its name, and reopens
// if that is another file or none. It is to be called every few seconds while
// there is output. A file whose name cannot be opened but which still has
// another name goes on being written.
func (f *File) Check() (reopened bool, err error) {
	if !f.Regular() {
		return false, nil
	}
	var st unix.Stat_t
	if err := unix.Stat(f.path, &st); err == nil && identityOf(&st) == identityOf(&f.open.st) {
		return false, nil
	}
	if err := f.Reopen(); err != nil {
		var now unix.Stat_t
		if unix.Fstat(f.open.fd, &now) == nil && now.Nlink > 0 {
			return false, nil
		}
		return false, err
	}
	return true, nil
}

// Truncations counts how often the file was found shorter than we left it, cut
// by somebody else. A writer that uses offsets may leave a hole when that
// happens between its look and its write.
func (f *File) Truncations() int { return f.truncations }

// seekEnd finds out where the file ends now.
func (f *File) seekEnd() error {
	var st unix.Stat_t
	if err := unix.Fstat(f.open.fd, &st); err != nil {
		return err
	}
	if st.Size < f.size {
		f.truncations++
	}
	f.size = st.Size
	return nil
}

// Write appends p, rotating where lines end. The error is an [*Error]; n bytes
// have been written before it.
func (f *File) Write(p []byte) (n int, err error) {
	if !f.Regular() {
		n, err = writeAll(f.open.fd, p)
		if err != nil {
			err = failed("write", f.path, err)
		}
		return n, err
	}
	if err := f.seekEnd(); err != nil {
		return 0, failed("write", f.path, err)
	}
	for n < len(p) {
		part, ends := fitting(p[n:], f.limit()-f.size)
		m, err := pwriteAll(f.open.fd, part, f.size)
		if m > 0 {
			n += m
			f.size += int64(m)
		}
		if err != nil {
			return n, failed("write", f.path, err)
		}
		if ends {
			f.rotate()
		}
	}
	return n, nil
}

// fitting gives how much of p goes into a file that has room bytes left, and
// whether the file is to be rotated after that.
func fitting(p []byte, room int64) (part []byte, ends bool) {
	if room > int64(len(p)) {
		return p, false
	}
	from := max(room-1, 0)
	if i := bytes.IndexByte(p[from:], '\n'); i >= 0 {
		return p[:from+int64(i)+1], true
	}
	if cut := room + maxOverlong; cut <= int64(len(p)) {
		return p[:max(cut, 1)], true
	}
	return p, false
}

func pwriteAll(fd int, p []byte, at int64) (n int, err error) {
	for n < len(p) {
		m, err := unix.Pwrite(fd, p[n:], at+int64(n))
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return n, err
		}
		n += m
	}
	return n, nil
}

// writeAll writes to a descriptor that may be non-blocking; it waits in poll
// where the other side is slow.
func writeAll(fd int, p []byte) (n int, err error) {
	for n < len(p) {
		m, err := unix.Write(fd, p[n:])
		switch err {
		case nil:
			n += m
		case unix.EINTR:
		case unix.EAGAIN:
			if err := WaitWritable(fd, -1); err != nil {
				return n, err
			}
		default:
			return n, err
		}
	}
	return n, nil
}

// WaitWritable waits until fd can be written, at most timeout milliseconds
// (-1: for ever).
func WaitWritable(fd, timeout int) error {
	p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}
	_, err := unix.Poll(p, timeout)
	if err == unix.EINTR {
		return nil
	}
	return err
}
