package safepath

import (
	"os/user"
	"runtime"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"
)

// The file system credentials are those of a thread. The threads that take on
// those of others are ours alone: their goroutines never unlock them, so that no
// other goroutine ever runs there, and a thread that could not be brought back
// ends with its goroutine.

// actor is a thread that can act as others.
type actor struct {
	jobs chan job
}

type job struct {
	uid, gid int
	f        func() error
	done     chan result
}

// result is the outcome of a job; became is false if the credentials could not
// be taken on, and nothing was done.
type result struct {
	became bool
	err    error
}

// maxIdle is how many threads wait for the next job; others end.
const maxIdle = 2

var (
	actorsMu sync.Mutex
	idle     []*actor
)

// actAs calls f as the user uid, without supplementary groups. For ownAccount it
// calls it as it is.
func actAs(uid int, f func() error) error {
	if uid == ownAccount {
		return f()
	}
	r := perform(uid, f)
	if !r.became {
		return &Error{Path: "/", At: "the process", UID: uid, Err: unix.EPERM, why: "cannot act as " + userName(uid) + " any more"}
	}
	return r.err
}

func perform(uid int, f func() error) result {
	j := job{uid: uid, gid: groupOf(uid), f: f, done: make(chan result, 1)}
	actorsMu.Lock()
	var a *actor
	if n := len(idle); n > 0 {
		a, idle = idle[n-1], idle[:n-1]
	}
	actorsMu.Unlock()
	if a == nil {
		a = &actor{jobs: make(chan job)}
		go a.run()
	}
	a.jobs <- j
	return <-j.done
}

// run is the life of the thread.
func (a *actor) run() {
	runtime.LockOSThread() // for ever
	// For good: root needs no groups.
	_, _, errno := unix.RawSyscall(unix.SYS_SETGROUPS, 0, 0, 0)
	alone := errno == 0 || noGroups()
	for j := range a.jobs {
		var r result
		if r.became = alone && become(j.uid, j.gid); r.became {
			r.err = j.f()
		}
		back := become(unix.Geteuid(), unix.Getegid())
		stayDumpable()
		again := back && a.rest()
		j.done <- r
		if !again {
			return
		}
	}
}

// rest makes the thread wait for a job, unless enough do.
func (a *actor) rest() bool {
	actorsMu.Lock()
	defer actorsMu.Unlock()
	if len(idle) >= maxIdle {
		return false
	}
	idle = append(idle, a)
	return true
}

func noGroups() bool {
	groups, err := unix.Getgroups()
	return err == nil && len(groups) == 0
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

// wasDumpable is whether the process could be looked into by its own user
// before any thread changed its credentials, which takes that away.
var wasDumpable = sync.OnceValue(func() bool {
	n, err := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0)
	return err == nil && n == 1
})

func stayDumpable() {
	if wasDumpable() {
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

// canBecome tells whether we may act as a user.
func canBecome(uid int) bool {
	wasDumpable()
	accountsMu.Lock()
	can, ok := able[uid]
	accountsMu.Unlock()
	if ok {
		return can
	}
	can = perform(uid, func() error { return nil }).became
	accountsMu.Lock()
	able[uid] = can
	accountsMu.Unlock()
	return can
}
