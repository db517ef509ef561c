package server

import (
	"fmt"
	"os"
	"os/user"
	"strings"
	"testing"
	"time"

	"sup/lib/access"
	"sup/lib/plan"
	"sup/supd/internal/record"
)

// roleSite serves a unix socket with roles for whoever runs the test, and keeps a
// record in memory.
func roleSite(t *testing.T, f *fake, rules string) *site {
	t.Helper()
	conf := unixServer("")
	var err error
	if conf.Roles, err = access.ParseRules(strings.ReplaceAll(rules, "ME", fmt.Sprint(os.Getuid()))); err != nil {
		t.Fatal(err)
	}
	interfaces := append(mainInterface, plan.RPCInterface{Name: "twiddler", Factory: "supervisor_twiddler.rpcinterface:make_twiddler_rpcinterface", Known: true})
	log := record.Open(nil, "boot", func(text string) { t.Error(text) })
	t.Cleanup(func() { log.Close(time.Minute) })
	return newSite(t, f, Options{Interfaces: interfaces, Record: log}, conf)
}

// sample is a value for each kind of parameter.
var sample = map[paramKind]string{
	nameParam: "one", intParam: "<int>0</int>", boolParam: "<boolean>1</boolean>", signalParam: "HUP", textParam: "[]", anyParam: "x",
	callsParam: "<array><data></data></array>", methodsParam: "supervisor.getPID", optionsParam: "<struct></struct>",
}

// harmless are the methods that need no more than the role read. The test is
// to fail when a method is added without thought of who may call it.
var harmless = "getAPIVersion getVersion getSupervisorVersion getIdentification getState getPID readLog readMainLog getAllConfigInfo " +
	"getProcessInfo getAllProcessInfo readProcessStdoutLog readProcessLog readProcessStderrLog tailProcessStdoutLog tailProcessLog " +
	"tailProcessStderrLog listMethods methodHelp methodSignature multicall getGroupNames getGeneration compareGroups"

var operators = "startProcess stopProcess signalProcess clearProcessLogs clearProcessLog sendProcessStdin startProcessGroup stopProcessGroup " +
	"signalProcessGroup startAllProcesses stopAllProcesses signalAllProcesses clearAllProcessLogs"

func TestAttackEveryMethodWithEveryRole(t *testing.T) {
	least := map[string]access.Role{}
	for _, name := range strings.Fields(harmless) {
		least[name] = access.Read
	}
	for _, name := range strings.Fields(operators) {
		least[name] = access.Operate
	}
	for _, role := range []access.Role{access.Read, access.Operate, access.Admin} {
		f := newFake()
		s := roleSite(t, f, role.String()+": ME")
		for name, m := range s.srv.methods.byName {
			namespace, bare, _ := strings.Cut(name, ".")
			needs, known := least[bare]
			if !known {
				needs = access.Admin
			}
			var params []string
			for _, p := range m.params {
				params = append(params, sample[p.kind])
			}
			f.log()
			alone := s.call(name, params...)
			together := s.call("system.multicall", "<array><data>"+entry(name, params...)+"</data></array>")
			refused := strings.Contains(alone, "fault 30") && strings.Contains(alone, "it needs "+needs.String())
			if refused != (role < needs) {
				t.Errorf("%s, %s: %s", role, name, alone)
			}
			if refused && len(f.log()) > 0 {
				t.Errorf("%s, %s: refused, and done", role, name)
			}
			if inner := strings.Contains(together, "it needs "+needs.String()); inner != refused {
				t.Errorf("%s, %s in a multicall: %s", role, name, together)
			}
			// Another spelling is another method, which is not there.
			for _, odd := range []string{strings.ToUpper(name), " " + name, name + " ", namespace + "." + strings.ToUpper(bare[:1]) + bare[1:], name + "\x00"} {
				if got := s.raw(post(callBody(strings.ReplaceAll(odd, "\x00", "&#0;"), params...))); got.status == 200 &&
					!strings.Contains(got.body, "UNKNOWN_METHOD") {
					t.Errorf("%s, %q: %+v", role, odd, got)
				}
			}
		}
	}
}

