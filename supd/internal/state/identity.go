package state

import (
	"bytes"
	"errors"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// MarkVar is the environment variable that every program carries: by it a
// process is found whose start could not be written down any more.
const MarkVar = "SUPD_RUN"

// Mark is the value of MarkVar for one run of a process.
func Mark(instance, process string, run int64) string {
	return instance + ":" + process + ":" + strconv.FormatInt(run, 10)
}

// ParseMark takes a mark apart. The name of the process may have colons.
func ParseMark(mark string) (process string, run int64, ok bool) {
	_, rest, ok := strings.Cut(mark, ":")
	at := strings.LastIndexByte(rest, ':')
	if !ok || at < 0 {
		return "", 0, false
	}
	run, err := strconv.ParseInt(rest[at+1:], 10, 64)
	return rest[:at], run, err == nil
}

// Ticks tells when a process was started, in clock ticks after boot, and
// whether it has ended without being reaped. With the pid it names one process
// only, as long as the machine runs.
func Ticks(pid int) (ticks uint64, zombie bool, err error) {
	// Not os.ReadFile, which costs twice as much: this is on the way of every
	// start.
	fd, err := unix.Open("/proc/"+strconv.Itoa(pid)+"/stat", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, false, err
	}
	var text [1024]byte
	n, err := unix.Read(fd, text[:])
	unix.Close(fd)
	if err != nil {
		return 0, false, err
	}
	stat := text[:n]
	// The name, in parentheses, may contain anything.
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) < 20 {
		return 0, false, errors.New("cannot understand /proc/PID/stat")
	}
	ticks, err = strconv.ParseUint(string(fields[19]), 10, 64)
	return ticks, fields[0][0] == 'Z', err
}

// Verify opens a descriptor for the process that has a pid, if it is the one
// that was started at ticks, be it a zombie by now. ESRCH says that that one is
// gone.
func Verify(pid int, ticks uint64) (pidfd int, err error) {
	pidfd, err = unix.PidfdOpen(pid, unix.PIDFD_NONBLOCK)
	if err != nil {
		return -1, err
	}
	// Looked at when the descriptor is open, it cannot change any more.
	now, _, err := Ticks(pid)
	if err != nil || now != ticks {
		unix.Close(pidfd)
		return -1, unix.ESRCH
	}
	return pidfd, nil
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
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0, false
	}
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) < 50 || fields[0][0] != 'Z' {
		return 0, false
	}
	code, err := strconv.Atoi(string(fields[49]))
	return unix.WaitStatus(code), err == nil
}

// Parent is the pid of a process's parent, 0 if it is gone.
func Parent(pid int) int {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0
	}
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) < 2 {
		return 0
	}
	parent, _ := strconv.Atoi(string(fields[1]))
	return parent
}

// Living is a process that carries a mark of ours.
type Living struct {
	Mark  string
	Run   int64
	PID   int
	Ticks uint64
}

// FindLiving looks through all processes for those that an earlier daemon of
// an instance has started. The result is, by the name of the process, the one
// of the latest run. It looks twice, a moment apart: a child between fork and
// exec still shows the environment of the daemon.
func FindLiving(instance string) map[string]Living {
	found := map[string]Living{}
	findLiving(instance, found)
	time.Sleep(50 * time.Millisecond)
	findLiving(instance, found)
	return found
}

func findLiving(instance string, found map[string]Living) {
	names, err := processes()
	if err != nil {
		return
	}
	prefix := []byte(MarkVar + "=" + instance + ":")
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		environ, err := os.ReadFile("/proc/" + name + "/environ")
		if err != nil {
			continue
		}
		at := bytes.Index(environ, prefix)
		if at < 0 || at > 0 && environ[at-1] != 0 {
			continue
		}
		value, _, _ := bytes.Cut(environ[at+len(MarkVar)+1:], []byte{0})
		mark := string(value)
		process, run, ok := ParseMark(mark)
		ticks, zombie, err := Ticks(pid)
		if !ok || zombie || err != nil {
			continue
		}
		// What it has started itself carries the mark as well. It leads a
		// process group, and came before all others that do.
		if pgid, err := unix.Getpgid(pid); err != nil || pgid != pid {
			continue
		}
		was, known := found[process]
		if !known || run > was.Run || run == was.Run && (ticks < was.Ticks || ticks == was.Ticks && pid < was.PID) {
			found[process] = Living{mark, run, pid, ticks}
		}
	}
}

// Kin are the processes that a run has left behind: those that carry its mark,
// and those in the group that its leader led. Zombies do not count.
func Kin(leader int, mark string) []int {
	var kin []int
	names, err := processes()
	if err != nil {
		return nil
	}
	want := []byte(MarkVar + "=" + mark)
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil || pid == os.Getpid() {
			continue
		}
		pgid, err := unix.Getpgid(pid)
		if err != nil {
			continue
		}
		if pgid == leader || carries(name, want) {
			if _, zombie, err := Ticks(pid); err == nil && !zombie {
				kin = append(kin, pid)
			}
		}
	}
	return kin
}

func processes() ([]string, error) {
	proc, err := os.Open("/proc")
	if err != nil {
		return nil, err
	}
	defer proc.Close()
	return proc.Readdirnames(-1)
}

// carries tells whether a process has a variable in its environment, NAME=value.
func carries(name string, want []byte) bool {
	environ, err := os.ReadFile("/proc/" + name + "/environ")
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
