package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"sup/lib/rpc"
	"sup/lib/suptest"
)

// What the long tests share: stress_test.go, takeover_test.go, churn_test.go.
// In an ordinary run they are short; with SUP_STRESS=1, as "make soak" has it,
// they do in full what they stand for.

// amount is full in a soak, short otherwise.
func amount[T any](short, full T) T {
	if os.Getenv("SUP_STRESS") == "1" {
		return full
	}
	return short
}

// worker is the path of testdata/worker. It is built once, beside the tools,
// and removed with them.
func worker(t testing.TB) string {
	t.Helper()
	workerOnce.Lock()
	defer workerOnce.Unlock()
	path := filepath.Join(filepath.Dir(suptest.Tool(t, "supd")), "worker")
	if _, err := os.Stat(path); err == nil {
		return path
	}
	cmd := exec.Command("go", "build", "-o", path, "./testdata/worker")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if output, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("cannot build the worker: %v\n%s", err, output)
	}
	return path
}

var workerOnce sync.Mutex

// figures are what a process holds of the machine.
type figures struct{ fds, threads, rss int } // rss in KiB

func (f figures) String() string {
	return fmt.Sprintf("%d descriptors, %d threads, %d KiB", f.fds, f.threads, f.rss)
}

// measure looks at a process.
func measure(t *testing.T, pid int) (f figures) {
	t.Helper()
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		t.Fatal(err)
	}
	f.fds = len(entries)
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		key, value, _ := strings.Cut(line, ":")
		n, _ := strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(value), " kB"))
		switch key {
		case "Threads":
			f.threads = n
		case "VmRSS":
			f.rss = n
		}
	}
	return f
}

// relative is a process that has to do with a daemon.
type relative struct {
	pid, parent int
	state       string
	command     string
	mark        string // SUPD_RUN of its environment
}

// relatives are the processes in a daemon's directory, its children, and what holds
// the pipes of its programs.
func relatives(d *suptest.Daemon) (list []relative) {
	entries, _ := filepath.Glob("/proc/[0-9]*")
	for _, entry := range entries {
		stat, err := os.ReadFile(entry + "/stat")
		if err != nil {
			continue
		}
		open, end := strings.IndexByte(string(stat), '('), strings.LastIndexByte(string(stat), ')')
		fields := strings.Fields(string(stat[end+1:]))
		if open < 0 || len(fields) < 2 {
			continue
		}
		r := relative{state: fields[0], command: string(stat[open+1 : end])}
		r.pid, _ = strconv.Atoi(filepath.Base(entry))
		r.parent, _ = strconv.Atoi(fields[1])
		cwd, _ := os.Readlink(entry + "/cwd")
		if os.Getenv(suptest.DirVar) != "" && elsewhere(r.pid) {
			continue // it has our directory's name, and nothing else of it
		}
		holds := false
		if r.command == "suphold" {
			cmdline, _ := os.ReadFile(entry + "/cmdline")
			holds = strings.Contains(string(cmdline), d.Dir+"/")
		}
		if r.parent != d.PID() && cwd != d.Dir && !holds || r.pid == d.PID() {
			continue
		}
		environ, _ := os.ReadFile(entry + "/environ")
		for _, kv := range strings.Split(string(environ), "\x00") {
			if mark, ok := strings.CutPrefix(kv, "SUPD_RUN="); ok {
				r.mark = mark
			}
		}
		list = append(list, r)
	}
	return list
}

// suplogOf is the pid of a daemon's log process.
func suplogOf(t testing.TB, d *suptest.Daemon) (pid int) {
	t.Helper()
	return oneOf(t, d, "suplog")
}

// holderOf is the process that holds the pipes of a daemon's programs.
func holderOf(t testing.TB, d *suptest.Daemon) (pid int) {
	t.Helper()
	return oneOf(t, d, "suphold")
}