func TestAttackNoRole(t *testing.T) {
	f := newFake()
	s := roleSite(t, f, "admin: nobody-of-this-name; read: @no-such-group")
	for _, path := range []string{"/", "/index.html?action=stopall", "/RPC2", "/logtail/one", "/mainlogtail", "/tail.html?processname=one", "/metrics", "/ok.html", "/nosuch"} {
		for _, method := range []string{"GET", "POST", "HEAD"} {
			if r := s.get(method, path, "Content-Length: 0\r\n"); r.status != 403 {
				t.Errorf("%s %s: %d", method, path, r.status)
			}
		}
	}
	if r := s.raw(post(pidBody)); r.status != 403 || !r.close {
		t.Errorf("%+v", r)
	}
	// The body of a call is not waited for.
	if r := s.raw("POST /RPC2 HTTP/1.1\r\nHost: x\r\nContent-Type: text/xml\r\nContent-Length: 10000000\r\n\r\n"); r.status != 403 {
		t.Errorf("%+v", r)
	}
	if asked := f.log(); len(asked) > 0 {
		t.Errorf("done: %q", asked)
	}
}

func TestAttackOperatorOfSome(t *testing.T) {
	f := newFake()
	f.infos = append(f.infos, f.infos[0])
	f.infos[2].Name = "n"
	s := roleSite(t, f, "operate: ME(g:m, one)")
	const only = "the role is for g:m, one only"
	for _, test := range []struct {
		method string
		params []string
		want   string // "" if it is allowed
	}{
		{"startProcess", []string{"g:m"}, ""},
		{"startProcess", []string{"one"}, ""},
		{"startProcess", []string{"one:one"}, ""},
		{"startProcess", []string{"g:n"}, only},
		{"startProcess", []string{"g:*"}, "that acts on g:n, and " + only},
		{"startProcess", []string{"g:"}, "that acts on g:n, and " + only},
		{"startProcess", []string{"one:*"}, ""},
		{"startProcess", []string{"nosuch"}, only},
		{"startProcess", []string{"nosuch:*"}, only},
		{"startProcess", []string{strings.Repeat("g:m", 200)}, only},
		{"startProcess", []string{"g:m" + strings.Repeat(" ", 300) + "x"}, only},
		{"stopProcessGroup", []string{"g"}, "that acts on g:n"},
		{"stopProcessGroup", []string{"one"}, ""},
		{"stopProcessGroup", []string{"one:one"}, only}, // there is no such group
		{"stopProcessGroup", []string{"nosuch"}, only},
		{"signalAllProcesses", []string{"HUP"}, "that acts on g:n"},
		{"stopAllProcesses", nil, "that acts on g:n"},
		{"clearAllProcessLogs", nil, "that acts on g:n"},
		{"clearProcessLogs", []string{"g:n"}, only},
		{"sendProcessStdin", []string{"g:n", "x"}, only},
		{"sendProcessStdin", []string{"one", "x"}, ""},
		{"signalProcess", []string{"g:n", "KILL"}, only},
		{"getProcessInfo", []string{"g:n"}, ""},
	} {
		got := s.call("supervisor."+test.method, test.params...)
		if refused := strings.Contains(got, " may not "); refused != (test.want != "") || !strings.Contains(got, test.want) {
			t.Errorf("%s %q: %s", test.method, test.params, got)
		}
	}
	who := fmt.Sprintf("uid %d", os.Getuid())
	if u, err := user.Current(); err == nil {
		who = u.Username
	}
	want := "fault 30 FAILED: " + who + " (role operate) may not stopProcess g:n; the role is for g:m, one only"
	if got := s.call("supervisor.stopProcess", "g:n"); got != want {
		t.Errorf("%q", got)
	}
	f.log()
	body := s.call("system.multicall", "<array><data>"+entry("supervisor.stopProcess", "g:n")+entry("system.multicall", "<array><data>"+
		entry("supervisor.stopProcess", "g:n")+"</data></array>")+entry("supervisor.stopProcess", "one")+"</data></array>")
	if asked := f.log(); strings.Join(asked, ",") != "StopProcess one one true" || !strings.Contains(body, only) || !strings.Contains(body, "Recursive") {
		t.Errorf("%q %s", asked, body)
	}
}

