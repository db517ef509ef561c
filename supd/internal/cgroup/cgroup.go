// Package cgroup gives programs control groups of their own, where there is a
// version 2 hierarchy that this process may write to. Nothing that a program
// starts leaves its group by forking, leading a session or clearing its
// environment, so all of it can be ended in one step. No controllers are
// enabled: the groups bound nothing and cost nothing.
package cgroup

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// ErrNone is returned where there are no groups to be had: no hierarchy, none
// that we may write to, or a kernel before 5.14, which has no cgroup.kill.
var ErrNone = errors.New("no control groups")

// Groups makes groups inside of the one that this process is in. Its methods may
// be called from several goroutines. They read and write files, and so may take
// a moment.
type Groups struct {
	mu     sync.Mutex
	looked bool
	dir    string // "" for none
	// prefix begins the names of the groups; "" before the first one was made.
	prefix string
}

// New only notes that there may be groups: nothing is looked at before one is
// asked for.
func New() *Groups { return new(Groups) }

// base is the directory of the group that this process is in, "" for none.
func (g *Groups) base() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.looked {
		g.looked = true
		g.dir = own()
	}
	return g.dir
}

// Make makes a group, or takes the one of that name. Names are PREFIX-NUMBER, with
// the same prefix each time; what an earlier process has left empty under that
// prefix is removed by the first call. The file that it returns is the directory
// of the group, to be given to a new process and closed.
func (g *Groups) Make(name string) (*os.File, error) {
	base := g.base()
	if base == "" {
		return nil, ErrNone
	}
	g.mu.Lock()
	if g.prefix == "" {
		g.prefix = name[:strings.LastIndexByte(name, '-')+1]
		removeEmpty(base, g.prefix)
	}
	g.mu.Unlock()
	dir := filepath.Join(base, name)
	if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, unix.EEXIST) {
		if errors.Is(err, unix.EROFS) || errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM) {
			g.giveUp()
			return nil, ErrNone
		}
		return nil, err
	}
	if err := unix.Access(filepath.Join(dir, killFile), unix.W_OK); err != nil {
		_ = os.Remove(dir)
		g.giveUp()
		return nil, ErrNone
	}
	return os.Open(dir)
}

// giveUp spares later programs a try that must fail like this one.
func (g *Groups) giveUp() {
	g.mu.Lock()
	g.dir = ""
	g.mu.Unlock()
}

// Group is the group of that name, whether it exists or not.
func (g *Groups) Group(name string) Group {
	base := g.base()
	if base == "" {
		return Group{}
	}
	return Group{filepath.Join(base, name)}
}

// RemoveEmpty removes the groups that were made and have no processes.
func (g *Groups) RemoveEmpty() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.prefix != "" && g.dir != "" {
		removeEmpty(g.dir, g.prefix)
	}
}

func removeEmpty(base, prefix string) {
	entries, _ := os.ReadDir(base)
	for _, e := range entries {
		if e.IsDir() && strings.HasPrefix(e.Name(), prefix) {
			Group{filepath.Join(base, e.Name())}.Remove()
		}
	}
}

// Group is one control group. The zero Group is none, and empty.
type Group struct{ dir string }

const killFile = "cgroup.kill"

// Populated tells whether there is a process in the group, or in one below it.
func (c Group) Populated() bool {
	if c.dir == "" {
		return false
	}
	events, err := os.ReadFile(filepath.Join(c.dir, "cgroup.events"))
	return err == nil && bytes.Contains(events, []byte("populated 1\n"))
}

// Kill kills all processes of the group, and of those below it. What is forked
// meanwhile is killed, too.
func (c Group) Kill() error {
	if c.dir == "" {
		return ErrNone
	}
	return os.WriteFile(filepath.Join(c.dir, killFile), []byte("1"), 0)
}

// Remove removes the group, and those below it, if there are no processes in
// them.
func (c Group) Remove() {
	if c.dir == "" {
		return
	}
	if err := unix.Rmdir(c.dir); err == nil || err == unix.ENOENT {
		return
	}
	if c.Populated() {
		return
	}
	entries, _ := os.ReadDir(c.dir)
	for _, e := range entries {
		if e.IsDir() {
			Group{filepath.Join(c.dir, e.Name())}.Remove()
		}
	}
	_ = unix.Rmdir(c.dir)
}

// own is the directory of the group that this process is in, "" if there is
// none.
func own() string {
	groups, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return ""
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return ""
	}
	dir := find(string(groups), string(mounts))
	if dir == "" || unix.Access(dir, unix.W_OK) != nil {
		return ""
	}
	return dir
}

// find finds the directory of the group that /proc/PID/cgroup names among the
// mounts of /proc/PID/mountinfo.
func find(groups, mounts string) string {
	path, ok := "", false
	for line := range strings.Lines(groups) {
		// The version 2 hierarchy is number 0 and has no controllers.
		if path, ok = strings.CutPrefix(strings.TrimSuffix(line, "\n"), "0::"); ok {
			break
		}
	}
	if !ok || strings.HasPrefix(path, "/..") {
		return "" // not in this namespace
	}
	for line := range strings.Lines(mounts) {
		mount, about, ok := strings.Cut(line, " - ")
		fields := strings.Fields(mount)
		if !ok || len(fields) < 6 || !strings.HasPrefix(about, "cgroup2 ") {
			continue
		}
		root, point := unescape(fields[3]), unescape(fields[4])
		if below, ok := strings.CutPrefix(path, strings.TrimSuffix(root, "/")); ok && (below == "" || below[0] == '/') {
			return filepath.Join(point, below)
		}
	}
	return ""
}

// unescape undoes what mountinfo does to white space and backslashes.
var unescape = strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace
