package server

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"sup/lib/rpc"
)

const (
	isTrue  = "<boolean>1</boolean>"
	results = "<array><data><value><struct><member><name>name</name><value><string>m</string></value></member>" +
		"<member><name>group</name><value><string>g</string></value></member><member><name>status</name><value><int>80</int></value></member>" +
		"<member><name>description</name><value><string>OK</string></value></member></struct></value>" +
		"<value><struct><member><name>name</name><value><string>n</string></value></member>" +
		"<member><name>group</name><value><string>g</string></value></member><member><name>status</name><value><int>50</int></value></member>" +
		"<member><name>description</name><value><string>SPAWN_ERROR: g:n</string></value></member></struct></value></data></array>"
)

func str(s string) string  { return "<string>" + s + "</string>" }
func num(s string) string  { return "<int>" + s + "</int>" }
func flag(s string) string { return "<boolean>" + s + "</boolean>" }

func TestMethods(t *testing.T) {
	f := newFake()
	s := newSite(t, f, Options{})
	for _, test := range []struct {
		method string
		params []string
		want   string
		asked  string // of the backend
	}{
		{"getAPIVersion", nil, str("3.0"), ""},
		{"getVersion", nil, str("3.0"), ""},
		{"getSupervisorVersion", nil, str("4.2.5+test"), ""},
		{"getIdentification", nil, str("supervisor"), ""},
		{"getPID", nil, num("4711"), ""},
		{"getState", nil, "<struct><member><name>statecode</name><value><int>1</int></value></member>" +
			"<member><name>statename</name><value><string>RUNNING</string></value></member></struct>", ""},
		{"clearLog", nil, isTrue, "ClearMainLog"},
		{"shutdown", nil, isTrue, "Shutdown"},
		{"restart", nil, isTrue, "Restart"},
		{"reloadConfig", nil, "<array><data><value><array><data><value><array><data><value><string>new</string></value></data></array></value>" +
			"<value><array><data><value><string>one</string></value></data></array></value><value><array><data></data></array></value>" +
			"</data></array></value></data></array>", "ReloadConfig"},
		{"addProcessGroup", []string{str("x")}, isTrue, "AddGroup x"},
		{"addProcessGroup", []string{num("5")}, isTrue, "AddGroup 5"},
		{"removeProcessGroup", []string{"x"}, isTrue, "RemoveGroup x"},
		{"startProcess", []string{"one"}, isTrue, "StartProcess one one true"},
		{"startProcess", []string{"one:one", flag("0")}, isTrue, "StartProcess one one false"},
		{"startProcess", []string{"one", num("0")}, isTrue, "StartProcess one one false"},
		{"startProcess", []string{"one", str("")}, isTrue, "StartProcess one one false"},
		{"startProcess", []string{"one", str("false")}, isTrue, "StartProcess one one true"},
		{"startProcess", []string{"g:*"}, results, "StartGroup g true"},
		{"startProcess", []string{"g:", flag("0")}, results, "StartGroup g false"},
		{"startProcess", []string{"nosuch"}, "fault 10 BAD_NAME: nosuch", ""},
		{"startProcess", []string{"nosuch:*"}, "fault 10 BAD_NAME: nosuch:*", ""},
		{"startProcess", []string{"m"}, "fault 10 BAD_NAME: m", ""},
		{"startProcess", []string{"a:a:a"}, "fault 10 BAD_NAME: a:a:a", ""},
		{"startProcess", []string{""}, "fault 10 BAD_NAME: ", ""},
		{"startProcess", nil, "fault 2 INCORRECT_PARAMETERS", ""},
		{"startProcess", []string{"one", "1", "2"}, "fault 2 INCORRECT_PARAMETERS", ""},
		{"startProcess", []string{"<array><data/></array>"}, "fault 2 INCORRECT_PARAMETERS", ""},
		{"startProcessGroup", []string{"g"}, results, "StartGroup g true"},
		{"startProcessGroup", []string{num("5")}, "fault 10 BAD_NAME: 5", ""},
		{"startProcessGroup", []string{flag("0")}, "fault 10 BAD_NAME: False", ""},
		{"startAllProcesses", nil, results, "StartAll g true"},
		{"startAllProcesses", []string{flag("0")}, results, "StartAll g false"},
		{"stopProcess", []string{"g:m"}, isTrue, "StopProcess g m true"},
		{"stopProcess", []string{"g:*", num("1")}, results, "StopGroup g true"},
		{"stopProcessGroup", []string{"g", flag("0")}, results, "StopGroup g false"},
		{"stopAllProcesses", nil, results, "StopAll g true"},
		{"signalProcess", []string{"one", "HUP"}, isTrue, "SignalProcess one one HUP"},
		{"signalProcess", []string{"one", num("9")}, isTrue, "SignalProcess one one 9"},
		{"signalProcess", []string{"one", "<double>9.7</double>"}, isTrue, "SignalProcess one one 9"},
		{"signalProcess", []string{"one", "<nil/>"}, "fault 2 INCORRECT_PARAMETERS", ""},
		{"signalProcess", []string{"g:*", "HUP"}, results, "SignalGroup g HUP"},
		{"signalProcessGroup", []string{"g", "HUP"}, results, "SignalGroup g HUP"},
		{"signalProcessGroup", []string{"x", "HUP"}, "fault 10 BAD_NAME: x", ""},
		{"signalAllProcesses", []string{"USR1"}, results, "SignalAll g USR1"},
		{"getProcessInfo", []string{"nosuch"}, "fault 10 BAD_NAME: nosuch", ""},
		{"getProcessInfo", []string{"g:*"}, "fault 10 BAD_NAME: g:*", ""},
		{"clearProcessLogs", []string{"one"}, isTrue, "ClearLogs one one"},
		{"clearProcessLog", []string{"g:m"}, isTrue, "ClearLogs g m"},
		{"clearProcessLogs", []string{"g:*"}, "fault 10 BAD_NAME: g:*", ""},
		{"clearAllProcessLogs", nil, results, "ClearAllLogs g"},
		{"sendProcessStdin", []string{"one", "hi&amp;"}, isTrue, "SendStdin one one hi&"},
		{"sendProcessStdin", []string{"one", "<base64>aGk=</base64>"}, isTrue, "SendStdin one one hi"},
		{"sendProcessStdin", []string{"one", num("5")}, "fault 2 INCORRECT_PARAMETERS: 5", ""},
		{"sendProcessStdin", []string{"nosuch", flag("1")}, "fault 2 INCORRECT_PARAMETERS: True", ""},
		{"sendProcessStdin", []string{"one", "<nil/>"}, "fault 2 INCORRECT_PARAMETERS", ""},
		{"sendProcessStdin", []string{"nosuch", "x"}, "fault 10 BAD_NAME: nosuch", ""},
		{"sendRemoteCommEvent", []string{"t", "d"}, isTrue, "Event t d"},
		{"sendRemoteCommEvent", []string{num("1"), "<array><data/></array>"}, isTrue, "Event 1 []"},
		{"sendRemoteCommEvent", []string{"t"}, "fault 2 INCORRECT_PARAMETERS", ""},
		{"getState", []string{num("1")}, "fault 2 INCORRECT_PARAMETERS", ""},
		{"readLog", []string{"0", "0"}, "fault 20 NO_FILE", ""},
		{"nosuch", nil, "fault 1 UNKNOWN_METHOD", ""},
		{"getstate", nil, "fault 1 UNKNOWN_METHOD", ""},
		{"_update", nil, "fault 1 UNKNOWN_METHOD", ""},
		{"getState.x", nil, "fault 1 UNKNOWN_METHOD", ""},
	} {
		got := s.call("supervisor."+test.method, test.params...)
		asked := strings.Join(f.log(), "; ")
		if got != test.want || asked != test.asked {
			t.Errorf("%s %v\n got %s, asked %q\nwant %s, asked %q", test.method, test.params, got, asked, test.want, test.asked)
		}
	}
	for _, name := range []string{"getState", ".getState", "supervisor.", ".", "x.getState", "SUPERVISOR.getState", " supervisor.getState", "supervisor..getState"} {
		if got := s.call(name); got != "fault 1 UNKNOWN_METHOD" {
			t.Errorf("%q: %s", name, got)
		}
	}
	info := s.call("supervisor.getProcessInfo", "one")
	if all := s.call("supervisor.getAllProcessInfo"); !strings.Contains(info, "pid 7, uptime") || !strings.Contains(all, info) || strings.Count(all, "<struct>") != 2 {
		t.Errorf("%s in %s", info, all)
	}
	if got := s.call("supervisor.getAllConfigInfo"); strings.Count(got, "<member>") != 30 {
		t.Errorf("%s", got)
	}
}

