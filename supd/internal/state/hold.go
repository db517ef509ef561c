package state

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"sup/lib/spawn"
)

// Held is a process that is not our child, held so that no other one is ever taken
// for it: by a descriptor where the system has these, and otherwise by its pid and
// start time, which are looked at again before each use.
type Held struct {
	pid   int
	ticks uint64
	fd    int  // -1 if the system has no descriptors of processes
	kept  bool // fd was opened while it was certain whose it is
}

var errOtherProc = errors.New("/proc is missing, or that of another PID namespace")

// Hold holds the process that has a pid, if it is the one that was started at
// ticks, be it a zombie by now, and tells whose child it is. ESRCH says that that
// one is gone. Any other error says that nobody can tell at present; it is held
// then as well, but not signalled before it has shown itself.
func Hold(pid int, ticks uint64) (h *Held, parent int, err error) {
	fd, err := spawn.Pidfd(pid)
	switch {
	case errors.Is(err, unix.ESRCH):
		return nil, 0, unix.ESRCH
	case err != nil:
		fd = -1
	}
	// Looked at when the descriptor is open, it cannot change any more.
	h = &Held{pid: pid, ticks: ticks, fd: fd}
	st, err := h.look()
	if err != nil {
		h.Close()
	}
	if errors.Is(err, unix.ESRCH) {
		return nil, 0, unix.ESRCH
	}
	return h, st.parent, err
}

// HoldBy is Hold for a process of which somebody has kept a descriptor. It becomes
// Held's. Nothing else is needed to know it then, not even /proc.
func HoldBy(fd, pid int, ticks uint64) (*Held, error) {
	h := &Held{pid: pid, ticks: ticks, fd: fd, kept: true}
	if ended, _, _ := h.Ended(); ended {
		h.Close()
		return nil, unix.ESRCH
	}
	return h, nil
}

// look looks at the process in /proc. ESRCH says that it is gone.
func (h *Held) look() (status, error) {
	r := reader{buf: make([]byte, 1024)}
	st, err := r.status(h.pid)
	if !ownProc() {
		err = errOtherProc
	}
	switch {
	case err == nil && st.ticks == h.ticks:
		return st, nil
	case err == nil, errors.Is(err, unix.ESRCH):
		return st, unix.ESRCH
	case errors.Is(unix.Kill(h.pid, 0), unix.ESRCH):
		return st, unix.ESRCH
	}
	// It may be hidden, or there may be no /proc.
	return st, fmt.Errorf("cannot tell whether process %d is the one that was started: %w", h.pid, err)
}

// Survives reports whether the process that has a pid is the one that was started
// at ticks, and has not ended. Where nobody can tell it counts as alive.
func Survives(pid int, ticks uint64) bool {
	h := &Held{pid: pid, ticks: ticks, fd: -1}
	st, err := h.look()
	return !errors.Is(err, unix.ESRCH) && !st.zombie
}

// FD is the descriptor, -1 if there is none.
func (h *Held) FD() int { return h.fd }

// Ended reports whether the process has ended, and how if that can be told yet.
func (h *Held) Ended() (ended bool, status unix.WaitStatus, known bool) {
	if h.fd >= 0 {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(h.fd), Events: unix.POLLIN}}, 0)
		return err == nil && n > 0, 0, false
	}
	st, err := h.look()
	switch {
	case errors.Is(err, unix.ESRCH):
		return true, 0, false
	case err == nil && st.zombie:
		return true, st.exit, true
	}
	return false, 0, false
}

// Signal sends a signal to the process, or to the group that it leads, if it has
// not ended.
func (h *Held) Signal(sig unix.Signal, group bool) error {
	if h.fd >= 0 && !group {
		if can, err := spawn.SignalPidfd(h.fd, sig); can && !errors.Is(err, unix.EPERM) {
			return err
		}
		// It is the profile that does not permit it, or indeed the process.
	}
	if h.kept {
		if ended, _, _ := h.Ended(); ended {
			return nil
		}
		return spawn.Kill(h.pid, sig, group)
	}
	switch st, err := h.look(); {
	case errors.Is(err, unix.ESRCH), err == nil && st.zombie:
		return nil
	case err != nil:
		return err
	}
	return spawn.Kill(h.pid, sig, group)
}

// Close gives the process up.
func (h *Held) Close() {
	if h.fd >= 0 {
		unix.Close(h.fd)
		h.fd = -1
	}
}
