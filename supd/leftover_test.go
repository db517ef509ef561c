package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"sup/lib/suptest"
)

// leaver is a program that leaves a process behind when it ends: the left-over
// leads a group of its own and carries the program's mark.
const leaver = `[program:deploy]
command=/bin/sh -c 'setsid sleep 1000 & echo $! >>leftovers; exec sleep 1000'
directory=%(here)s
startsecs=0
`

// leftovers waits until there are n left-overs, and tells their pids. They are
// killed at the end of the test.
func leftovers(t *testing.T, d *suptest.Daemon, n int) (pids []int) {
	t.Helper()
	d.Until(fmt.Sprint(n, " were left"), func() error {
		text := fileOf(d, "leftovers")
		if strings.Count(text, "\n") != n {
			return fmt.Errorf("there are %q", text)
		}
		pids = nil
		for _, field := range strings.Fields(text) {
			pid, err := strconv.Atoi(field)
			if err != nil || pid <= 1 {
				return fmt.Errorf("there are %q", text)
			}
			pids = append(pids, pid)
		}
		return nil
	})
	t.Cleanup(func() {
		for _, pid := range pids {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	})
	return pids
}

func fileOf(d *suptest.Daemon, name string) string {
	text, _ := os.ReadFile(filepath.Join(d.Dir, name))
	return string(text)
}

// After an orderly end nothing is taken over, whatever carries a mark: what a
// program left behind is not the program.
func TestAttackLeftOverAfterOrderlyEnd(t *testing.T) {
	for name, end := range map[string]func(*suptest.Daemon){
		"shutdown": func(d *suptest.Daemon) { d.MustCtl("shutdown") },
		"signal":   func(d *suptest.Daemon) { d.Signal(syscall.SIGTERM) },
		// The end came as far as the lock's, and the state stayed.
		"state left": func(d *suptest.Daemon) {
			state := []byte(fileOf(d, "supd.pid.state/state"))
			d.Signal(syscall.SIGTERM)
			d.AwaitEnd()
			if err := os.WriteFile(d.Path("supd.pid.state/state"), state, 0o600); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			d := suptest.Start(t, suptest.Options{Config: leaver})
			d.Wait("RUNNING", "deploy")
			left := leftovers(t, d, 1)[0]
			end(d)
			d.AwaitEnd()
			d.Relaunch()
			d.Wait("RUNNING", "deploy")
			if pid := d.Info("deploy").PID; pid == left {
				t.Errorf("the left-over, %d, was taken for the program", pid)
			}
			if strings.Contains(d.Log(), "took over") {
				t.Error("something was taken over")
			}
			leftovers(t, d, 2)
			// Nor is it later, where there is nothing but marks to go by.
			pid := d.Info("deploy").PID
			d.Crash()
			if err := os.WriteFile(d.Path("supd.pid.state/state"), nil, 0o600); err != nil {
				t.Fatal(err)
			}
			d.Relaunch()
			d.Wait("RUNNING", "deploy")
			if now := d.Info("deploy").PID; now != pid {
				t.Errorf("the program had pid %d, has %d", pid, now)
			}
			if err := syscall.Kill(left, 0); err != nil {
				t.Errorf("the left-over is gone: %v", err)
			}
			d.MustCtl("stop", "all")
		})
	}
}
