package state

import (
	"bytes"
	"errors"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// MarkVar is the environment variable that every program carries: by it a
// process is found whose start could not be written down any more.
const MarkVar = "SUPD_RUN"

// Mark is the value of MarkVar for one run of a process.
func Mark(instance, process string, run int64) string {
	return instance + ":" + process + ":" + strconv.FormatInt(run, 10)
}

// Ticks tells when a process was started, in clock ticks after boot, and
// whether it has ended without being reaped. With the pid it names one process
// only, as long as the machine runs.
func Ticks(pid int) (ticks uint64, zombie bool, err error) {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0, false, err
	}
	// The name, in parentheses, may contain anything.
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) < 20 {
		return 0, false, errors.New("cannot understand /proc/PID/stat")
	}
	ticks, err = strconv.ParseUint(string(fields[19]), 10, 64)
	return ticks, fields[0][0] == 'Z', err
}

// Verify opens a descriptor for the process that has a pid, if it is the one
// that was started at ticks. ESRCH says that that one is gone.
func Verify(pid int, ticks uint64) (pidfd int, err error) {
	pidfd, err = unix.PidfdOpen(pid, unix.PIDFD_NONBLOCK)
	if err != nil {
		return -1, err
	}
	// Looked at when the descriptor is open, it cannot change any more.
	now, zombie, err := Ticks(pid)
	if err != nil || now != ticks || zombie {
		unix.Close(pidfd)
		return -1, unix.ESRCH
	}
	return pidfd, nil
}

// FindMarked looks through all processes for those that carry marks of an
// instance. The result is the pid by mark.
func FindMarked(instance string) map[string]int {
	found := map[string]int{}
	proc, err := os.Open("/proc")
	if err != nil {
		return found
	}
	defer proc.Close()
	names, _ := proc.Readdirnames(-1)
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
		for kv := range bytes.SplitSeq(environ, []byte{0}) {
			if bytes.HasPrefix(kv, prefix) {
				mark := strings.TrimPrefix(string(kv), MarkVar+"=")
				// Children inherit the mark; the one that was started itself
				// leads its process group.
				if pgid, err := unix.Getpgid(pid); err == nil && pgid == pid {
					found[mark] = pid
				}
			}
		}
	}
	return found
}