func TestFaultsNameWhatTheClientNamed(t *testing.T) {
	f := newFake()
	s := newSite(t, f, Options{})
	for _, test := range []struct {
		fault  error
		method string
		params []string
		want   string
	}{
		{rpc.NewFault(rpc.AlreadyStarted, ""), "startProcess", []string{"one:one"}, "fault 60 ALREADY_STARTED: one:one"},
		{rpc.NewFault(rpc.SpawnError, ""), "startProcess", []string{"one"}, "fault 50 SPAWN_ERROR: one"},
		{rpc.NewFault(rpc.AbnormalTermination, ""), "startProcess", []string{"g:m"}, "fault 40 ABNORMAL_TERMINATION: g:m"},
		{rpc.NewFault(rpc.NoFile, "can't find command '/x'"), "startProcess", []string{"one"}, "fault 20 NO_FILE: can't find command '/x'"},
		{rpc.NewFault(rpc.NotRunning, ""), "stopProcess", []string{"one"}, "fault 70 NOT_RUNNING: one"},
		{rpc.NewFault(rpc.BadSignal, ""), "signalProcess", []string{"one", "NOPE"}, "fault 11 BAD_SIGNAL: NOPE"},
		{rpc.NewFault(rpc.BadSignal, ""), "signalProcess", []string{"one", num("999")}, "fault 11 BAD_SIGNAL: 999"},
		{rpc.NewFault(rpc.AlreadyAdded, ""), "addProcessGroup", []string{"x"}, "fault 90 ALREADY_ADDED: x"},
		{rpc.NewFault(rpc.BadName, ""), "addProcessGroup", []string{"x"}, "fault 10 BAD_NAME: x"},
		{rpc.NewFault(rpc.StillRunning, ""), "removeProcessGroup", []string{"x"}, "fault 91 STILL_RUNNING: x"},
		{rpc.NewFault(rpc.NoFile, ""), "sendProcessStdin", []string{"one", "x"}, "fault 20 NO_FILE: one"},
		{rpc.NewFault(rpc.CantReread, "x.conf:3: bad"), "reloadConfig", nil, "fault 92 CANT_REREAD: x.conf:3: bad"},
		{os.ErrPermission, "clearLog", nil, "fault 30 FAILED: permission denied"},
	} {
		f.setFault(test.fault)
		if got := s.call("supervisor."+test.method, test.params...); got != test.want {
			t.Errorf("%s %v: got %s, want %s", test.method, test.params, got, test.want)
		}
	}
}

