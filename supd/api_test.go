package main

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"sup/lib/suptest"
)

// api describes the outcome of calls in a line of text each.
type api struct{ d *suptest.Daemon }

// call is the result of a method, or its fault.
func (a api) call(t *testing.T, method string, args ...any) string {
	t.Helper()
	var v any
	if err := a.d.Client.Call(t.Context(), &v, "supervisor."+method, args...); err != nil {
		return err.Error()
	}
	return fmt.Sprint(v)
}

// many is the outcome of an action on several processes: a word for each.
func (a api) many(t *testing.T, method string, args ...any) string {
	t.Helper()
	var list []struct {
		Group  string `xmlrpc:"group"`
		Name   string `xmlrpc:"name"`
		Status int    `xmlrpc:"status"`
	}
	if err := a.d.Client.Call(t.Context(), &list, "supervisor."+method, args...); err != nil {
		return err.Error()
	}
	var words []string
	for _, r := range list {
		words = append(words, fmt.Sprintf("%s:%s=%d", r.Group, r.Name, r.Status))
	}
	return strings.Join(words, " ")
}

func expect(t *testing.T, what, got, want string) {
	t.Helper()
	if !strings.Contains(got, want) {
		t.Errorf("%s: %s, want %s", what, got, want)
	}
}

// The results of an action on several processes are in the order of the
// processes, failures included; faults name the process as the client did.
func TestResultsInOrder(t *testing.T) {
	program := func(name string, priority int, command string) string {
		return fmt.Sprintf("[program:%s]\ncommand=%s\npriority=%d\nstartsecs=0\nautostart=false\n", name, command, priority)
	}
	d := suptest.Start(t, suptest.Options{Config: program("c", 30, "sleep 100000") + program("a", 10, "sleep 100000") +
		program("bad", 17, "/nonexistent/x") + program("b", 20, "sleep 100000") +
		"[program:late]\ncommand=sleep 100000\npriority=1\nautostart=false\n"})
	a := api{d}
	expect(t, "without waiting", a.many(t, "startAllProcesses", false), "late:late=80 a:a=80 bad:bad=20 b:b=80 c:c=80")
	d.Wait("RUNNING", "a", "b", "c", "late")
	expect(t, "again", a.many(t, "startAllProcesses"), "bad:bad=20")
	a.many(t, "stopAllProcesses")
	expect(t, "waiting", a.many(t, "startAllProcesses"), "a:a=80 bad:bad=20 b:b=80 c:c=80 late:late=80")
	expect(t, "signal", a.many(t, "signalAllProcesses", "CONT"), "late:late=80 a:a=80 b:b=80 c:c=80")

	expect(t, "running", a.call(t, "startProcess", "a:a"), "ALREADY_STARTED: a:a")
	expect(t, "running", a.call(t, "startProcess", "a"), "ALREADY_STARTED: a")
	a.call(t, "stopProcess", "a")
	expect(t, "stopped", a.call(t, "stopProcess", "a:a"), "NOT_RUNNING: a:a")
	expect(t, "signal 0, stopped", a.call(t, "signalProcess", "a", "0"), "NOT_RUNNING: a")
	expect(t, "signal 0", a.call(t, "signalProcess", "b", "0"), "true")
	expect(t, "no signal", a.call(t, "signalProcess", "b", "x"), "BAD_SIGNAL: x")
}

// A start while the process is being stopped starts nothing, and who waits for
// it is told at once.
func TestStartWhileStopping(t *testing.T) {
	d := suptest.Start(t, suptest.Options{Config: `[program:a]
command=sh -c "trap '' TERM; echo ready >up; while :; do sleep 0.05; done"
directory=%(here)s
startsecs=0
stopwaitsecs=600
`})
	d.WaitFile("up", "ready")
	a := api{d}
	expect(t, "stop", a.call(t, "stopProcess", "a", false), "true")
	expect(t, "start", a.call(t, "startProcess", "a"), "ABNORMAL_TERMINATION: a")
	expect(t, "start without waiting", a.call(t, "startProcess", "a", false), "true")
	expect(t, "state", d.Info("a").StateName, "STOPPING")
	expect(t, "log", d.Log(), "WARN process 'a' already running")
	expect(t, "signal", a.call(t, "signalProcess", "a", "KILL"), "true")
	d.Wait("STOPPED", "a")
}

// A log that a program had chosen for it is not what a new configuration names,
// nor does the new configuration have such a log before it is in use.
func TestAutomaticLogsInReload(t *testing.T) {
	d := suptest.Start(t, suptest.Options{Config: "[program:a]\ncommand=sleep 100000\n"})
	a := api{d}
	expect(t, "at first", a.call(t, "getAllConfigInfo"), "stdout_logfile:"+d.Dir)
	expect(t, "unchanged", a.call(t, "reloadConfig"), "[[[] [] []]]")
	expect(t, "read anew", a.call(t, "getAllConfigInfo"), "stdout_logfile:auto")
	d.WriteConfig("[program:a]\ncommand=sleep 100000\nstdout_logfile=NONE\n")
	expect(t, "none instead", a.call(t, "reloadConfig"), "[[[] [a] []]]")
	if _, status := d.Ctl("update"); status != 0 {
		t.Errorf("update: %d", status)
	}
	expect(t, "updated", a.call(t, "getAllConfigInfo"), "stderr_logfile:"+d.Dir)
}

func TestClearMissingLog(t *testing.T) {
	d := suptest.Start(t, suptest.Options{})
	a := api{d}
	expect(t, "clear", a.call(t, "clearLog"), "true")
	if err := os.Remove(d.Path("supd.log")); err != nil {
		t.Fatal(err)
	}
	expect(t, "clear what is gone", a.call(t, "clearLog"), "NO_FILE")
}
