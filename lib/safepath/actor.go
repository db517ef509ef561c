package safepath

import (
	"os/user"
	"runtime"
	"strconv"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The file system credentials are those of a thread. A goroutine that takes on
// those of another user is locked to its thread until they are ours again, so that
// no other goroutine runs there meanwhile, and the runtime makes no thread from it.

// actAs calls f as the user uid, without supplementary groups. For ownAccount it
// calls it as it is.
func actAs(uid int, f func() error) error {
	if uid == ownAccount {
		return f()
	}
	became, err := perform(uid, groupOf(uid), f)
	if !became {
		return &Error{Path: "/", At: "the process", UID: uid, Err: unix.EPERM, why: "cannot act as " + UserName(uid) + " any more"}
	}
	return err
}

// perform tells whether the credentials could be taken on; if not, nothing was
// done.
func perform(uid, gid int, f func() error) (became bool, err error) {
	keepDumpable()
	defer stayDumpable()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	groups, err := unix.Getgroups()
	if err != nil {
		return false, err
	}
	if len(groups) > 0 {
		if setGroups(nil) != nil {
			return false, nil
		}
	}
	// Also if f panics: somebody may recover.
	defer comeBack(groups)
	if !become(uid, gid) {
		return false, nil
	}
	return true, f()
}

// comeBack takes on our own credentials. That needs no privilege, and fails only
// where the kernel has no memory left. A thread that were let go as somebody else
// would be a trap for every later file, so that it is the end if it goes on.
func comeBack(groups []int) {
	for range 1000 {
		back := become(unix.Geteuid(), unix.Getegid())
		if back && (len(groups) == 0 || setGroups(groups) == nil) {
			return
		}
		time.Sleep(time.Millisecond)
	}
	panic("safepath: cannot take on the process's own credentials again")
}

// setGroups sets the supplementary groups of the thread, where unix.Setgroups
// would set those of all.
func setGroups(groups []int) error {
	list := make([]uint32, len(groups)+1)
	for i, g := range groups {
		list[i] = uint32(g)
	}
	_, _, errno := unix.RawSyscall(sysSetgroups, uintptr(len(groups)), uintptr(unsafe.Pointer(&list[0])), 0)
	if errno != 0 {
		return errno
	}
	return nil
}

// become takes on file system credentials and tells whether it has them: the
// system calls give no error. A uid other than 0 costs the capabilities over
// files, and uid 0 brings them back.
func become(uid, gid int) bool {
	setGID := func() bool {
		_, _ = unix.SetfsgidRetGid(gid)
		now, err := unix.SetfsgidRetGid(-1)
		return err == nil && now == gid
	}
	setUID := func() bool {
		_, _ = unix.SetfsuidRetUid(uid)
		now, err := unix.SetfsuidRetUid(-1)
		return err == nil && now == uid
	}
	return setGID() && setUID()
}

// A change of credentials takes from the process that its own user can look into
// it (ptrace(2), /proc). Afterwards that is as it was before the first of those
// that act at a time.
var dumpable struct {
	mu     sync.Mutex
	actors int
	was    bool
}

func keepDumpable() {
	d := &dumpable
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.actors++; d.actors == 1 {
		n, err := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0)
		d.was = err == nil && n == 1
	}
}

func stayDumpable() {
	d := &dumpable
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.actors--; d.was {
		_ = unix.Prctl(unix.PR_SET_DUMPABLE, 1, 0, 0, 0)
	}
}

var (
	accountsMu sync.Mutex
	groups     = map[int]int{}
	able       = map[int]bool{}
)

// nobodysGroup is the group of users without an account.
const nobodysGroup = 65534

// groupOf is the group of a user's account.
func groupOf(uid int) int {
	accountsMu.Lock()
	defer accountsMu.Unlock()
	gid, ok := groups[uid]
	if ok {
		return gid
	}
	gid = nobodysGroup
	if u, err := user.LookupId(strconv.Itoa(uid)); err == nil {
		if n, err := strconv.Atoi(u.Gid); err == nil {
			gid = n
		}
	}
	groups[uid] = gid
	return gid
}

// noFixup is the secure bit with which capabilities survive a change of the user
// (SECBIT_NO_SETUID_FIXUP): whoever acts as a user would still have root's over
// every file.
const noFixup = 1 << 2

// canBecome tells whether we may act as a user, with the rights of that user only.
func canBecome(uid int) bool {
	accountsMu.Lock()
	can, ok := able[uid]
	accountsMu.Unlock()
	if ok {
		return can
	}
	can, _ = perform(uid, groupOf(uid), func() error { return nil })
	if bits, err := unix.PrctlRetInt(unix.PR_GET_SECUREBITS, 0, 0, 0, 0); err != nil || bits&noFixup != 0 {
		can = false
	}
	accountsMu.Lock()
	able[uid] = can
	accountsMu.Unlock()
	return can
}