func TestShutdownState(t *testing.T) {
	f := newFake()
	f.setState(rpc.State{Code: -1, Name: "SHUTDOWN"})
	s := newSite(t, f, Options{})
	works := map[string]bool{"supervisor.sendRemoteCommEvent": true}
	for name, m := range s.srv.methods.byName {
		if strings.HasPrefix(name, "system.") {
			works[name] = true
			continue
		}
		var params []string
		for _, p := range m.params {
			params = append(params, map[paramKind]string{intParam: num("1")}[p.kind])
		}
		got := s.call(name, params...)
		if shut := got == "fault 6 SHUTDOWN_STATE"; shut == works[name] {
			t.Errorf("%s: %s", name, got)
		}
	}
	if got := s.call("supervisor.getState", "1"); got != "fault 2 INCORRECT_PARAMETERS" {
		t.Errorf("wrong count: %s", got)
	}
}

func TestSystemMethods(t *testing.T) {
	s := newSite(t, newFake(), Options{})
	names := s.srv.methods.names
	if len(names) != 41 {
		t.Errorf("%d methods: %v", len(names), names)
	}
	list := s.call("system.listMethods")
	for _, n := range names {
		if !strings.Contains(list, str(n)) {
			t.Errorf("%s is not listed", n)
		}
		if help := s.call("system.methodHelp", n); len(help) < 40 || !strings.Contains(help, "@return") {
			t.Errorf("help of %s: %s", n, help)
		}
	}
	for name, want := range map[string][]string{
		"supervisor.getState":             {"struct"},
		"supervisor.startProcess":         {"boolean", "string", "boolean"},
		"supervisor.startAllProcesses":    {"array", "boolean"},
		"supervisor.tailProcessStdoutLog": {"array", "string", "int", "int"},
		"supervisor.tailProcessLog":       {"array", "string", "int", "int"},
		"supervisor.getAllProcessInfo":    {"array"},
		"supervisor.signalProcess":        {"boolean", "string", "string"},
		"supervisor.readLog":              {"string", "int", "int"},
		"supervisor.getPID":               {"int"},
		"supervisor.sendRemoteCommEvent":  {"boolean", "string", "string"},
		"system.listMethods":              {"array"},
		"system.methodHelp":               {"string", "string"},
		"system.multicall":                {"array", "array"},
	} {
		if got := s.srv.methods.byName[name].signature(); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %v", name, got)
		}
	}
	if got := s.call("system.methodSignature", "supervisor.getPID"); got != "<array><data><value><string>int</string></value></data></array>" {
		t.Errorf("%s", got)
	}
	for _, method := range []string{"system.methodHelp", "system.methodSignature"} {
		for _, name := range []string{"nosuch", num("5"), "<array><data/></array>"} {
			if got := s.call(method, name); got != "fault 4 SIGNATURE_UNSUPPORTED" {
				t.Errorf("%s %s: %s", method, name, got)
			}
		}
	}
}

