package spawn

import (
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"
)

// OriginalNoFile tells the soft limit of open files that this program was
// started with, which its children get. The Go runtime raises its own at
// start and hands the old one only to children, so it is read off a child
// that has just been made.
func OriginalNoFile(child int) (uint64, error) {
	var lim unix.Rlimit
	if err := unix.Prlimit(child, unix.RLIMIT_NOFILE, nil, &lim); err != nil {
		return 0, fmt.Errorf("cannot read the limits of process %d: %w", child, err)
	}
	return lim.Cur, nil
}

// RaiseLimit makes sure that a resource limit of this program and of its
// children is at least want. It reports what it was before, and whether it
// had to be changed.
func RaiseLimit(resource int, want uint64, soft uint64) (changed bool, err error) {
	if soft >= want {
		return false, nil
	}
	var lim syscall.Rlimit
	if err := syscall.Getrlimit(resource, &lim); err != nil {
		return false, err
	}
	lim.Cur = want
	lim.Max = max(lim.Max, want)
	return true, syscall.Setrlimit(resource, &lim)
}
