package spawn

import (
	"errors"

	"golang.org/x/sys/unix"
)

// Pidfd opens a descriptor of a process: one that Go's poller can wait for, and
// that is closed on exec. Only ESRCH says something about the process: it is gone.
// Any other error says that there is no descriptor to be had, since the kernel is
// older than Linux 5.3, or a seccomp profile forbids it, or there is no room; the
// process may well be there.
func Pidfd(pid int) (fd int, err error) {
	if fd, err = unix.PidfdOpen(pid, unix.PIDFD_NONBLOCK); !errors.Is(err, unix.EINVAL) {
		return fd, err
	}
	// Before Linux 5.10 there is no such flag, but the descriptor can have it.
	if fd, err = unix.PidfdOpen(pid, 0); err != nil {
		return -1, err
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// SignalPidfd sends a signal to a process by its descriptor. A process that has
// ended is no error. It reports false if the system cannot do that at all.
func SignalPidfd(fd int, sig unix.Signal) (can bool, err error) {
	switch err = unix.PidfdSendSignal(fd, sig, nil, 0); err {
	case nil, unix.ESRCH:
		return true, nil
	case unix.ENOSYS:
		return false, nil
	}
	return true, err
}

// IsChild reports whether a process is a child of ours that has not been reaped.
// It asks the kernel and needs neither /proc nor a descriptor.
func IsChild(pid int) bool {
	for {
		err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			return err == nil
		}
	}
}

// AwaitChild waits until a child of ours has ended, and does not reap it. It takes
// a thread for that long.
func AwaitChild(pid int) {
	for {
		err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			return
		}
	}
}
