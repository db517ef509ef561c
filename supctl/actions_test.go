package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"sup/lib/client"
	"sup/lib/client/clienttest"
	"sup/lib/rpc"
)

func TestTableIsSorted(t *testing.T) {
	if !slices.IsSortedFunc(actions, func(a, b *action) int { return strings.Compare(a.name, b.name) }) {
		t.Error("findAction needs the table sorted by name")
	}
	for _, a := range actions {
		if !strings.HasPrefix(a.usage(), a.name+" ") {
			t.Errorf("the help of %s does not begin with its name", a.name)
		}
	}
}

func TestSplitAction(t *testing.T) {
	for _, tt := range []struct{ line, name, arg string }{
		{"status", "status", ""},
		{"status  a b", "status", "a b"},
		{"status:a", "status", ":a"},
		{"tail -f a", "tail", "-f a"},
		{"tail-5 a", "tail", "-5 a"},
		{"?", "help", ""},
		{"? tail", "help", "tail"},
		{"!ls", "", "!ls"},
		{"- x", "", "- x"},
		{"été", "", "été"},
	} {
		if name, arg := splitAction(tt.line); name != tt.name || arg != tt.arg {
			t.Errorf("%q: %q, %q", tt.line, name, arg)
		}
	}
}

var (
	runs   = rpc.ProcessInfo{Name: "one", Group: "one", State: client.StateRunning, StateName: "RUNNING", Description: "pid 7, uptime 0:00:03", PID: 7}
	stops  = rpc.ProcessInfo{Name: "off", Group: "off", StateName: "STOPPED", Description: "Not started"}
	inA    = rpc.ProcessInfo{Name: "a", Group: "g", State: client.StateStarting, StateName: "STARTING"}
	inB    = rpc.ProcessInfo{Name: "b", Group: "g", State: client.StateRunning, StateName: "RUNNING", Description: "pid 8", PID: 8}
	longer = rpc.ProcessInfo{Name: "a-name-of-more-than-thirty-letters-ü", Group: "a-name-of-more-than-thirty-letters-ü", State: client.StateFatal, StateName: "FATAL", Description: "x"}
)

func TestStatus(t *testing.T) {
	const (
		one  = "one                              RUNNING   pid 7, uptime 0:00:03\n"
		off  = "off                              STOPPED   Not started\n"
		a    = "g:a                              STARTING  \n"
		b    = "g:b                              RUNNING   pid 8\n"
		none = "nosuch: ERROR (no such process)\n"
	)
	d := clienttest.Start(t)
	d.Answer("getAllProcessInfo", []rpc.ProcessInfo{inA, inB, stops, runs})
	for _, tt := range []struct {
		line   string
		status int
		want   string
	}{
		{"status", 3, a + b + off + one},
		{"status all nosuch", 3, a + b + off + one},
		{"status one", 0, one},
		{"status one one:one", 0, one + one},
		{"status off", 3, off},
		{"status g:*", 0, a + b},
		{"status g: g:b", 0, a + b + b},
		{"status g", 4, "g: ERROR (no such process)\n"},
		{"status one nosuch", 4, none + one},
		{"status nosuch off", 3, none + off},
		{"status x:* g:x ONE", 4, "x: ERROR (no such group)\ng:x: ERROR (no such process)\nONE: ERROR (no such process)\n"},
		{"status-one", 4, "-one: ERROR (no such process)\n"},
	} {
		check(t, d, tt.line, tt.status, tt.want)
	}
	d.Answer("getAllProcessInfo", []rpc.ProcessInfo{longer, runs})
	check(t, d, "status", 3, "a-name-of-more-than-thirty-letters-ü   FATAL     x\n"+
		"one                                    RUNNING   pid 7, uptime 0:00:03\n")
	d.Answer("getAllProcessInfo", []rpc.ProcessInfo{})
	check(t, d, "status", 0, "")
	for state, status := range map[int]int{0: 3, 10: 0, 20: 0, 30: 0, 40: 0, 100: 3, 200: 3, 1000: 3} {
		d.Answer("getAllProcessInfo", []rpc.ProcessInfo{{Name: "x", Group: "x", State: state}})
		check(t, d, "status", status, "x                                          \n")
	}
}

