package main

import (
	"os"
	"strings"
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
