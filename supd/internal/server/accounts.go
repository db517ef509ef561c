package server

import (
	"os/user"
	"slices"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"sup/lib/access"
	"sup/lib/safepath"
)

// lookAgain is how old what is known of files and accounts may become, so that
// not every request has to look at them.
const lookAgain = time.Second

// accounts knows the users and groups of this machine.
type accounts struct {
	mu    sync.Mutex
	since time.Time
	users map[int]*account
	// groups are the numbers of groups by name, -1 for one that is not there.
	groups map[string]int
}

// account is what the system's files say of a user.
type account struct {
	name string // "" if there is no such user
	// groups are read when a rule asks for one.
	groups func() []int
}

// of looks up a user by number.
func (a *accounts) of(uid int) *account {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.refresh()
	if known := a.users[uid]; known != nil {
		return known
	}
	found := &account{groups: func() []int { return nil }}
	if u, err := user.LookupId(strconv.Itoa(uid)); err == nil {
		found.name, found.groups = u.Username, sync.OnceValue(func() []int { return groupsOf(u) })
	}
	a.users[uid] = found
	return found
}

func groupsOf(u *user.User) (groups []int) {
	ids, _ := u.GroupIds()
	for _, id := range ids {
		if gid, err := strconv.Atoi(id); err == nil {
			groups = append(groups, gid)
		}
	}
	return groups
}

// group looks up the number of a group, which may be given by number; -1 if
// there is none.
func (a *accounts) group(name string) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.refresh()
	gid, known := a.groups[name]
	if !known {
		gid = -1
		if g, err := user.LookupGroup(name); err == nil {
			gid, _ = strconv.Atoi(g.Gid)
		} else if n, err := strconv.ParseUint(name, 10, 31); err == nil {
			gid = int(n)
		}
		a.groups[name] = gid
	}
	return gid
}

// refresh forgets what is old. The caller holds a.mu.
func (a *accounts) refresh() {
	if now := time.Now(); a.users == nil || now.Sub(a.since) >= lookAgain || len(a.users) > 1000 {
		a.since, a.users, a.groups = now, make(map[int]*account), make(map[string]int)
	}
}

// is tells whether the peer of a Unix socket is a user or in a group. The groups
// are those that it had when it connected, and those that the system's files
// give its user.
func (a *accounts) is(uid, gid int, groups []int, s access.Subject) bool {
	account := a.of(uid)
	switch s.Kind {
	case access.User:
		return account.name != "" && account.name == s.Name || strconv.Itoa(uid) == s.Name
	case access.Group:
		want := a.group(s.Name)
		return want >= 0 && (want == gid || slices.Contains(groups, want) || slices.Contains(account.groups(), want))
	}
	return false
}

// fileState tells whether a file has changed.
type fileState struct {
	dev, ino          uint64
	size              int64
	modified, changed unix.Timespec
}

func stateOf(st *unix.Stat_t) fileState {
	return fileState{uint64(st.Dev), st.Ino, st.Size, st.Mtim, st.Ctim}
}

// stateAt is that of the file at path, the zero one if there is none.
func stateAt(path string) fileState {
	st, err := safepath.Stat(path)
	if err != nil {
		return fileState{}
	}
	return stateOf(&st)
}