func TestColours(t *testing.T) {
	s := &session{colours: true}
	got := string(s.statusLines([]rpc.ProcessInfo{runs}))
	if want := "\x1b[32mone                              RUNNING   pid 7, uptime 0:00:03\x1b[0m\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestPid(t *testing.T) {
	d := clienttest.Start(t)
	d.Answer("getPID", 5)
	d.Answer("getAllProcessInfo", []rpc.ProcessInfo{stops, runs})
	d.Handle("getProcessInfo", func(args []string) any {
		switch args[0] {
		case "one":
			return runs
		case "off":
			return stops
		}
		return fault(rpc.BadName)
	})
	check(t, d, "pid", 0, "5\n")
	check(t, d, "pid all x", 0, "0\n7\n")
	check(t, d, "pid one", 0, "7\n")
	check(t, d, "pid off one", 7, "0\n7\n")
	check(t, d, "pid off x g:*", 1, "0\nNo such process x\nNo such process g:*\n")
}

// expectation is what a result, or a fault, of some code leads to. An empty
// line is the "error:" line of what was not expected.
type expectation struct {
	line   string
	status int
}

var allCodes = []int{
	rpc.UnknownMethod, rpc.IncorrectParameters, rpc.BadArguments, rpc.ShutdownState, rpc.BadName, rpc.BadSignal, rpc.NoFile,
	rpc.NotExecutable, rpc.Failed, rpc.AbnormalTermination, rpc.SpawnError, rpc.AlreadyStarted, rpc.NotRunning,
	rpc.AlreadyAdded, rpc.StillRunning, rpc.CantReread,
}

