package spawn

import (
	"bytes"
	"errors"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// Exit is the end of a child.
type Exit struct {
	PID    int
	Status unix.WaitStatus
}

// Reap collects one ended child without waiting, ours or adopted as PID 1 or
// subreaper. It reports false when there is none.
func Reap() (Exit, bool) {
	for {
		var st unix.WaitStatus
		pid, err := unix.Wait4(-1, &st, unix.WNOHANG, nil)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil || pid <= 0 {
			return Exit{}, false
		}
		return Exit{PID: pid, Status: st}, true
	}
}

// AwaitEnd waits until there is a child for Reap, and reports false when there
// are no children to wait for. It does not depend on SIGCHLD, which the kernel
// hands to the thread that made the child: if that hangs in a system call that
// cannot be interrupted, nobody hears of the signal.
func AwaitEnd() bool {
	for {
		switch err := unix.Waitid(unix.P_ALL, 0, nil, unix.WEXITED|unix.WNOWAIT, nil); {
		case err == nil:
			return true
		case !errors.Is(err, unix.EINTR):
			return false
		}
	}
}

// Kill sends a signal to a process, or to the process group it leads. A
// process that has just ended is no error.
func Kill(pid int, sig unix.Signal, group bool) error {
	if pid <= 1 {
		// 0 and -1 address many processes, 1 is never a child.
		return unix.EPERM
	}
	if group {
		pid = -pid
	}
	err := unix.Kill(pid, sig)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	return err
}

// KernelState is the letter that the kernel shows for the state of a process
// ("S" asleep, "D" in a system call that cannot be interrupted, …), "?" if
// there is no such process.
func KernelState(pid int) string {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return "?"
	}
	// The name, in parentheses, may contain anything.
	_, rest, ok := bytes.Cut(stat[bytes.LastIndexByte(stat, ')')+1:], []byte{' '})
	if !ok || len(rest) == 0 {
		return "?"
	}
	return string(rest[:1])
}
