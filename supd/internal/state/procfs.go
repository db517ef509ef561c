package state

import (
	"bytes"
	"errors"
	"strconv"

	"golang.org/x/sys/unix"
)

// reader reads files of /proc. A daemon that takes over reads those of every
// process there is, on a machine that may be busy, so it makes no more system
// calls than it must. What it returns is good until the next call.
type reader struct{ buf []byte }

// read reads a file of a process.
func (r *reader) read(pid int, name string) ([]byte, error) {
	fd, err := unix.Open("/proc/"+strconv.Itoa(pid)+"/"+name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	if r.buf == nil {
		r.buf = make([]byte, 16<<10)
	}
	for size := 0; ; {
		n, err := unix.Read(fd, r.buf[size:])
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return r.buf[:size], err
		}
		// The kernel fills the buffer as long as there is something.
		if size += n; size < len(r.buf) {
			return r.buf[:size], nil
		}
		r.buf = append(r.buf, make([]byte, size)...)
	}
}

// status is what we want to know of /proc/PID/stat.
type status struct {
	zombie        bool
	kernel        bool // it is a thread of the kernel
	parent, group int
	ticks         uint64
	exit          unix.WaitStatus // of a zombie, as far as we may know
}

var errStat = errors.New("cannot understand /proc/PID/stat")

// status reads /proc/PID/stat.
func (r *reader) status(pid int) (st status, err error) {
	text, err := r.read(pid, "stat")
	if err != nil {
		return st, err
	}
	// The name, in parentheses, may contain anything.
	fields := bytes.Fields(text[bytes.LastIndexByte(text, ')')+1:])
	if len(fields) < 50 {
		return st, errStat
	}
	const kernelThread = 0x00200000 // PF_KTHREAD
	number := func(i int) (n int64) {
		var bad error
		if n, bad = strconv.ParseInt(string(fields[i]), 10, 64); bad != nil {
			err = errStat
		}
		return n
	}
	st = status{
		zombie: fields[0][0] == 'Z', kernel: number(6)&kernelThread != 0,
		parent: int(number(1)), group: int(number(2)),
		ticks: uint64(number(19)), exit: unix.WaitStatus(number(49)),
	}
	return st, err
}

// carries tells whether a process has a variable in its environment, NAME=value.
func (r *reader) carries(pid int, want []byte) bool {
	environ, err := r.read(pid, "environ")
	if err != nil || !bytes.Contains(environ, want) {
		return false
	}
	for kv := range bytes.SplitSeq(environ, []byte{0}) {
		if bytes.Equal(kv, want) {
			return true
		}
	}
	return false
}