func TestEveryFault(t *testing.T) {
	for _, tt := range []struct {
		line, method string
		expect       map[int]expectation
	}{
		{"start p", "startProcess", map[int]expectation{
			rpc.BadName:             {"p: ERROR (no such process)", 1},
			rpc.NoFile:              {"p: ERROR (no such file)", 1},
			rpc.NotExecutable:       {"p: ERROR (file is not executable)", 1},
			rpc.AlreadyStarted:      {"p: ERROR (already started)", 0},
			rpc.SpawnError:          {"p: ERROR (spawn error)", 7},
			rpc.AbnormalTermination: {"p: ERROR (abnormal termination)", 7},
		}},
		{"start p:*", "startProcessGroup", map[int]expectation{rpc.BadName: {"p: ERROR (no such group)", 2}}},
		{"start all", "startAllProcesses", nil},
		{"stop g:p", "stopProcess", map[int]expectation{
			rpc.BadName:    {"g:p: ERROR (no such process)", 1},
			rpc.BadSignal:  {"g:p: ERROR (bad signal name)", 1},
			rpc.NotRunning: {"g:p: ERROR (not running)", 0},
			rpc.Failed:     {"FAILED: extra", 1},
		}},
		{"stop g:", "stopProcessGroup", map[int]expectation{rpc.BadName: {"g: ERROR (no such group)", 1}}},
		{"stop all", "stopAllProcesses", nil},
		{"signal HUP p", "signalProcess", map[int]expectation{
			rpc.BadName:    {"p: ERROR (no such process)", 1},
			rpc.BadSignal:  {"p: ERROR (bad signal name)", 1},
			rpc.NotRunning: {"p: ERROR (not running)", 7},
			rpc.Failed:     {"FAILED: extra", 1},
		}},
		{"signal HUP p:*", "signalProcessGroup", map[int]expectation{rpc.BadName: {"p: ERROR (no such group)", 1}}},
		{"signal HUP all", "signalAllProcesses", nil},
		{"clear p", "clearProcessLogs", map[int]expectation{
			rpc.BadName: {"p: ERROR (no such process)", 1},
			rpc.Failed:  {"p: ERROR (failed)", 1},
		}},
		{"clear all", "clearAllProcessLogs", nil},
		{"pid", "getPID", nil},
		{"pid p", "getProcessInfo", map[int]expectation{rpc.BadName: {"No such process p", 1}}},
		{"pid all", "getAllProcessInfo", nil},
		{"status", "getAllProcessInfo", nil},
		{"version", "getSupervisorVersion", nil},
		{"avail", "getAllConfigInfo", map[int]expectation{rpc.ShutdownState: {"ERROR: supervisor shutting down", 1}}},
		{"tail p", "readProcessStdoutLog", map[int]expectation{
			rpc.NoFile:  {"p: ERROR (no log file)", 1},
			rpc.Failed:  {"p: ERROR (unknown error reading log)", 1},
			rpc.BadName: {"p: ERROR (no such process name)", 1},
		}},
		{"tail p stderr", "readProcessStderrLog", map[int]expectation{
			rpc.NoFile:  {"p: ERROR (no log file)", 1},
			rpc.Failed:  {"p: ERROR (unknown error reading log)", 1},
			rpc.BadName: {"p: ERROR (no such process name)", 1},
		}},
		{"maintail", "readLog", map[int]expectation{
			rpc.NoFile: {"supervisord: ERROR (no log file)", 1},
			rpc.Failed: {"supervisord: ERROR (unknown error reading log)", 1},
		}},
		{"reread", "reloadConfig", map[int]expectation{
			rpc.ShutdownState: {"ERROR: supervisor shutting down", 1},
			rpc.CantReread:    {"ERROR: CANT_REREAD: extra", 1},
		}},
		{"update", "reloadConfig", map[int]expectation{rpc.ShutdownState: {"ERROR: already shutting down", 1}}},
		{"add p", "addProcessGroup", map[int]expectation{
			rpc.ShutdownState: {"ERROR: shutting down", 1},
			rpc.AlreadyAdded:  {"ERROR: process group already active", 0},
			rpc.BadName:       {"ERROR: no such process/group: p", 1},
		}},
		{"remove p", "removeProcessGroup", map[int]expectation{
			rpc.StillRunning: {"ERROR: process/group still running: p", 1},
			rpc.BadName:      {"ERROR: no such process/group: p", 1},
		}},
		{"shutdown", "shutdown", map[int]expectation{rpc.ShutdownState: {"ERROR: already shutting down", 0}}},
		{"reload", "restart", map[int]expectation{rpc.ShutdownState: {"ERROR: already shutting down", 1}}},
		{"fg p", "getProcessInfo", map[int]expectation{rpc.BadName: {"ERROR: bad process name supplied", 1}}},
	} {
		t.Run(tt.line, func(t *testing.T) {
			d := clienttest.Start(t)
			for _, code := range allCodes {
				d.Answer(tt.method, fault(code))
				want, ok := tt.expect[code]
				if !ok {
					want = expectation{"error: " + fault(code).String, 1}
				}
				check(t, d, tt.line, want.status, want.line+"\n")
			}
			d.Answer(tt.method, clienttest.HTTPStatus(500))
			check(t, d, tt.line, 1, "error: the server answered with HTTP status 500 (Internal Server Error)\n")
		})
	}
}

// The reason of a fault may be several lines; what is printed is one.
func TestFaultOfManyLines(t *testing.T) {
	d := clienttest.Start(t)
	d.Answer("reloadConfig", rpc.NewFault(rpc.CantReread, "no sections:\nfile x, line 1\n"))
	check(t, d, "update", 1, "error: CANT_REREAD: no sections: file x, line 1 \n")
}

