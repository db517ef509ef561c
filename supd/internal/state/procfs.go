package state

import (
	"bytes"
	"errors"
	"os"
	"strconv"
	"sync"

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

// credentials are whose a process is, and where it lives.
type credentials struct {
	real, effective, saved int
	// ours is set for a process of our own PID namespace. The host sees those of
	// its containers, with numbers, paths and names that may well be those of
	// processes of its own.
	ours bool
}

// credentials reads /proc/PID/status.
func (r *reader) credentials(pid int) (c credentials, err error) {
	text, err := r.read(pid, "status")
	if err != nil {
		return c, err
	}
	if c, err = parseCredentials(text); err != nil {
		return c, err
	}
	c.ours = ownProc() && inNamespace(text, pid)
	return c, nil
}

func parseCredentials(text []byte) (c credentials, err error) {
	uids := statusField(text, "Uid:")
	if len(uids) < 3 {
		return c, errStat
	}
	for i, to := range []*int{&c.real, &c.effective, &c.saved} {
		// In 32 bits, as the kernel has it.
		n, err := strconv.ParseUint(string(uids[i]), 10, 32)
		if err != nil {
			return c, errStat
		}
		*to = int(n)
	}
	return c, nil
}

// inNamespace tells, from its /proc/PID/status, whether a process lives in the
// PID namespace of /proc itself: then it has one number only, while one of a
// namespace below has a number in each.
func inNamespace(text []byte, pid int) bool {
	if numbers := statusField(text, "NSpid:"); numbers != nil {
		return len(numbers) == 1 && string(numbers[0]) == strconv.Itoa(pid)
	}
	// A kernel that does not tell.
	theirs, err := os.Readlink("/proc/" + strconv.Itoa(pid) + "/ns/pid")
	if err != nil {
		return false
	}
	ours, err := os.Readlink("/proc/self/ns/pid")
	return err == nil && ours == theirs
}

// statusField gives the values of a line of /proc/PID/status, nil if there is no
// such line.
func statusField(text []byte, name string) [][]byte {
	for line := range bytes.Lines(text) {
		if rest, ok := bytes.CutPrefix(line, []byte(name)); ok {
			return bytes.Fields(rest)
		}
	}
	return nil
}

// ownProc tells whether /proc shows our own PID namespace. Where it was left from
// the one above (unshare --pid without --mount-proc), the numbers in it are not
// those that we can signal, and nothing in it is believed.
var ownProc = sync.OnceValue(func() bool {
	text, err := os.ReadFile("/proc/self/status")
	return err == nil && inNamespace(text, os.Getpid())
})

// PIDNamespace tells one life of a PID namespace from the next, and from all other
// namespaces: its number, which may be given to another one when it is gone, and
// when its first process was started, if that can be told.
func PIDNamespace() string {
	link, err := os.Readlink("/proc/self/ns/pid")
	if err != nil {
		return ""
	}
	if !ownProc() {
		return link
	}
	ticks, _, err := Ticks(1)
	if err != nil {
		return link
	}
	return link + "@" + strconv.FormatUint(ticks, 10)
}
