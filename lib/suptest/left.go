package suptest

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// process is one that was seen in /proc. A pid alone may be given out again.
type process struct {
	pid, parent int
	start       string // clock ticks since boot
	zombie      bool
}

// look reads a process's entry in /proc.
func look(pid int) (p process, ok bool) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return p, false
	}
	// The name, in parentheses, may hold anything.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < 20 {
		return p, false
	}
	p = process{pid: pid, start: fields[19], zombie: fields[0] == "Z"}
	p.parent, _ = strconv.Atoi(fields[1])
	return p, true
}

// all are all processes.
func all() []process {
	var list []process
	entries, _ := filepath.Glob("/proc/[0-9]*")
	for _, entry := range entries {
		pid, err := strconv.Atoi(filepath.Base(entry))
		if err != nil {
			continue
		}
		if p, ok := look(pid); ok {
			list = append(list, p)
		}
	}
	return list
}

// descendants are the children of a process, their children, and so on.
func descendants(pid int) []process {
	children := map[int][]process{}
	for _, p := range all() {
		children[p.parent] = append(children[p.parent], p)
	}
	family := children[pid]
	for i := 0; i < len(family); i++ {
		family = append(family, children[family[i].pid]...)
	}
	return family
}

// survivors are those of a family that still run, and other processes that
// were started in dir or for the daemon there.
func survivors(family []process, dir string) []process {
	wanted := map[int]string{}
	for _, p := range family {
		wanted[p.pid] = p.start
	}
	var left []process
	for _, p := range all() {
		switch {
		case p.zombie || p.pid == os.Getpid():
		case wanted[p.pid] == p.start || p.belongsTo(dir):
			left = append(left, p)
		}
	}
	return left
}

// belongsTo tells whether dir shows in a process's working directory or in the
// environment that a daemon there gave it. What runs in another PID namespace is
// the affair of who made that.
func (p process) belongsTo(dir string) bool {
	ours, _ := os.Readlink("/proc/self/ns/pid")
	if theirs, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/pid", p.pid)); err == nil && theirs != ours {
		return false
	}
	if cwd, err := os.Readlink(fmt.Sprintf("/proc/%d/cwd", p.pid)); err == nil && (cwd == dir || strings.HasPrefix(cwd, dir+"/")) {
		return true
	}
	environ, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", p.pid))
	return err == nil && bytes.Contains(environ, []byte("SUPERVISOR_SERVER_URL=unix://"+dir+"/"))
}

func (p process) commandLine() string {
	words, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", p.pid))
	return strings.TrimSpace(strings.ReplaceAll(string(words), "\x00", " "))
}

// kill ends a process that is left, if it is still the same.
func (p process) kill() {
	if now, ok := look(p.pid); ok && now.start == p.start {
		_ = syscall.Kill(p.pid, syscall.SIGKILL)
	}
}