func TestWithoutMainInterface(t *testing.T) {
	other := mainInterface[:1:1]
	other = append(other[:0:0], other...)
	other[0].Factory = "other:make"
	s := newSite(t, newFake(), Options{Interfaces: other})
	if got := s.call("supervisor.getState"); got != "fault 1 UNKNOWN_METHOD" {
		t.Errorf("%s", got)
	}
	if got := s.call("system.listMethods"); strings.Count(got, "<string>") != 4 {
		t.Errorf("%s", got)
	}
}

// entry is a call in a multicall; params are the contents of value elements.
func entry(name string, params ...string) string {
	s := "<value><struct><member><name>methodName</name><value>" + name + "</value></member>"
	if params != nil {
		s += "<member><name>params</name><value><array><data>"
		for _, p := range params {
			s += "<value>" + p + "</value>"
		}
		s += "</data></array></value></member>"
	}
	return s + "</struct></value>"
}

func faultStruct(code, text string) string {
	return "<value><struct><member><name>faultCode</name><value>" + num(code) + "</value></member>" +
		"<member><name>faultString</name><value>" + str(text) + "</value></member></struct></value>"
}

func TestMulticall(t *testing.T) {
	f := newFake()
	s := newSite(t, f, Options{})
	calls := func(entries ...string) string { return "<array><data>" + strings.Join(entries, "") + "</data></array>" }
	got := s.call("system.multicall", calls(
		entry("supervisor.getAPIVersion"),
		entry("supervisor.stopProcess", "one"),
		entry("supervisor.startProcess", "one", flag("0")),
		entry("supervisor.getProcessInfo", "nosuch"),
		entry("supervisor.nosuch"), entry(""), entry("system.multicall"), entry("supervisor.getState", "1"),
		"<value><struct></struct></value>", "<value>5</value>",
		"<value><struct><member><name>methodName</name><value>supervisor.getPID</value></member>"+
			"<member><name>params</name><value>5</value></member></struct></value>",
	))
	want := "<array><data><value><string>3.0</string></value><value>" + isTrue + "</value><value>" + isTrue + "</value>" +
		faultStruct("10", "BAD_NAME: nosuch") + faultStruct("1", "UNKNOWN_METHOD") + faultStruct("1", "UNKNOWN_METHOD") +
		faultStruct("2", "INCORRECT_PARAMETERS: Recursive system.multicall forbidden") + faultStruct("2", "INCORRECT_PARAMETERS") +
		faultStruct("2", "INCORRECT_PARAMETERS: No methodName") + faultStruct("2", "INCORRECT_PARAMETERS") +
		faultStruct("2", "INCORRECT_PARAMETERS") + "</data></array>"
	if got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
	if asked := f.log(); !reflect.DeepEqual(asked, []string{"StopProcess one one true", "StartProcess one one false"}) {
		t.Errorf("%q", asked)
	}
	if got := s.call("system.multicall", calls()); got != "<array><data></data></array>" {
		t.Errorf("empty: %s", got)
	}
	for _, bad := range []string{num("5"), "ab", "<struct/>"} {
		if got := s.call("system.multicall", bad); got != "fault 2 INCORRECT_PARAMETERS" {
			t.Errorf("%s: %s", bad, got)
		}
	}
	if got := s.call("system.multicall", calls(strings.Repeat(entry("a.b"), maxCalls+1))); !strings.HasPrefix(got, "fault 2") {
		t.Errorf("too many: %.100s", got)
	}
}

