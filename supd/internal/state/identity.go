package state

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Ticks tells when a process was started, in clock ticks after boot, and
// whether it has ended without being reaped. With the pid it names one process
// only, as long as the machine runs.
func Ticks(pid int) (ticks uint64, zombie bool, err error) {
	// On the way of every start.
	r := reader{buf: make([]byte, 1024)}
	st, err := r.status(pid)
	return st.ticks, st.zombie, err
}

// Verify opens a descriptor for the process that has a pid, if it is the one
// that was started at ticks, be it a zombie by now. ESRCH says that that one is
// gone; any other error, that there is no descriptor to be had.
func Verify(pid int, ticks uint64) (pidfd int, err error) {
	h, _, err := Hold(pid, ticks)
	if err == nil && h.fd < 0 {
		err = unix.ENOSYS
	}
	if err != nil {
		return -1, err
	}
	return h.fd, nil
}

// StartTime is the wall clock at ticks after boot.
func StartTime(ticks uint64) time.Time {
	const perSecond = 100 // USER_HZ, the same on every Linux that Go runs on
	age := Boottime() - time.Duration(ticks)*(time.Second/perSecond)
	return time.Now().Add(-age)
}

// Boottime is the time since the machine was started, sleep included.
func Boottime() time.Duration {
	var ts unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts)
	return time.Duration(ts.Nano())
}

// ExitStatus tells how a process that has ended did so, by a descriptor that
// was opened while it lived. Linux tells it from 6.15 on, once the process has
// been reaped, and before that while it is a zombie. It waits for that a
// little: whose child the process is may be in no hurry.
func ExitStatus(pidfd, pid int) (status unix.WaitStatus, known bool) {
	for range 100 {
		info := unix.PidfdInfo{Mask: unix.PIDFD_INFO_EXIT}
		err := unix.IoctlPidfdInfo(pidfd, &info)
		if err == nil && info.Mask&unix.PIDFD_INFO_EXIT != 0 {
			return unix.WaitStatus(info.Exit_code), true
		}
		if status, ok := zombieStatus(pid); ok {
			return status, true
		}
		if err != nil {
			return 0, false // an older kernel, and it is gone
		}
		time.Sleep(20 * time.Millisecond)
	}
	return 0, false
}

// zombieStatus reads the exit status off a zombie.
func zombieStatus(pid int) (unix.WaitStatus, bool) {
	var r reader
	st, err := r.status(pid)
	return st.exit, err == nil && st.zombie
}

// Parent is the pid of a process's parent, 0 if it is gone.
func Parent(pid int) int {
	var r reader
	st, _ := r.status(pid)
	return st.parent
}

// Living is a process that carries a mark of ours.
type Living struct {
	Mark  string
	Run   int64
	PID   int
	Ticks uint64
}

// Claim is what a process claims that carries a mark.
type Claim struct {
	Marked
	Mark   string
	Proved bool // the mark was made with our key
	PID    int
	UID    int // of the user who runs it, whatever it may do beyond
}

// FindLiving looks through all processes of our PID namespace for those that an
// earlier daemon has started: they carry a mark, and what it claims is admitted. The
// result is, by the name of the process, the one of the latest run.
//
// The state directory must be locked. A child between fork and exec shows the
// environment of the daemon, but holds the lock as well, so there is none left.
// Only one that is in the middle of exec is waited for.
func FindLiving(id *Identity, admits func(Claim) bool) map[string]Living {
	const patience, pause = 50 * time.Millisecond, 2 * time.Millisecond
	s := search{id: id, admits: admits, found: map[string]Living{}}
	pids := processes()
	for deadline := time.Now().Add(patience); len(pids) > 0; time.Sleep(pause) {
		var undecided []int
		for _, pid := range pids {
			if !s.look(pid) {
				undecided = append(undecided, pid)
			}
		}
		if pids = undecided; time.Now().After(deadline) {
			break
		}
	}
	return s.found
}

// search is a search for the processes of an identity.
type search struct {
	reader
	id     *Identity
	admits func(Claim) bool
	found  map[string]Living
}

// look looks at one process, and reports false if it has to be looked at again.
func (s *search) look(pid int) bool {
	environ, err := s.read(pid, "environ")
	if err != nil {
		return true
	}
	if len(environ) == 0 {
		// In exec the new one is there last.
		st, err := s.status(pid)
		return err != nil || st.zombie || st.kernel
	}
	mark := markIn(environ)
	m := ParseMark(mark)
	proved := s.id.Proves(mark)
	if m.Run == 0 || !proved && !m.Old() {
		return true
	}
	st, err := s.status(pid)
	if st.zombie || err != nil {
		return true
	}
	c, err := s.credentials(pid)
	if err != nil || !c.ours || !s.admits(Claim{m, mark, proved, pid, c.real}) {
		return true
	}
	if again, _, err := Ticks(pid); err != nil || again != st.ticks {
		return true // another one has its pid by now
	}
	// What it has started itself carries the mark as well. It leads a
	// process group, and came before all others that do.
	if st.group != pid {
		return true
	}
	was, known := s.found[m.Process]
	if !known || m.Run > was.Run || m.Run == was.Run && (st.ticks < was.Ticks || st.ticks == was.Ticks && pid < was.PID) {
		s.found[m.Process] = Living{mark, m.Run, pid, st.ticks}
	}
	return true
}

