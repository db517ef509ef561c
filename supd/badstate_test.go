package main

import (
	"errors"
	"maps"
	"os"
	"strings"
	"syscall"
	"testing"

	"sup/lib/suptest"
)

// A state that cannot be used, or only in part, is told of, and programs are
// found by their marks.
func TestStateThatCannotBeUsed(t *testing.T) {
	d := suptest.Start(t, suptest.Options{Config: "[program:a]\ncommand=sleep 1000\nstartsecs=0\n"})
	d.Wait("RUNNING", "a")
	pid := d.Info("a").PID
	for _, spoil := range []func(string) string{
		func(s string) string { return "" },
		func(s string) string { return s[:len(s)/2] },
		func(s string) string { return `{"name":"another","version":1}` },
		func(s string) string { return strings.Replace(s, `"version":1`, `"version":1000`, 1) },
		func(s string) string { return strings.Replace(s, `"groups":[`, `"groups":[{"Name":7},`, 1) },
	} {
		d.Crash()
		file := d.Path("supd.pid.state/state")
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(spoil(string(text))), 0o600); err != nil {
			t.Fatal(err)
		}
		before := strings.Count(d.Log(), "looking for programs by their marks")
		d.Relaunch()
		d.Wait("RUNNING", "a")
		if got := d.Info("a").PID; got != pid {
			t.Fatalf("a has pid %d, had %d", got, pid)
		}
		if strings.Count(d.Log(), "looking for programs by their marks") != before+1 {
			t.Error("the log does not say that the state cannot be used")
		}
	}
}

// A state directory that is removed while supd runs takes nothing with it:
// suplog is replaced, upgrades go on, and the next supd finds the programs by
// their marks. The suplog that nobody can reach any more writes to no log beside
// a new one.
func TestStateDirectoryRemoved(t *testing.T) {
	d := suptest.Start(t, suptest.Options{Config: workers(t, "2ms", "a", "b")})
	d.Wait("RUNNING", "a", "b")
	before := pids(t, d)
	for i, step := range []func(){
		func() { d.Crash(); d.Relaunch() },
		func() {
			if err := syscall.Kill(suplogOf(t, d), syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			d.Until("suplog is replaced", func() error {
				if !strings.Contains(d.Log(), "suplog has no socket") {
					return errors.New("nothing is told of it")
				}
				return nil
			})
			upgraded(t, d, 2)
		},
		func() { d.Crash(); d.Relaunch() },
	} {
		if err := os.RemoveAll(d.Path("supd.pid.state")); err != nil {
			t.Fatal(err)
		}
		step()
		if after := pids(t, d); !maps.Equal(before, after) {
			t.Fatalf("step %d: the programs were %v, and are %v", i, before, after)
		}
	}
	quiet(t, d)
	onceEach(t, d)
	d.MustCtl("stop", "all")
	t.Logf("%d lines, none lost", workersWell(t, d, []string{"a", "b"}))
}
