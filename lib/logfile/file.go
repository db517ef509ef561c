package logfile

import (
	"bytes"
	"errors"
	"io"
	"math"
	"time"

	"golang.org/x/sys/unix"

	"sup/lib/safepath"
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
	dir  *unix.Stat_t // where the file lies, as it was when it was opened last
	note error        // what Trouble has yet to be told
	// size is where the file ends as far as we know; only regular files have
	// one.
	size         int64
	rotateAfter  time.Time // when to try again after a failed rotation
	rotateFailed bool
	period       time.Time // when the file is due to be rotated for its age
	archive      *archive
	truncations  int
	appending    bool
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
	if f.Regular() && o.Compress {
		// Whoever had the log before may have been killed while packing.
		f.archive = newArchive(path, &f.options)
		f.archive.clean()
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
	o, err := open(f.path, f.options.mode(), f.dir)
	if errors.Is(err, unix.EACCES) && f.leaveBehind() == nil {
		o, err = open(f.path, f.options.mode(), f.dir)
	}
	if err != nil {
		return failed("open", f.path, err)
	}
	if o.dir != nil {
		f.dir = o.dir
	}
	if f.open.fd >= 0 {
		unix.Close(f.open.fd)
	}
	f.open, f.size = o, 0
	if f.appending {
		if err := f.SetAppending(); err != nil {
			return err
		}
	}
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
	if st, err := safepath.Stat(f.path); err == nil && identityOf(&st) == identityOf(&f.open.st) {
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

// SetAppending makes the kernel choose where each write goes, so that a file
// that somebody else cuts short gets no hole. Splice cannot be used then.
func (f *File) SetAppending() error {
	flags, err := unix.FcntlInt(uintptr(f.open.fd), unix.F_GETFL, 0)
	if err == nil {
		_, err = unix.FcntlInt(uintptr(f.open.fd), unix.F_SETFL, flags|unix.O_APPEND)
	}
	if err != nil {
		return failed("write", f.path, err)
	}
	f.appending = true
	return nil
}

// seekEnd finds out where the file ends now. One that has no name any more is
// replaced: what is written to it would be lost.
func (f *File) seekEnd() error {
	var st unix.Stat_t
	if err := unix.Fstat(f.open.fd, &st); err != nil {
		return err
	}
	return f.endAt(&st)
}

// endAt is seekEnd for who has asked the system already.
func (f *File) endAt(st *unix.Stat_t) error {
	if st.Nlink == 0 {
		return f.Reopen()
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
		return f.append(p)
	}
	if err := f.seekEnd(); err != nil {
		return 0, failed("write", f.path, err)
	}
	for n < len(p) {
		part, ends := fitting(p[n:], f.limit()-f.size)
		m, err := f.append(part)
		n += m
		if err != nil {
			return n, err
		}
		if ends {
			f.rotate()
		}
	}
	return n, nil
}

// WriteUndivided appends p to the present file, which is not rotated before
// it ends with p: where the file ended before, which is given by End, all of p
// is found. Rotation is left to RotateIfDue.
func (f *File) WriteUndivided(p []byte) (n int, err error) { return f.append(p) }

// End looks where the file ends now, and who it is: a number that no other file
// has at the same time. Both are 0 for what is no regular file.
func (f *File) End() (size int64, id uint64, err error) {
	if !f.Regular() {
		return 0, 0, nil
	}
	if err := f.seekEnd(); err != nil {
		return 0, 0, failed("write", f.path, err)
	}
	return f.size, f.open.st.Ino, nil
}

// Room is the number of bytes that fit into the file before it is due to be
// rotated, at least 0. After End.
func (f *File) Room() int64 {
	if !f.Regular() {
		return math.MaxInt64
	}
	return max(f.limit()-f.size, 0)
}

// RotateIfDue rotates a file that has its size, if it ends at the end of a
// line or is longer by more than a line should be.
func (f *File) RotateIfDue() {
	if !f.Regular() {
		return
	}
	limit := f.limit()
	if f.size > 0 && f.size >= limit && (f.endsLine() || f.size-limit > maxOverlong) {
		f.rotate()
	}
}

// Partial gives the number of bytes at the end of the file that belong to a
// line which has not ended; 0 for a line longer than max.
func (f *File) Partial(max int) int {
	if !f.Regular() || !f.open.read || f.seekEnd() != nil {
		return 0
	}
	p := make([]byte, min(int64(max), f.size))
	n, err := unix.Pread(f.open.fd, p, f.size-int64(len(p)))
	if err != nil || n < len(p) {
		return 0
	}
	i := bytes.LastIndexByte(p, '\n')
	if i < 0 && int64(len(p)) < f.size {
		return 0
	}
	return len(p) - 1 - i
}

// Cut takes the last n bytes of the file away.
func (f *File) Cut(n int) error {
	if err := unix.Ftruncate(f.open.fd, f.size-int64(n)); err != nil {
		return failed("write", f.path, err)
	}
	f.size -= int64(n)
	return nil
}

// ReadAt reads what has been written. It is an error if the file cannot be
// read.
func (f *File) ReadAt(p []byte, at int64) (int, error) {
	if !f.open.read {
		return 0, failed("read", f.path, unix.EBADF)
	}
	n, err := retry(func() (int, error) { return unix.Pread(f.open.fd, p, at) })
	if err != nil {
		return 0, failed("read", f.path, err)
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// append writes p at the end, or wherever the kernel has it.
func (f *File) append(p []byte) (n int, err error) {
	if f.Regular() && !f.appending {
		n, err = pwriteAll(f.open.fd, p, f.size)
	} else {
		n, err = writeAll(f.open.fd, p)
	}
	if f.Regular() {
		f.size += int64(n)
	}
	if err != nil {
		return n, failed("write", f.path, err)
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
		m, err := retry(func() (int, error) { return unix.Pwrite(fd, p[n:], at+int64(n)) })
		if err != nil {
			return n, err
		}
		n += m
	}
	return n, nil
}

// writeAll writes to what is no regular file. Where that is non-blocking and
// its other side is slow, the error is EAGAIN.
func writeAll(fd int, p []byte) (n int, err error) {
	for n < len(p) {
		m, err := retry(func() (int, error) { return unix.Write(fd, p[n:]) })
		if err != nil {
			return n, err
		}
		n += m
	}
	return n, nil
}