// The page offers only what may be done, and does no more.
func TestAttackPageWithRole(t *testing.T) {
	for _, test := range []struct {
		rules           string
		has, not, allow string
	}{
		{"read: ME", "tail.html logtail", "action=stopall action=restartall action=start action=stop action=restart action=clearlog", ""},
		{"operate: ME(one)", "processname=one&amp;action=stop processname=one&amp;action=clearlog", "stopall restartall groupname=g processname=g%3Am&amp;action", "one"},
		{"operate: ME(g:*)", "groupname=g&amp;action=start processname=g%3Am&amp;action=start", "stopall processname=one&amp;action", "g"},
		{"operate: ME", "stopall groupname=g processname=one&amp;action=stop", "-", "one g all"},
		{"admin: ME", "stopall groupname=g processname=one&amp;action=stop", "-", "one g all"},
	} {
		f := newFake()
		s := roleSite(t, f, test.rules)
		page := s.get("GET", "/", "").body
		for _, part := range strings.Fields(test.has) {
			if !strings.Contains(page, part) {
				t.Errorf("%s: %s is not on the page", test.rules, part)
			}
		}
		for _, part := range strings.Fields(test.not) {
			if part != "-" && strings.Contains(page, part) {
				t.Errorf("%s: %s is on the page", test.rules, part)
			}
		}
		for target, who := range map[string]string{
			"processname=one&action=stop": "one", "processname=one&action=start": "one", "processname=one&action=restart": "one", "processname=one&action=clearlog": "one",
			"groupname=g&action=start": "g", "groupname=g&action=stop": "g", "groupname=g&action=restart": "g",
			"action=stopall": "all", "action=restartall": "all", "action=stopall&processname=one": "all",
			"groupname=g&processname=one&action=stop": "g",
		} {
			for _, method := range []string{"GET", "POST"} {
				r := s.get(method, "/index.html?"+target, "Content-Length: 0\r\n")
				may := strings.Contains(test.allow, who)
				if asked := f.log(); r.status == 301 != may || r.status == 403 == may || !may && len(asked) > 0 {
					t.Errorf("%s: %s %s: %d, asked %q", test.rules, method, target, r.status, asked)
				}
			}
		}
		for _, path := range []string{"/metrics", "/ok.html", "/tail.html?processname=one", "/index.html?action=refresh", "/stylesheets/supervisor.css"} {
			if r := s.get("GET", path, ""); r.status != 200 && r.status != 301 {
				t.Errorf("%s: %s: %d", test.rules, path, r.status)
			}
		}
	}
}

func TestAccounts(t *testing.T) {
	var a accounts
	root := func(s string, groups ...int) bool {
		rules, err := access.ParseRules("read: " + s)
		if err != nil {
			t.Fatal(err)
		}
		return a.is(0, 0, groups, rules[0].Subject)
	}
	for s, want := range map[string]bool{"root": true, "0": true, "@root": true, "@0": true, "daemon": false, "1": false, "@daemon": false, "@no-such-group": false, "nosuch": false} {
		if got := root(s); got != want {
			t.Errorf("%s: %v", s, got)
		}
	}
	if !root("@54321", 54321) || root("@54321", 5432) {
		t.Error("the groups that the peer had")
	}
	// A number without a name.
	if a.of(4000000000).name != "" || !a.is(4000000000, 7, nil, access.Subject{Kind: access.User, Name: "4000000000"}) {
		t.Error("a user without an account")
	}
}