func TestEveryResult(t *testing.T) {
	results := func(code int) []rpc.Result {
		return []rpc.Result{{Name: "p", Group: "g", Status: code, Description: "TEXT"}, {Name: "q", Group: "q", Status: rpc.Success}}
	}
	for _, tt := range []struct {
		line, method, done string
		expect             map[int]expectation
	}{
		{"start all", "startAllProcesses", "started", map[int]expectation{
			rpc.BadName: {"no such process", 1}, rpc.NoFile: {"no such file", 1}, rpc.NotExecutable: {"file is not executable", 1},
			rpc.AlreadyStarted: {"already started", 0}, rpc.SpawnError: {"spawn error", 7}, rpc.AbnormalTermination: {"abnormal termination", 7},
		}},
		{"stop g:*", "stopProcessGroup", "stopped", map[int]expectation{
			rpc.BadName: {"no such process", 1}, rpc.NotRunning: {"not running", 0}, rpc.BadSignal: {"bad signal name", 1},
			rpc.Failed: {"", 1},
		}},
		{"signal X g:*", "signalProcessGroup", "signalled", map[int]expectation{
			rpc.BadName: {"no such process", 1}, rpc.NotRunning: {"not running", 7}, rpc.BadSignal: {"bad signal name", 1},
			rpc.Failed: {"", 1},
		}},
		{"clear all", "clearAllProcessLogs", "cleared", map[int]expectation{
			rpc.BadName: {"no such process", 1}, rpc.Failed: {"failed", 1},
		}},
	} {
		d := clienttest.Start(t)
		d.Answer(tt.method, results(rpc.Success))
		check(t, d, tt.line, 0, fmt.Sprintf("g:p: %s\nq: %s\n", tt.done, tt.done))
		d.Answer(tt.method, []rpc.Result{})
		check(t, d, tt.line, 0, "")
		for _, code := range allCodes {
			d.Answer(tt.method, results(code))
			want, ok := tt.expect[code]
			switch {
			case !ok:
				check(t, d, tt.line, 1, "error: TEXT\n")
			case want.line == "":
				check(t, d, tt.line, want.status, "TEXT\nq: "+tt.done+"\n")
			default:
				check(t, d, tt.line, want.status, fmt.Sprintf("g:p: ERROR (%s)\nq: %s\n", want.line, tt.done))
			}
		}
	}
}

func TestSeveralNames(t *testing.T) {
	d := clienttest.Start(t)
	d.Handle("startProcess", func(args []string) any {
		switch args[0] {
		case "dead":
			return fault(rpc.SpawnError)
		case "running":
			return fault(rpc.AlreadyStarted)
		case "x":
			return fault(rpc.BadName)
		case "broken":
			return fault(rpc.Failed)
		}
		return true
	})
	d.Answer("startProcessGroup", fault(rpc.BadName))
	check(t, d, "start a x dead running g:a", 7, "a: started\nx: ERROR (no such process)\ndead: ERROR (spawn error)\n"+
		"running: ERROR (already started)\ng:a: started\n")
	check(t, d, "start dead x:* a", 2, "dead: ERROR (spawn error)\nx: ERROR (no such group)\na: started\n")
	check(t, d, "start a broken b", 1, "a: started\nerror: FAILED: extra\n")
	d.Answer("stopProcess", fault(rpc.NotRunning))
	check(t, d, "restart a", 0, "a: ERROR (not running)\na: started\n")
	check(t, d, "restart dead", 7, "dead: ERROR (not running)\ndead: ERROR (spawn error)\n")
	d.Answer("stopProcessGroup", fault(rpc.BadName))
	check(t, d, "restart x:*", 2, "x: ERROR (no such group)\nx: ERROR (no such group)\n")
}

