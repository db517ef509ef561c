package main

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sup/lib/client"
	"sup/lib/rpc"
	"sup/lib/suptest"
)

// Programs are added to a group, and processes taken out of it, while the
// daemon runs; both outlive the daemon.
func TestTwiddler(t *testing.T) {
	d := suptest.Start(t, suptest.Options{Config: `environment=GREETING="hello"
[rpcinterface:twiddler]
supervisor.rpcinterface_factory = supervisor_twiddler.rpcinterface:make_twiddler_rpcinterface
[group:g]
programs=a
[program:a]
command=sleep 100000
[eventlistener:l]
command=cat
events=TICK_60
autostart=false
`})
	d.Wait("RUNNING", "g:a")
	c, err := client.New("unix://"+filepath.Join(d.Dir, "supd.sock"), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	call := func(method string, args ...any) error {
		var ok bool
		return c.Call(t.Context(), &ok, "twiddler."+method, args...)
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	faults := func(err error, code int, words string) {
		t.Helper()
		var f *rpc.Fault
		if !errors.As(err, &f) || f.Code != code || !strings.Contains(f.String, words) {
			t.Errorf("got %v, want fault %d with %q", err, code, words)
		}
	}
	type opts = map[string]any

	var names []string
	must(c.Call(t.Context(), &names, "twiddler.getGroupNames"))
	if slices.Sort(names); !slices.Equal(names, []string{"g", "l"}) {
		t.Errorf("groups %v", names)
	}
	must(call("log", "twiddled here", "WARN"))

	must(call("addProgramToGroup", "g", "quiet", opts{"command": "sleep 100000", "autostart": "false"}))
	d.Wait("STOPPED", "g:quiet")
	must(call("addProgramToGroup", "g", "more", opts{
		"command": "sh -c 'echo $GREETING %(group_name)s; exec sleep 100000'", "process_name": "%(program_name)s_%(process_num)d",
		"numprocs": "2", "stdout_logfile": filepath.Join(d.Dir, "more%(process_num)d.log"),
	}))
	d.Wait("RUNNING", "g:more_0")
	d.Wait("RUNNING", "g:more_1")

	var told []struct {
		Name string `xmlrpc:"name"`
		Log  string `xmlrpc:"stdout_logfile"`
	}
	must(c.Call(t.Context(), &told, "supervisor.getAllConfigInfo"))
	names = nil
	for _, p := range told {
		names = append(names, p.Name)
		if !strings.HasPrefix(p.Log, d.Dir) {
			t.Errorf("the log of %s is %q", p.Name, p.Log)
		}
	}
	if !slices.Equal(names, []string{"a", "l", "more_0", "more_1", "quiet"}) {
		t.Errorf("configured are %v", names)
	}

	faults(call("addProgramToGroup", "g", "a", opts{"command": "cat"}), rpc.BadName, "BAD_NAME: a")
	faults(call("addProgramToGroup", "h", "b", opts{"command": "cat"}), rpc.BadName, "BAD_NAME: group: h")
	faults(call("addProgramToGroup", "g", "b", opts{"startsecs": "cat"}), rpc.IncorrectParameters, "startsecs")
	faults(call("addProgramToGroup", "g", "b", opts{"command": "%(nothing)s"}), rpc.IncorrectParameters, "nothing")
	faults(call("addProgramToGroup", "l", "b", opts{"command": "cat"}), rpc.IncorrectParameters, "listeners")
	faults(call("removeProcessFromGroup", "g", "a"), rpc.StillRunning, "STILL_RUNNING: a")
	faults(call("removeProcessFromGroup", "g", "b"), rpc.BadName, "BAD_NAME: b")

	// A daemon that takes over finds them, too.
	d.Crash()
	d.Relaunch()
	d.Wait("RUNNING", "g:more_1")
	d.Wait("STOPPED", "g:quiet")
	if b, err := os.ReadFile(filepath.Join(d.Dir, "more1.log")); err != nil || string(b) != "hello g\n" {
		t.Errorf("%q, %v", b, err)
	}

	d.MustCtl("stop", "g:more_0")
	must(call("removeProcessFromGroup", "g", "more_0"))
	faults(call("removeProcessFromGroup", "g", "more_0"), rpc.BadName, "more_0")
	d.MustCtl("start", "g:quiet")
	d.Wait("RUNNING", "g:quiet")
	log, err := os.ReadFile(filepath.Join(d.Dir, "supd.log"))
	if err != nil || !strings.Contains(string(log), "WARN twiddled here") {
		t.Errorf("%s, %v", log, err)
	}

	// Reading the configuration anew brings the group back to it.
	d.MustCtl("update")
	d.Wait("RUNNING", "g:a")
	var infos []rpc.ProcessInfo
	must(c.Call(t.Context(), &infos, "supervisor.getAllProcessInfo"))
	if len(infos) != 2 {
		t.Errorf("%d processes are left: %+v", len(infos), infos)
	}
	d.Stop()
}
