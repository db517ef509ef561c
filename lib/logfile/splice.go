package logfile

import (
	"bytes"
	"io"

	"golang.org/x/sys/unix"
)

// A byte on its way from a pipe to a file by splice(2) is in the one or in
// the other, never in our memory: whoever is killed, nothing is lost and
// nothing is written twice.

// ErrNoSplice is returned by Splice for a log that the kernel cannot splice
// to; it has to be written to by Write.
var ErrNoSplice = unix.EINVAL

// Splice moves what is in the pipe, at most max bytes, to the end of the file,
// rotating where lines end. It does not wait: an empty pipe gives 0 and
// [unix.EAGAIN], one without writers 0 and [io.EOF]. Every other error is an
// [*Error] that is about the file, after n bytes have been moved; for a log
// that is no regular file, EAGAIN inside it says that its other side is slow.
func (f *File) Splice(pipe int, max int) (n int, err error) {
	if !f.Regular() {
		return f.spliceOdd(pipe, max)
	}
	var st unix.Stat_t
	if err := unix.Fstat(f.open.fd, &st); err != nil {
		return 0, failed("write", f.path, err)
	}
	if st.Nlink == 0 {
		// A file that was removed is missed when there is something to write.
		if err := anything(pipe); err != nil {
			return 0, err
		}
	}
	if err := f.endAt(&st); err != nil {
		return 0, failed("write", f.path, err)
	}
	for n < max {
		limit := f.limit()
		want := max - n
		if f.size >= limit {
			m, err := f.spliceLine(pipe, want, limit)
			n += m
			if err != nil {
				return n, f.spliceErr(n, err)
			}
			continue
		}
		if room := limit - f.size; int64(want) > room {
			want = int(room)
		}
		m, err := f.spliceAtEnd(pipe, want)
		n += m
		if m > 0 && f.size == limit && f.endsLine() {
			f.rotate()
			continue
		}
		if err != nil || m < want {
			// The pipe was emptied, or had less to begin with.
			return n, f.spliceErr(n, err)
		}
	}
	return n, nil
}

// anything returns an error as Splice does if there is nothing in a pipe.
func anything(pipe int) error {
	p := BorrowPeeker()
	defer p.Return()
	_, err := p.Peek(pipe)
	return err
}

// spliceErr leaves EAGAIN and io.EOF for when nothing was moved.
func (f *File) spliceErr(n int, err error) error {
	switch err {
	case nil:
		return nil
	case unix.EAGAIN, io.EOF:
		if n > 0 {
			return nil
		}
		return err
	}
	return failed("write", f.path, err)
}

// spliceAtEnd is one splice of at most want bytes to the end of the file.
func (f *File) spliceAtEnd(pipe, want int) (int, error) {
	off := f.size
	m, err := splice(pipe, f.open.fd, &off, want)
	if m > 0 {
		f.size += int64(m)
	}
	return m, err
}

// spliceLine moves what is in the pipe up to and including the first newline,
// then rotates. It is for a file that has reached limit.
func (f *File) spliceLine(pipe, want int, limit int64) (n int, err error) {
	p := BorrowPeeker()
	defer p.Return()
	head, err := p.Peek(pipe)
	if err != nil {
		return 0, err
	}
	end := bytes.IndexByte(head, '\n') + 1
	ends := end > 0
	if !ends {
		end = len(head)
	}
	if over := limit + maxOverlong - f.size; int64(end) >= over {
		end, ends = int(max(over, 1)), true
	}
	if end > want {
		end, ends = want, false
	}
	for n < end {
		m, err := f.spliceAtEnd(pipe, end-n)
		n += m
		if err != nil {
			return n, err
		}
	}
	if ends {
		f.rotate()
	}
	return n, nil
}

// spliceOdd moves bytes to what has no size: a FIFO, a terminal, a device, or
// whatever an inherited descriptor is.
func (f *File) spliceOdd(pipe, max int) (int, error) {
	n, err := splice(pipe, f.open.fd, nil, max)
	if err == unix.EAGAIN {
		if queued, qerr := Queued(pipe); qerr == nil && queued > 0 {
			return n, failed("write", f.path, err)
		}
	}
	return n, f.spliceErr(n, err)
}

// splice calls splice(2) without waiting for the pipe. No bytes and no error
// mean that the pipe has no writers: that is io.EOF here.
func splice(pipe, fd int, off *int64, want int) (int, error) {
	for {
		n, err := unix.Splice(pipe, nil, fd, off, want, unix.SPLICE_F_NONBLOCK|unix.SPLICE_F_MOVE)
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			return 0, err
		case n == 0:
			return 0, io.EOF
		}
		return int(n), nil
	}
}

// Queued is the number of bytes in a pipe.
func Queued(pipe int) (int, error) { return unix.IoctlGetInt(pipe, unix.TIOCINQ) }
