package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"sup/lib/suptest"
)

// What a killasgroup program has started is ended with it where control groups
// can be made, even if it has left the process group and hides where it comes
// from. That holds for a program that was taken over, and for what an upgraded
// daemon has.
func TestNothingEscapes(t *testing.T) {
	d := suptest.Start(t, suptest.Options{Config: `[program:tree]
command=sh -c 'env -i /usr/bin/setsid /bin/sh escape.sh; exec sleep 1000'
directory=%(here)s
startsecs=0
stopwaitsecs=1
killasgroup=true
autostart=false
`})
	d.WriteFile("escape.sh", "/bin/sleep 1000 &\necho $! >kid\n")
	escaped := func() (pid int, group string) {
		t.Helper()
		d.WaitFile("kid", "\n")
		pid, err := strconv.Atoi(strings.TrimSpace(d.ReadFile("kid")))
		if err != nil {
			t.Fatal(err)
		}
		of := cgroupOf(t, pid)
		if !strings.Contains(of, "/sup-") {
			t.Skip("control groups cannot be made here")
		}
		if leader := cgroupOf(t, d.Info("tree").PID); leader != of {
			t.Errorf("the program is in %s, what it has started in %s", leader, of)
		}
		return pid, of
	}
	ended := func(pid int) {
		t.Helper()
		d.Until("what escaped has ended", func() error {
			if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
				return fmt.Errorf("pid %d: %v", pid, err)
			}
			return nil
		})
	}

	d.MustCtl("start", "tree")
	pid, first := escaped()
	d.MustCtl("stop", "tree")
	ended(pid)

	again := func() {
		t.Helper()
		if err := os.Remove(d.Path("kid")); err != nil {
			t.Fatal(err)
		}
		d.MustCtl("start", "tree")
	}
	again()
	pid, second := escaped()
	if first == second {
		t.Errorf("two runs are in one group, %s", first)
	}
	d.Crash()
	d.Relaunch()
	d.Wait("RUNNING", "tree")
	d.MustCtl("stop", "tree")
	ended(pid)

	again()
	pid, _ = escaped()
	d.MustCtl("upgrade")
	d.Wait("RUNNING", "tree")
	d.Stop()
	ended(pid)
	for _, group := range []string{first, second} {
		if left, _ := filepath.Glob("/sys/fs/cgroup/*/" + filepath.Base(group)); len(left) > 0 {
			t.Errorf("left behind: %s", left)
		}
	}
}

// cgroupOf is the control group of a process in the version 2 hierarchy.
func cgroupOf(t *testing.T, pid int) string {
	t.Helper()
	groups, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(groups)) {
		if path, ok := strings.CutPrefix(line, "0::"); ok {
			return strings.TrimSpace(path)
		}
	}
	return ""
}