func TestMulticallIsBounded(t *testing.T) {
	f := newFake()
	path := filepath.Join(t.TempDir(), "log")
	if err := os.WriteFile(path, []byte(strings.Repeat("x", 1<<20)), 0o600); err != nil {
		t.Fatal(err)
	}
	f.logs["one:one stdout"] = path
	s := newSite(t, f, Options{})
	r := s.raw(post(callBody("system.multicall", "<array><data>"+
		strings.Repeat(entry("supervisor.readProcessStdoutLog", "one", "0", "0"), 100)+entry("supervisor.getPID")+"</data></array>")))
	if len(r.body) > maxMulticall+1<<20 || !strings.Contains(r.body, "too large") || !strings.Contains(r.body, num("4711")) {
		t.Errorf("%d bytes", len(r.body))
	}
	eventually(t, "the budget is whole again", func() bool { return s.srv.memory.left.Load() == budgetBodies*defaultBody })
}

func TestDefectIsAFault(t *testing.T) {
	f := newFake()
	f.panicNow = true
	s := newSite(t, f, Options{})
	for range 3 {
		if got := s.call("supervisor.getAllProcessInfo"); got != "fault 30 FAILED: internal error" {
			t.Errorf("%s", got)
		}
	}
	if lines := s.log.with("defect"); len(lines) != 1 {
		t.Errorf("%d lines", len(lines))
	}
}

// Of large requests only a few are answered at a time, since each takes several
// times its size; small ones do not wait for them.
func TestLargeRequestsWaitTheirTurn(t *testing.T) {
	s := newSite(t, newFake(), Options{})
	if err := s.srv.turns.wait(t.Context(), s.srv.turns.all); err != nil {
		t.Fatal(err)
	}
	answered := make(chan string, 1)
	go func() {
		answered <- s.call("system.multicall", "<array><data>"+strings.Repeat(entry("supervisor.getPID"), maxCalls)+"</data></array>")
	}()
	for range 3 {
		if got := s.call("supervisor.getPID"); got != num("4711") {
			t.Errorf("a small request: %s", got)
		}
	}
	select {
	case got := <-answered:
		t.Errorf("the large one was answered out of turn: %.100s", got)
	default:
	}
	s.srv.turns.give(s.srv.turns.all)
	if got := <-answered; strings.Count(got, num("4711")) != maxCalls {
		t.Errorf("the large one: %.100s", got)
	}
}
