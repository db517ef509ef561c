package state

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Who has the lock stands in it, for those who find it taken: the pid at its
// beginning, and behind the records what that pid means: the life of the machine
// and of the PID namespace, with the pid again, so that it is seen when a daemon has
// signed that knew only of the beginning.

// owner is who has a lock, or had it.
type owner struct {
	pid           int // 0 after an orderly end
	bootID, pidNS string
}

const (
	lifeOffset = ownerSize + recordCount*recordSize
	lifeSize   = 160
)

// ownLife is this process as an owner.
func ownLife() owner { return owner{os.Getpid(), BootID(), PIDNamespace()} }

func (o owner) sign(lock *os.File) {
	_, _ = lock.WriteAt(fmt.Appendf(nil, "%-*d\n", ownerSize-1, o.pid), 0)
	_, _ = lock.WriteAt(fmt.Appendf(nil, "%-*s\n", lifeSize-1, fmt.Sprint(o.pid, " ", o.bootID, " ", o.pidNS)), lifeOffset)
}

func readOwner(lock *os.File) (o owner) {
	var text [lifeSize]byte
	n, _ := lock.ReadAt(text[:ownerSize], 0)
	o.pid, _ = strconv.Atoi(strings.TrimSpace(string(text[:n])))
	n, _ = lock.ReadAt(text[:], lifeOffset)
	if fields := strings.Fields(string(text[:n])); len(fields) == 3 && fields[0] == strconv.Itoa(o.pid) {
		o.bootID, o.pidNS = fields[1], fields[2]
	}
	return o
}

// maybeHere reports whether what the owner has left may concern us: it lived in the
// life of the machine and of the PID namespace that we live in, or does not tell.
func (o owner) maybeHere() bool {
	return o.bootID == "" || o.bootID == BootID() && SameNamespace(o.pidNS, PIDNamespace())
}

// elsewhere reports whether a lock that is taken is held from another PID
// namespace. Where the owner does not tell, the kernel shows which processes of ours,
// and of the namespaces below, hold locks.
func (o owner) elsewhere(lock *os.File) bool {
	if o.bootID != "" {
		return !o.maybeHere()
	}
	locks, err := os.ReadFile("/proc/locks")
	var st unix.Stat_t
	if err != nil || !ownProc() || unix.Fstat(int(lock.Fd()), &st) != nil {
		return false
	}
	var r reader
	for line := range strings.Lines(string(locks)) {
		// 1: FLOCK  ADVISORY  WRITE 123 fd:01:4567 0 EOF
		fields := strings.Fields(line)
		if len(fields) < 6 || fields[1] != "FLOCK" || !strings.HasSuffix(fields[5], ":"+strconv.FormatUint(st.Ino, 10)) {
			continue
		}
		// The device is that of the file system, which stat does not always tell.
		pid, err := strconv.Atoi(fields[4])
		if err != nil {
			continue
		}
		c, err := r.credentials(pid)
		return err == nil && !c.ours
	}
	return true
}

// SameNamespace reports whether two results of PIDNamespace may be of one life of
// one namespace. Whether they tell when that began depends on what is hidden in
// /proc.
func SameNamespace(a, b string) bool {
	aNumber, aBegan, _ := strings.Cut(a, "@")
	bNumber, bBegan, _ := strings.Cut(b, "@")
	return aNumber == bNumber && (aBegan == bBegan || aBegan == "" || bBegan == "")
}