// oneOf is the only process of a name that belongs to a daemon.
func oneOf(t testing.TB, d *suptest.Daemon, name string) (pid int) {
	t.Helper()
	d.Until("there is one "+name, func() error {
		n := 0
		for _, r := range relatives(d) {
			if r.command == name && r.state != "Z" {
				pid = r.pid
				n++
			}
		}
		if n != 1 {
			return fmt.Errorf("there are %d", n)
		}
		return nil
	})
	return pid
}

// noZombies waits until the daemon has reaped all its children that ended.
func noZombies(d *suptest.Daemon) {
	d.Until("every child is reaped", func() error {
		for _, r := range relatives(d) {
			if r.parent == d.PID() && r.state == "Z" {
				return fmt.Errorf("%d (%s) is a zombie", r.pid, r.command)
			}
		}
		return nil
	})
}

// onceEach checks, when all is quiet, that each process is what the daemon says:
// one process that leads each that runs, and none of one that does not.
func onceEach(t *testing.T, d *suptest.Daemon) {
	t.Helper()
	d.Until("each process runs once or not at all, as the daemon says", func() error {
		infos, err := d.Client.AllProcessInfo(t.Context())
		if err != nil {
			return err
		}
		told := map[int]string{}
		for _, i := range infos {
			if i.PID != 0 {
				told[i.PID] = i.Group + ":" + i.Name
			}
		}
		for _, r := range relatives(d) {
			if r.mark == "" || r.state == "Z" {
				continue
			}
			if told[r.pid] == "" && told[r.parent] == "" {
				return fmt.Errorf("%d (%s, %s) belongs to nothing that runs", r.pid, r.command, r.mark)
			}
			if told[r.pid] != "" {
				told[r.pid] = "found"
			}
		}
		for pid, name := range told {
			if name != "found" {
				return fmt.Errorf("%s with pid %d is not there", name, pid)
			}
		}
		return nil
	})
}

// workersWell checks that no worker ran twice at a time or could not write,
// and, once they have stopped, that every line they wrote is in the logs, in
// order, and no other.
func workersWell(t *testing.T, d *suptest.Daemon, names []string) (total int) {
	t.Helper()
	for _, file := range []string{"twice", "broken"} {
		if text, err := os.ReadFile(d.Path(file)); err == nil {
			t.Errorf("%s:\n%s", file, text)
		}
	}
	for _, name := range names {
		written, err := strconv.Atoi(strings.TrimSpace(d.ReadFile(name + ".count")))
		if err != nil {
			t.Fatal(err)
		}
		var text string
		d.Until("the log of "+name+" is complete", func() error {
			text, _ = allOf(t, d.Path(name+".log"))
			if !strings.Contains(text, fmt.Sprintf("%s %d\n", name, written)) {
				return fmt.Errorf("line %d is missing", written)
			}
			return nil
		})
		if n := suptest.Numbered(t, text, name); n != written {
			t.Errorf("%s wrote %d lines, in the log are %d", name, written, n)
		}
		total += written
	}
	return total
}

// began tells how often a worker was started.
func began(t *testing.T, d *suptest.Daemon, name string) int {
	t.Helper()
	text, err := os.ReadFile(d.Path(name + ".runs"))
	if errors.Is(err, os.ErrNotExist) {
		return 0
	}
	if err != nil {
		t.Fatal(err)
	}
	return strings.Count(string(text), "began ")
}

// isFault tells whether an error is an answer of the daemon.
func isFault(err error) bool {
	var fault *rpc.Fault
	return errors.As(err, &fault)
}

// quiet waits until no process is between two states.
func quiet(t *testing.T, d *suptest.Daemon) (infos []rpc.ProcessInfo) {
	t.Helper()
	d.Until("no process is between two states", func() (err error) {
		infos, err = d.Client.AllProcessInfo(context.WithoutCancel(t.Context()))
		for _, i := range infos {
			if i.StateName == "STARTING" || i.StateName == "STOPPING" || i.StateName == "BACKOFF" {
				return fmt.Errorf("%s is %s", i.Name, i.StateName)
			}
		}
		return err
	})
	return infos
}
