package main

import (
	"cmp"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"sup/lib/suptest"
	"sup/supd/internal/state"
)

// unsigned is the last commit whose marks have no codes, and whose state directory
// always lies beside the pid file.
const unsigned = "68ea967"

// buildOld builds supd and suplog of that commit.
func buildOld(t *testing.T) (dir string) {
	t.Helper()
	if err := exec.Command("git", "cat-file", "-e", unsigned+"^{commit}").Run(); err != nil {
		t.Skip("commit " + unsigned + " is not in this clone")
	}
	dir = t.TempDir()
	const script = `set -e
cd "$(git rev-parse --show-toplevel)"
git archive "$1" | tar -x -C "$0"
for tool in supd suplog; do CGO_ENABLED=0 go build -C "$0/$tool" -o "$0/bin/$tool" .; done`
	if output, err := exec.Command("sh", "-c", script, dir, unsigned).CombinedOutput(); err != nil {
		t.Skipf("commit %s cannot be built: %v: %s", unsigned, err, output)
	}
	return filepath.Join(dir, "bin")
}

// installed puts the tools of a directory in place of others, as an installation does.
func installed(t *testing.T, from, to string) {
	t.Helper()
	for _, tool := range []string{"supd", "suplog"} {
		text, err := os.ReadFile(filepath.Join(from, tool))
		if err != nil {
			t.Fatal(err)
		}
		fresh := filepath.Join(to, tool+".new")
		if err := os.WriteFile(fresh, text, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(fresh, filepath.Join(to, tool)); err != nil {
			t.Fatal(err)
		}
	}
}

// A daemon takes over from one of before there were keys, by an upgrade in place or
// after a kill: nothing stops, and nothing runs twice, then and later, also where the
// state directory lies in a place that is not chosen any more.
func TestFromUnsignedVersion(t *testing.T) {
	if suptest.Race {
		t.Skip("the old tools are built without the race detector")
	}
	old := buildOld(t)
	suptest.Tool(t, "suplog")
	present := filepath.Dir(suptest.Tool(t, "supd"))
	for _, how := range []string{"upgrade", "kill"} {
		for _, place := range []string{"beside", "in /tmp"} {
			t.Run(how+" "+place, func(t *testing.T) {
				bin := t.TempDir()
				installed(t, old, bin)
				var args []string
				pidfile := ""
				if place == "in /tmp" {
					// A sticky directory.
					pidfile = filepath.Join(os.TempDir(), filepath.Base(t.TempDir())+fmt.Sprint(os.Getpid())+".pid")
					args = []string{"-j", pidfile}
					t.Cleanup(func() {
						os.RemoveAll(pidfile + ".state")
						removePlaces(t, pidfile)
					})
				}
				names := numbered("p", 3)
				d := suptest.Start(t, suptest.Options{
					Supd: filepath.Join(bin, "supd"), Args: args, Config: workers(t, "2ms", names...) +
						"[program:tree]\ncommand=sh -c 'sleep 1000 & wait'\nkillasgroup=true\nstartsecs=0\nstopwaitsecs=1\n",
				})
				all := append(names, "tree")
				d.Wait("RUNNING", all...)
				before := pids(t, d)
				same := func(when string) {
					t.Helper()
					d.Wait("RUNNING", all...)
					if after := pids(t, d); !maps.Equal(before, after) {
						t.Fatalf("%s: the programs were %v, and are %v", when, before, after)
					}
					quiet(t, d)
					onceEach(t, d)
				}
				if m := state.ParseMark(markOf(t, before["tree"])); !m.Old() {
					t.Fatal("the old daemon signs marks")
				}
				installed(t, present, bin)
				if how == "upgrade" {
					upgradedOnce(t, d)
				} else {
					d.Crash()
					d.Relaunch()
				}
				same(how)
				d.Crash()
				d.Relaunch()
				same("a kill of the new one")
				dir := cmp.Or(pidfile, d.Path("supd.pid")) + ".state"
				d.Crash()
				if err := os.WriteFile(filepath.Join(dir, "state"), nil, 0o600); err != nil {
					t.Fatal(err)
				}
				d.Relaunch()
				same("a damaged state")
				d.MustCtl("restart", "tree")
				before["tree"] = d.Info("tree").PID
				if m := state.ParseMark(markOf(t, before["tree"])); m.Old() {
					t.Error("the new daemon does not sign marks")
				}
				upgradedOnce(t, d)
				same("another upgrade")
				d.MustCtl("stop", "all")
				workersWell(t, d, names)
			})
		}
	}
}

// upgradedOnce upgrades a daemon, whatever its generation.
func upgradedOnce(t *testing.T, d *suptest.Daemon) {
	t.Helper()
	g, err := d.Client.Generation(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	upgraded(t, d, g.Generation+1)
}

// removePlaces removes the state directories that a test has made for a pid file.
func removePlaces(t *testing.T, pidfile string) {
	t.Helper()
	name := strings.TrimSuffix(filepath.Base(pidfile), ".pid")
	for _, pattern := range []string{"/run/sup/", fmt.Sprintf("/run/user/%d/sup/", os.Getuid()), fmt.Sprintf("/tmp/sup-%d/", os.Getuid())} {
		found, _ := filepath.Glob(pattern + name + "-*")
		for _, dir := range found {
			os.RemoveAll(dir)
		}
	}
}