// markIn is the mark in an environment, "" if there is none.
func markIn(environ []byte) string {
	name := []byte(MarkVar + "=")
	for rest := environ; ; {
		at := bytes.Index(rest, name)
		if at < 0 {
			return ""
		}
		if at == 0 || rest[at-1] == 0 {
			value, _, _ := bytes.Cut(rest[at+len(name):], []byte{0})
			return string(value)
		}
		rest = rest[at+len(name):]
	}
}

// Loggers are the log processes of our user and our PID namespace that serve a
// state directory: that which lies there as we see it, and not one of that name in
// a container, or in a temporary directory that only another service sees.
func Loggers(dir string) (found []Relative) {
	var r reader
	for _, pid := range processes() {
		text, err := r.read(pid, "cmdline")
		if err != nil || !bytes.HasPrefix(text, []byte("suplog\x00")) {
			continue
		}
		args := strings.Split(string(text), "\x00")
		at := slices.Index(args, "--serve")
		if at < 0 || at+1 >= len(args) || args[at+1] != dir {
			continue
		}
		if c, err := r.credentials(pid); err == nil && c.ours && c.real == os.Getuid() && c.effective == os.Geteuid() && sameParent(pid, dir) {
			if st, err := r.status(pid); err == nil && !st.zombie {
				found = append(found, Relative{pid, st.ticks})
			}
		}
	}
	return found
}

// IsHelper reports whether a process is one of suplog or suphold, by the name, of our
// user and our PID namespace. Where /proc shows another namespace that cannot be told,
// and is not denied.
func IsHelper(name string, pid int) bool {
	if !ownProc() {
		return true
	}
	var r reader
	text, err := r.read(pid, "cmdline")
	if err != nil || !bytes.HasPrefix(text, []byte(name+"\x00")) {
		return false
	}
	c, err := r.credentials(pid)
	return err == nil && c.ours && c.real == os.Getuid() && c.effective == os.Geteuid()
}

// sameParent tells whether a process sees the same directory as we do where a
// path lies.
func sameParent(pid int, path string) bool {
	var ours, theirs unix.Stat_t
	parent := filepath.Dir(path)
	return unix.Stat(parent, &ours) == nil && unix.Stat("/proc/"+strconv.Itoa(pid)+"/root"+parent, &theirs) == nil &&
		ours.Dev == theirs.Dev && ours.Ino == theirs.Ino
}

// Relative is a process that a run has left behind.
type Relative struct {
	PID   int
	Ticks uint64
}

// Kill kills it, and no other one that has its pid by now.
func (r Relative) Kill() error {
	h, _, err := Hold(r.PID, r.Ticks)
	if err != nil {
		if errors.Is(err, unix.ESRCH) {
			return nil
		}
		return err
	}
	defer h.Close()
	return h.Signal(unix.SIGKILL, false)
}

// Run is a run whose leader has ended.
type Run struct {
	Leader int    // its pid
	Ticks  uint64 // when it was started
	Mark   string
	// Unseen is set if it ended while nobody looked. Then the number of its group
	// may have been given out again since.
	Unseen bool
}

// Kin are the processes of our PID namespace that a run has left behind: those
// that carry its mark, if that is one which can be proved, and those in the group
// that its leader led. Zombies do not count.
func (run Run) Kin() []Relative {
	group := run.Leader
	var r reader
	if st, err := r.status(group); err == nil && st.ticks != run.Ticks {
		group = -1 // whoever has its pid otherwise leads a group that is none of ours
	}
	var want []byte
	if !ParseMark(run.Mark).Old() {
		want = []byte(MarkVar + "=" + run.Mark)
	}
	marked := func(pid int) bool { return want != nil && r.carries(pid, want) }
	var kin, members []Relative
	witness := !run.Unseen
	for _, pid := range processes() {
		if pid == os.Getpid() {
			continue
		}
		if pgid, err := unix.Getpgid(pid); err != nil || pgid != group && !marked(pid) {
			continue
		}
		// What counts is what is seen between two looks that show the same
		// process: a pid alone may have been given out again after the first one.
		st, err := r.status(pid)
		if err != nil || st.zombie {
			continue
		}
		c, err := r.credentials(pid)
		if err != nil || !c.ours {
			continue
		}
		ours := marked(pid)
		again, err := r.status(pid)
		if err != nil || again.ticks != st.ticks {
			continue
		}
		it := Relative{pid, st.ticks}
		switch {
		case ours:
			kin = append(kin, it)
			// A group has one number for all its life.
			witness = witness || again.group == group
		case again.group == group:
			members = append(members, it)
		}
	}
	if witness {
		kin = append(kin, members...)
	}
	return kin
}

// processes are the pids of all processes.
func processes() []int {
	proc, err := os.Open("/proc")
	if err != nil {
		return nil
	}
	defer proc.Close()
	names, _ := proc.Readdirnames(-1)
	var pids []int
	for _, name := range names {
		if pid, err := strconv.Atoi(name); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}