func TestMisuse(t *testing.T) {
	d := clienttest.Start(t)
	for _, tt := range []struct {
		line   string
		status int
		want   string
	}{
		{"start", 2, "Error: start requires a process name\n<help start>\n"},
		{"stop", 1, "Error: stop requires a process name\n<help stop>\n"},
		{"restart", 1, "Error: restart requires a process name\n<help restart>\n"},
		{"clear", 1, "Error: clear requires a process name\n<help clear>\n"},
		{"signal", 1, "Error: signal requires a signal name and a process name\n<help signal>\n"},
		{"signal HUP", 1, "Error: signal requires a signal name and a process name\n<help signal>\n"},
		{"tail", 1, "Error: too few arguments\n<help tail>\n"},
		{"tail a b c d", 1, "Error: too many arguments\n<help tail>\n"},
		{"tail -5", 1, "Error: tail requires process name\n"},
		{"tail -f", 1, "Error: tail requires process name\n"},
		{"tail a stdFoo", 1, "Error: bad channel 'stdfoo'\n"},
		{"tail a it's", 1, "Error: bad channel \"it's\"\n"},
		{"tail -x a", 1, "Error: bad argument -x\n"},
		{"tail - a", 1, "Error: bad argument -\n"},
		{"tail -99999999999 a", 1, "error: cannot ask for 99999999999 bytes: the number is too large\n"},
		{"maintail -1 -2", 1, "Error: too many arguments\n<help maintail>\n"},
		{"maintail x", 1, "Error: bad argument x\n"},
		{"maintail -x", 1, "Error: bad argument -x\n"},
		{"fg", 1, "ERROR: no process name supplied\n<help fg>\n"},
		{"fg a b", 1, "ERROR: too many process names supplied\n"},
		{"reread x", 1, "Error: reread accepts no arguments\n<help reread>\n"},
		{"avail x", 1, "Error: avail accepts no arguments\n<help avail>\n"},
		{"version x", 1, "Error: version accepts no arguments\n<help version>\n"},
		{"shutdown x", 1, "Error: shutdown accepts no arguments\n<help shutdown>\n"},
		{"reload x", 1, "Error: reload accepts no arguments\n<help reload>\n"},
		{"open", 1, "ERROR: url must be http://, https:// or unix://\n"},
		{"open ftp://x", 1, "ERROR: url must be http://, https:// or unix://\n"},
		{"add", 0, ""},
		{"remove", 0, ""},
		{"nosuch thing", 1, "*** Unknown syntax: nosuch thing\n"},
		{"Status", 1, "*** Unknown syntax: Status\n"},
		{"!ls", 1, "*** Unknown syntax: !ls\n"},
		{"help nosuch", 0, "*** No help on nosuch\n"},
		{"help start", 0, "<help start>\n"},
		{"quit x", 0, "\n"},
		{"exit", 0, "\n"},
		{"EOF", 0, "\n"},
	} {
		check(t, d, tt.line, tt.status, tt.want)
	}
	_, out := supctl(t, d, "", "help")
	for _, a := range actions {
		if a.name != "help" && !slices.Contains(strings.Fields(out), a.name) {
			t.Errorf("help does not list %s", a.name)
		}
	}
}

func TestSuccess(t *testing.T) {
	d := clienttest.Start(t)
	d.Answer("getSupervisorVersion", "4.2.5")
	d.Handle("readProcessStdoutLog", func(args []string) any { return strings.Join(args, " ") })
	d.Handle("readProcessStderrLog", func(args []string) any { return "err " + strings.Join(args, " ") + "\n" })
	d.Handle("readLog", func(args []string) any { return strings.Join(args, " ") })
	d.Answer("getAllConfigInfo", []any{
		map[string]any{"name": "chg", "group": "chg", "inuse": true, "autostart": true, "group_prio": 999, "process_prio": 999},
		map[string]any{"name": "c", "group": "grp", "inuse": false, "autostart": false, "group_prio": 50, "process_prio": 1},
	})
	for _, tt := range []struct{ line, want string }{
		{"version", "4.2.5\n"},
		{"tail a", "a -1600 0\n"},
		{"tail -10 a stdout", "a -10 0\n"},
		{"tail -0 a", "a 0 0\n"},
		{"tail --5 a", "a 5 0\n"},
		{"tail a x STDERR", "err a -1600 0\n\n"},
		{"maintail", "-1600 0\n"},
		{"maintail -7", "-7 0\n"},
		{"clear a g:b c:c", "a: cleared\ng:b: cleared\nc: cleared\n"},
		{"signal 10 a", "a: signalled\n"},
		{"add a b", "a: added process group\nb: added process group\n"},
		{"remove a b", "a: removed process group\nb: removed process group\n"},
		{"shutdown", "Shut down\n"},
		{"reload", "Restarted supervisord\n"},
		{"avail", "chg                              in use    auto      999:999\ngrp:c                            avail     manual    50:1\n"},
	} {
		check(t, d, tt.line, 0, tt.want)
	}
}

func TestUpdate(t *testing.T) {
	d := clienttest.Start(t)
	change := func(added, changed, removed []string) {
		d.Answer("reloadConfig", []any{[]any{added, changed, removed}})
	}
	d.Answer("getAllProcessInfo", []rpc.ProcessInfo{runs, {Name: "x", Group: "chg"}, {Name: "y", Group: "old"}})
	d.Handle("stopProcessGroup", func(args []string) any {
		code := rpc.Success
		if args[0] == "stuck" {
			code = rpc.Failed
		}
		return []rpc.Result{{Name: "p", Group: args[0], Status: code}}
	})
	change(nil, nil, nil)
	check(t, d, "reread", 0, "No config updates to processes\n")
	check(t, d, "update", 0, "")
	change([]string{"new"}, []string{"chg"}, []string{"stuck", "old"})
	check(t, d, "reread", 0, "chg: changed\nnew: available\nold: disappeared\nstuck: disappeared\n")
	check(t, d, "update", 1, "stuck: stopped\nstuck: has problems; not removing\nold: stopped\nold: removed process group\n"+
		"chg: stopped\nchg: updated process group\nnew: added process group\n")
	check(t, d, "update chg x new x", 1, "ERROR: no such group: x\nchg: stopped\nchg: updated process group\nnew: added process group\n")
	check(t, d, "update one", 0, "")
	d.Answer("removeProcessGroup", fault(rpc.StillRunning))
	check(t, d, "update chg", 1, "chg: stopped\nerror: STILL_RUNNING: extra\n")
}

func TestDaemonAway(t *testing.T) {
	d := clienttest.Start(t)
	d.Close()
	gone, refused := d.URL+" no such file\n", ""
	for _, tt := range []struct {
		line   string
		status int
		want   string
	}{
		{"status", 4, gone},
		{"status a", 4, gone},
		{"start", 7, gone},
		{"stop a", 7, gone},
		{"restart a", 7, gone},
		{"signal", 7, gone},
		{"pid", 7, gone},
		{"tail", 7, gone},
		{"maintail x", 7, gone},
		{"clear", 7, gone},
		{"fg", 7, gone},
		{"version", 7, gone},
		{"add a", 1, "error: " + gone},
		{"remove a", 1, "error: " + gone},
		{"update", 1, "error: " + gone},
		{"reread", 1, "error: " + gone},
		{"avail", 1, "error: " + gone},
		{"reload", 1, "error: " + gone},
		{"shutdown", 1, "ERROR: " + d.URL + " no such file (already shut down?)\n"},
		{"open unix:///nosuch/socket", 0, "unix:///nosuch/socket no such file\n"},
		{"version x", 1, "Error: version accepts no arguments\n<help version>\n"},
	} {
		check(t, d, tt.line, tt.status, tt.want)
	}
	d.URL = "http://127.0.0.1:1" // tcpmux: nobody has that
	refused = d.URL + " refused connection\n"
	check(t, d, "status", 4, refused)
	check(t, d, "pid", 4, refused)
	check(t, d, "reread", 1, "error: "+refused)
	check(t, d, "shutdown", 1, "ERROR: "+d.URL+" refused connection (already shut down?)\n")
	d.URL = "ftp://x/"
	check(t, d, "status", 1, "error: unknown protocol in server URL ftp://x/…\n")
}

func TestOtherDaemons(t *testing.T) {
	d := clienttest.Start(t)
	d.Answer("getVersion", "2.0")
	check(t, d, "start a", 5, d.URL+" speaks version 2.0 of the interface…\n")
	check(t, d, "status", 4, d.URL+" speaks version 2.0 of the interface…\n")
	d.Answer("getVersion", fault(rpc.UnknownMethod))
	check(t, d, "start a", 3, d.URL+" answers, but offers no supervisor interface…\n")
	check(t, d, "status", 4, d.URL+" answers, but offers no supervisor interface…\n")
	d.Answer("getVersion", rpc.NewFault(rpc.ShutdownState, ""))
	check(t, d, "status", 1, "error: SHUTDOWN_STATE\n")
	d.Auth = "joe:secret"
	check(t, d, "status", 1, "Server requires authentication\n")
	check(t, d, "reread", 1, "Server requires authentication\n")
	check(t, d, "-u joe -p wrong pid", 1, "Server requires authentication\n")
	check(t, d, "-p secret pid", 1, "Server requires authentication\n")
	d.Answer("getVersion", "3.0")
	d.Answer("getPID", 3)
	check(t, d, "-u joe -p secret pid", 0, "3\n")
	t.Setenv("SUPERVISOR_PASSWORD", "secret")
	check(t, d, "-u joe pid", 0, "3\n")
	check(t, d, "-u joe -p wrong pid", 1, "Server requires authentication\n")
}
