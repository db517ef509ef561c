package plan

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"sup/lib/config"
	"sup/lib/value"
)

// load loads a text as the configuration file of a new directory.
func load(t *testing.T, text string, o Options) (*Plan, error) {
	t.Helper()
	dir := t.TempDir()
	o.File = filepath.Join(dir, "x.conf")
	if err := os.WriteFile(o.File, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if o.Dir == "" {
		o.Dir = dir
	}
	if o.Environ == nil {
		o.Environ = []string{"PATH=/bin", "HOME=/root", "V=val", "PCT=a%b", "EXPR=%(here)s"}
	}
	return Load(o)
}

func mustLoad(t *testing.T, text string) *Plan {
	t.Helper()
	p, err := load(t, "[supervisord]\n"+text, Options{})
	if err != nil {
		t.Fatalf("%s\n%v", text, err)
	}
	return p
}

// code is the code of an error of Load, "" for none.
func code(err error) string {
	var p *config.Problem
	if errors.As(err, &p) {
		return p.Code
	}
	if err != nil {
		return err.Error()
	}
	return ""
}

func TestDefaults(t *testing.T) {
	p := mustLoad(t, "[program:a]\ncommand=/bin/cat\n")
	d := p.Daemon
	if d.Logfile != p.Here+"/supervisord.log" || d.Pidfile != p.Here+"/supervisord.pid" || d.LogfileMaxBytes != 50<<20 ||
		d.LogfileBackups != 10 || d.LogLevel != "info" || d.Umask != 0o22 || d.MinFDs != 1024 || d.MinProcs != 200 ||
		d.Identifier != "supervisor" || d.UID != -1 || d.HasUser || d.StateDir != "" {
		t.Errorf("daemon %+v", d)
	}
	want := Process{
		Name: "a", Group: "a", Section: "program:a", Command: "/bin/cat", Umask: -1, Priority: 999, AutoStart: true,
		StartSecs: 1, StartRetries: 3, ExitCodes: []int{0}, StopSignal: 15, StopWaitSecs: 10, UID: -1, GID: -1,
		Stdout: Stream{MaxBytes: 50 << 20, Backups: 10}, Stderr: Stream{MaxBytes: 50 << 20, Backups: 10},
		Environment: map[string]string{},
	}
	if got := p.Groups[0].Processes[0]; !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

// groupNames shows groups and their processes in short.
func groupNames(p *Plan) string {
	var words []string
	for _, g := range p.Groups {
		var names []string
		for _, q := range g.Processes {
			names = append(names, q.Name)
		}
		words = append(words, fmt.Sprintf("%s(%s)", g.Name, strings.Join(names, " ")))
	}
	return strings.Join(words, " ")
}

func TestGroups(t *testing.T) {
	for _, tt := range []struct{ name, in, want string }{
		{"none", "", ""},
		{"by name", "[program:b]\ncommand=x\n[program:a]\ncommand=x\n", "a(a) b(b)"},
		{"by priority", "[program:a]\ncommand=x\n[program:b]\ncommand=x\npriority=5\n", "b(b) a(a)"},
		{"numprocs sorts as text", "[program:p]\ncommand=x\nnumprocs=11\nprocess_name=%(process_num)d\n",
			"p(0 1 10 2 3 4 5 6 7 8 9)"},
		{"numprocs_start", "[program:p]\ncommand=x\nnumprocs=2\nnumprocs_start=9\nprocess_name=p%(process_num)02d\n", "p(p09 p10)"},
		{"no processes", "[program:p]\nnumprocs=0\n", "p()"},
		{"group", "[group:g]\nprograms=b, a\n[program:a]\ncommand=x\n[program:b]\ncommand=x\n[program:c]\ncommand=x\n", "c(c) g(b a)"},
		{"two groups", "[group:g]\nprograms=a\n[group:h]\nprograms=a,a\n[program:a]\ncommand=x\n", "g(a) h(a a)"},
		{"empty group", "[group:g]\n", "g()"},
		{"listener first", "[eventlistener:l]\ncommand=x\nevents=EVENT\n[program:a]\ncommand=x\n", "l(l) a(a)"},
		{"fcgi in a group", "[group:g]\nprograms=f\n[fcgi-program:f]\ncommand=x\n", "g(f)"},
		{"same name", "[program:a]\ncommand=x\n[fcgi-program:a]\ncommand=x\nsocket=tcp://h:1\n", "a(a) a(a)"},
		{"group expressions", "[group:g]\nprograms=a\n[program:a]\ncommand=x\nprocess_name=%(group_name)s_%(program_name)s_%(host_node_name).0s\n", "g(g_a_)"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := groupNames(mustLoad(t, tt.in)); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

func TestExpansions(t *testing.T) {
	p := mustLoad(t, `environment=D="%(ENV_V)s",E="%%%%"
identifier=%(here).1s
[program:a]
command=%(ENV_OWN)s %(ENV_D)s %(ENV_V)s %(process_num)d/%(numprocs)d %(ENV_PCT)s
environment=OWN="%(process_num)d",V="own"
directory=%(ENV_V)s
stdout_logfile=%(ENV_EXPR)s/x%%%%.log
stderr_logfile=NONE
priority=%(ENV_PRIO)s
`+"[supervisord]\nenvironment=D=\"%(ENV_V)s\",PRIO=7,E=\"%%%%\"\n")
	q := p.Groups[0].Processes[0]
	if q.Command != "0 val own 0/1 a%b" || q.Directory != "own" || q.Priority != 7 {
		t.Errorf("%+v", q)
	}
	if want := p.Here + "/x%.log"; q.Stdout.Path != want {
		t.Errorf("log %q, want %q", q.Stdout.Path, want)
	}
	want := map[string]string{"D": "val", "PRIO": "7", "E": "%", "OWN": "0", "V": "own"}
	if !reflect.DeepEqual(q.Environment, want) {
		t.Errorf("environment %q", q.Environment)
	}
	if p.Daemon.Identifier != "/" {
		t.Errorf("identifier %q", p.Daemon.Identifier)
	}
}

func TestErrors(t *testing.T) {
	program := "[program:a]\ncommand=x\n"
	for in, want := range map[string]string{
		"minfds=x": "bad-integer", "nodaemon=2": "bad-boolean", "umask=8": "bad-octal", "loglevel=loud": "bad-loglevel",
		"logfile=/no/such/x": "no-such-directory", "directory=/no/such": "no-such-directory", "user=no such": "no-such-user",
		"environment=A": "bad-environment", "environment=A=\"%(host_node_name)s\"": "unknown-expansion", "identifier=%": "bad-expansion",
		program + "startsecs=%(process_num)d": "unknown-expansion", program + "stopsignal=NO": "bad-signal",
		program + "exitcodes=0,": "bad-exitcodes", program + "autorestart=always": "bad-autorestart",
		program + "process_name=a b": "bad-name", program + "numprocs=2": "process_num-missing",
		program + "stopasgroup=true\nkillasgroup=false":               "stopasgroup-without-killasgroup",
		program + "numprocs=1000000000\nprocess_name=%(process_num)d": "bad-integer",
		program + "priority=%(program_name)s":                         "unknown-expansion",
		"[program:a b]\ncommand=x":                                    "bad-name", "[program:a]": "command-missing",
		"[group:g]\nprograms=a": "unknown-program", "[group:g]\nprograms=a\n" + program + "[fcgi-program:a]": "ambiguous-program",
		"[eventlistener:l]\ncommand=x": "events-missing", "[eventlistener:l]\ncommand=x\nevents=NO": "unknown-event",
		"[eventlistener:l]\ncommand=x\nevents=EVENT\nbuffer_size=0":        "bad-buffer_size",
		"[eventlistener:l]\ncommand=x\nevents=EVENT\nredirect_stderr=true": "listener-redirect_stderr",
		"[eventlistener:l]\ncommand=x\nevents=EVENT\nresult_handler=a:b":   "unknown-plugin",
		"[fcgi-program:f]\ncommand=x":                                      "socket-missing",
		"[fcgi-program:f]\ncommand=x\nsocket=/x":                           "bad-socket",
		"[fcgi-program:f]\ncommand=x\nsocket=tcp://h:70000":                "bad-port",
		"[fcgi-program:f]\ncommand=x\nsocket=tcp://h:1\nsocket_mode=0700":  "socket-option-on-tcp",
		"[fcgi-program:f]\ncommand=x\nsocket=tcp://h:1\nsocket_backlog=0":  "bad-socket_backlog",
		"[fcgi-program:f]\ncommand=x\nsocket=unix:///x\nsocket_mode=x":     "bad-socket_mode",
		"[fcgi-program:f]\ncommand=x\nsocket=unix:///x\nsocket_owner=no:x": "bad-socket_owner",
		"[inet_http_server]": "port-missing", "[inet_http_server]\nport=x": "bad-port", "[unix_http_server]": "file-missing",
		"[unix_http_server]\nfile=x\nchmod=x": "bad-chmod", "[unix_http_server]\nfile=x\nchown=root.root": "bad-chown",
		"[inet_http_server]\nport=1\nusername=x":        "incomplete-authentication",
		"[inet_http_server]\nport=1\nmax_connections=1": "bad-max_connections", "[unix_http_server]\nfile=x\nmax_followers=0": "bad-max_followers",
		"[unix_http_server]\nfile=x\nmax_body=1KB": "bad-max_body", "[unix_http_server]\nfile=x\nmax_values=1": "bad-max_values",
		"[unix_http_server]\nfile=x\nrequest_timeout=0": "bad-request_timeout", "[unix_http_server]\nfile=x\nrequest_timeout=x": "bad-integer",
		"[rpcinterface:x]": "factory-missing", "[rpcinterface:x]\nsupervisor.rpcinterface_factory=a:b": "unknown-plugin",
		"[rpcinterface:x]\nsupervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface\ny=%(here)s": "unknown-expansion",
		"foo": "bad-line", "[include]": "include-without-files",
	} {
		_, err := load(t, "[supervisord]\n"+in+"\n", Options{})
		if got := code(err); got != want {
			t.Errorf("%q: %q, want %s (%v)", in, got, want, err)
		}
		if strings.HasPrefix(want, "no-such") || want == "bad-chown" || want == "bad-socket_owner" || want == "unknown-plugin" {
			if _, err := load(t, "[supervisord]\n"+in+"\n", Options{Offline: true}); err != nil {
				t.Errorf("%q offline: %v", in, err)
			}
		}
	}
	if _, err := load(t, "[program:a]\ncommand=x\n", Options{}); code(err) != "no-supervisord-section" {
		t.Errorf("%v", err)
	}
}

func TestAllProblems(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "x.conf")
	text := "[supervisord]\nfoo\nminfds=x\n[program:a]\ncommand=%(nope)s\nstartsecs=y\nnumprocs=3\nprocess_name=%(process_num)d\n[program:b]\n"
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	r := Check(Options{File: file, Dir: dir})
	var got []string
	for _, p := range r.Problems {
		got = append(got, fmt.Sprintf("%s:%d", p.Code, p.Line))
	}
	want := []string{"bad-line:2", "bad-integer:3", "bad-integer:6", "unknown-expansion:5", "command-missing:9"}
	if !slices.Equal(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
	if p := r.Problems[1]; p.Error() != file+`:3: [supervisord] minfds: cannot use "x": want a whole number` {
		t.Errorf("message %q", p.Error())
	}
	if !r.Failed() {
		t.Error("not failed")
	}
}

func TestPluginForms(t *testing.T) {
	const main = config.MainRPCFactory
	for in, want := range map[string]string{
		main: "",
		" supervisor.rpcinterface : make_main_rpcinterface ": "",
		main + "[]":                         "",
		main + " [a, b-c]":                  "",
		main + " [a b]":                     "unknown-plugin",
		main + "\n [program:x]\n command=x": "unknown-plugin",
		main + "\n [program:x]":             "unknown-plugin",
		main + "2":                          "unknown-plugin",
	} {
		_, err := load(t, "[supervisord]\n[rpcinterface:x]\nsupervisor.rpcinterface_factory="+in+"\n", Options{})
		if got := code(err); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

// The daemon's user is looked up last: what else is wrong comes first.
func TestFirstProblem(t *testing.T) {
	for _, o := range [][]Override{nil, {{"user", "-u", "nor this"}}} {
		_, err := load(t, "[supervisord]\nuser=no such user\n[program:a]\ncommand=x\nstartsecs=x\n", Options{Overrides: o})
		if code(err) != "bad-integer" {
			t.Errorf("%v: %v", o, err)
		}
	}
}

func TestAnyPlugin(t *testing.T) {
	p, err := load(t, "[supervisord]\n[rpcinterface:x]\nsupervisor.rpcinterface_factory=a:b\n", Options{AnyPlugin: true})
	if err != nil || len(p.RPCInterfaces) != 1 || p.RPCInterfaces[0].Known || len(p.Warnings) != 1 || p.Warnings[0].Line != 3 {
		t.Errorf("%+v, %v", p, err)
	}
}

func TestServers(t *testing.T) {
	p := mustLoad(t, "[unix_http_server:u]\nfile=s\nchmod=0770\nchown=root:root\n[inet_http_server]\nport=*:1\n[inet_http_server2]\nport=H:2\nusername=\npassword=\n")
	if len(p.Servers) != 3 || p.ServerURL != "unix://"+p.Here+"/s" {
		t.Fatalf("%+v", p)
	}
	if s := p.Servers[0]; s.Unix || s.Named || s.Host != "" || s.Port != 1 || s.HasAuth {
		t.Errorf("%+v", s)
	}
	if s := p.Servers[1]; s.Host != "h" || !s.HasAuth || s.Username != "" || s.Password != "" {
		t.Errorf("%+v", s)
	}
	if s := p.Servers[2]; !s.Unix || s.Name != "u" || s.Chmod != 0o770 || s.UID != 0 || s.GID != 0 || s.Path != p.Here+"/s" {
		t.Errorf("%+v", s)
	}
	if p := mustLoad(t, "[inet_http_server]\nport=1\n[inet_http_server2]\nport=2\n"); p.ServerURL != "http://localhost:2" {
		t.Errorf("%s", p.ServerURL)
	}
}

func TestStreams(t *testing.T) {
	p := mustLoad(t, `[program:a]
command=x
redirect_stderr=true
stdout_logfile=syslog
stdout_logfile_backups=none
stderr_logfile=x.log
stderr_logfile_maxbytes=0
`)
	q := p.Groups[0].Processes[0]
	if q.Stdout.Kind != LogNone || !q.Stdout.Syslog || q.Stdout.Backups != NoBackups || q.Stderr.Kind != LogNone {
		t.Errorf("%+v", q)
	}
	var codes []string
	for _, w := range p.Warnings {
		codes = append(codes, w.Code)
	}
	if want := []string{"logfile-syslog-deprecated", "stderr_logfile-ignored"}; !slices.Equal(codes, want) {
		t.Errorf("warnings %v", codes)
	}
}

func TestFCGI(t *testing.T) {
	p := mustLoad(t, "[fcgi-program:f]\ncommand=x\nsocket=unix:///run/../%(program_name)s\nsocket_backlog=5\nsocket_owner=root\n")
	want := Socket{URL: "unix:///f", Backlog: 5, Owner: "root", HasOwner: true, UID: 0, GID: -1, Mode: 0o700}
	if got := *p.Groups[0].Socket; got != want {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if s := mustLoad(t, "[fcgi-program:f]\ncommand=x\nsocket=tcp://H:1\n").Groups[0].Socket; s.URL != "tcp://h:1" || s.Mode != -1 || s.UID != -1 {
		t.Errorf("%+v", s)
	}
}

func TestParseDaemonArgs(t *testing.T) {
	a, err := ParseDaemonArgs([]string{"-nc", "f", "--loglevel=DEBUG", "-y5KB", "--profile_options", "x"})
	want := Args{File: "f", Profile: "x", Overrides: []Override{
		{"nodaemon", "-n", "true"}, {"loglevel", "--loglevel", "DEBUG"}, {"logfile_maxbytes", "-y", "5KB"},
	}}
	if err != nil || !reflect.DeepEqual(a, want) {
		t.Errorf("got  %+v, %v\nwant %+v", a, err, want)
	}
	if a, err := ParseDaemonArgs([]string{"-h", "-n", "-n"}); err != nil || !a.Help {
		t.Errorf("%+v, %v", a, err)
	}
	for line, want := range map[string]string{
		"-x": "bad-option", "--no": "bad-option", "-l": "bad-option", "--nodaemon=1": "bad-option", "x": "positional-argument",
		"-n -n": "repeated-option", "-c a --configuration b": "repeated-option", "-n --nodaemon -v": "repeated-option",
		"-e loud": "bad-loglevel", "-m 9": "bad-octal", "-y 5M": "bad-integer", "--minprocs x": "bad-integer",
	} {
		if _, err := ParseDaemonArgs(strings.Fields(line)); code(err) != want {
			t.Errorf("%q: %v, want %s", line, err, want)
		}
	}
}

func TestOverrides(t *testing.T) {
	text := "[supervisord]\nlogfile=a.log\nnodaemon=false\nuser=no such user\n"
	a, err := ParseDaemonArgs([]string{"-n", "-l", "b.log", "-u", "root", "-z", "none", "-e", "WARN", "-d", "/", "-j", ""})
	if err != nil {
		t.Fatal(err)
	}
	p, err := load(t, text, Options{Overrides: a.Overrides})
	if err != nil {
		t.Fatal(err)
	}
	d := p.Daemon
	if !d.NoDaemon || d.Logfile != p.Here+"/b.log" || d.User != "root" || d.UID != 0 || d.LogfileBackups != NoBackups ||
		d.LogLevel != "warn" || d.Directory != "/" || !d.HasDirectory || d.Pidfile != p.Here+"/supervisord.pid" {
		t.Errorf("%+v", d)
	}
	// A value must be valid even if an option wins over it.
	if _, err := load(t, "[supervisord]\nloglevel=loud\n", Options{Overrides: a.Overrides}); code(err) != "bad-loglevel" {
		t.Errorf("%v", err)
	}
	if _, err := load(t, "[supervisord]\n", Options{Overrides: []Override{{"directory", "-d", "/no/such"}}}); code(err) != "no-such-directory" {
		t.Errorf("%v", err)
	}
}

func TestSearchNothing(t *testing.T) {
	dir := t.TempDir()
	_, err := Load(Options{Program: dir + "/a/b/supd", Dir: dir, Environ: []string{}})
	if err != nil && code(err) != "no-such-file" {
		t.Errorf("%v", err)
	}
}

func TestDiff(t *testing.T) {
	base := "[program:a]\ncommand=x\n[program:b]\ncommand=x\n[eventlistener:l]\ncommand=x\nevents=EVENT\n[fcgi-program:f]\ncommand=x\nsocket=unix:///s\n"
	for _, tt := range []struct{ name, old, new, want string }{
		{"same", base, base, "[] [] []"},
		{"a default spelt out", base, strings.Replace(base, "command=x", "command=x\nstartsecs=1", 1), "[] [] []"},
		{"added", base, base + "[program:c]\ncommand=x\n", "[c] [] []"},
		{"removed", base, strings.Replace(base, "[program:b]", "[x]", 1), "[] [] [b]"},
		{"command", base, strings.Replace(base, "command=x", "command=y", 1), "[] [a] []"},
		{"into a group", base, base + "[group:g]\nprograms=a\n", "[g] [] [a]"},
		{"priority of a group", base + "[group:g]\nprograms=a\n", base + "[group:g]\nprograms=a\npriority=1\n", "[] [g] []"},
		{"environment of the daemon", "environment=A=1\n" + base, "environment=A=2\n" + base, "[] [l a b f] []"},
		{"other settings of the daemon", "minfds=10\n" + base, base, "[] [] []"},
		{"auto is like any log", base, strings.Replace(base, "command=x", "command=x\nstdout_logfile=l", 1), "[] [] []"},
		{"another log", strings.Replace(base, "command=x", "command=x\nstdout_logfile=k", 1),
			strings.Replace(base, "command=x", "command=x\nstdout_logfile=l", 1), "[] [a] []"},
		{"events", base, strings.Replace(base, "EVENT", "TICK", 1), "[] [l] []"},
		{"buffer", base, strings.Replace(base, "events", "buffer_size=9\nevents", 1), "[] [l] []"},
		{"mode of a socket", base, base + "socket_mode=0777\nsocket_backlog=1\n", "[] [] []"},
		{"socket", base, strings.Replace(base, "///s", "///t", 1), "[] [f] []"},
		{"a group of one", "[group:a]\nprograms=a\n" + base, base, "[] [] []"},
		{"a listener becomes a program", base, strings.Replace(base, "[eventlistener:l]", "[program:l]\npriority=-1", 1), "[] [l] []"},
		{"numprocs", base, strings.Replace(base, "command=x", "command=x\nnumprocs=2\nprocess_name=%(process_num)d", 1), "[] [a] []"},
		{"an empty directory is set", base, strings.Replace(base, "command=x", "command=x\ndirectory=", 1), "[] [a] []"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			added, changed, removed := Diff(mustLoad(t, tt.old), mustLoad(t, tt.new))
			if got := fmt.Sprint(added, changed, removed); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

func TestSplitCommandIsLate(t *testing.T) {
	p := mustLoad(t, "[program:a]\ncommand='x\n")
	if _, err := SplitCommand(p.Groups[0].Processes[0].Command); err != value.ErrCommandQuote {
		t.Errorf("%v", err)
	}
}

// TestLarge loads a large configuration; its time is looked at by the
// benchmark.
func TestLarge(t *testing.T) {
	p := mustLoad(t, largeConfig(2000))
	if len(p.Groups) != 2000 {
		t.Errorf("%d groups", len(p.Groups))
	}
}

func largeConfig(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "[program:p%d]\ncommand=/bin/sleep %d\nuser=root\ndirectory=/\nstdout_logfile=/tmp/%%(program_name)s.log\nenvironment=A=\"%d\"\n", i, i, i)
	}
	return b.String()
}

func BenchmarkLoad(b *testing.B) {
	for _, n := range []int{1000, 5000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			file := filepath.Join(b.TempDir(), "x.conf")
			if err := os.WriteFile(file, []byte("[supervisord]\n"+largeConfig(n)), 0o644); err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Load(Options{File: file}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func FuzzLoad(f *testing.F) {
	for _, s := range []string{
		"[program:a]\ncommand=%(ENV_V)s\nnumprocs=2\nprocess_name=%(process_num)d\n",
		"[group:g]\nprograms=a,b\n[program:a]\ncommand=x\n[fcgi-program:b]\ncommand=y\n",
		"[eventlistener:l]\ncommand=x\nevents=TICK_5\n[unix_http_server]\nfile=/x\n",
		"environment=A=\"%(here)s\"\nlogfile=syslog\n[DEFAULT]\nautostart=no\n",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if strings.Contains(s, "include") {
			return
		}
		file := filepath.Join(t.TempDir(), "x.conf")
		if err := os.WriteFile(file, []byte("[supervisord]\n"+s), 0o644); err != nil {
			t.Fatal(err)
		}
		o := Options{File: file, Offline: true, Environ: []string{"V=val"}, Dir: "/"}
		p, err := Load(o)
		if err != nil {
			return
		}
		again, err := Load(o)
		if err != nil || !reflect.DeepEqual(p, again) {
			t.Fatalf("loaded twice: %v", err)
		}
		if a, c, r := Diff(p, again); len(a)+len(c)+len(r) > 0 {
			t.Fatalf("differs from itself: %v %v %v", a, c, r)
		}
	})
}

func TestProgramFromOptions(t *testing.T) {
	base := &Plan{File: "/etc/s.conf", Here: "/etc", Daemon: Daemon{Environment: map[string]string{"A": "1", "B": "2"}}}
	list, err := ProgramFromOptions("x", "g", map[string]string{
		"Command": "%(here)s/%(program_name)s %(ENV_A)s", "numprocs": "2", "process_name": "%(group_name)s_%(process_num)d", "environment": `B="3"`,
	}, base)
	if err != nil || len(list) != 2 {
		t.Fatalf("%+v, %v", list, err)
	}
	if p := list[1]; p.Name != "g_1" || p.Group != "g" || p.Section != "program:x" || p.Command != "/etc/x 1" ||
		p.Environment["A"] != "1" || p.Environment["B"] != "3" || p.StartRetries != 3 {
		t.Errorf("%+v", p)
	}
	if base.Daemon.Environment["B"] != "2" {
		t.Error("the plan was edited")
	}
	for _, options := range []map[string]string{nil, {"command": "x", "numprocs": "2"}, {"command": "x", "priority": "high"}} {
		list, err := ProgramFromOptions("x", "g", options, base)
		if _, ok := err.(*config.Problem); !ok || list != nil {
			t.Errorf("%v: %v, %v", options, list, err)
		}
	}
	if _, err := ProgramFromOptions("a:b", "g", map[string]string{"command": "x"}, base); err == nil {
		t.Error("a name with a colon was taken")
	}
}

func TestOwnStreamKeys(t *testing.T) {
	const keys = "stdout_logfile_rotate=Daily\nstdout_logfile_names=dated\nstdout_logfile_compress=true\nstdout_logfile_maxage=7\n" +
		"stdout_logfile=/tmp/a,b.log, syslog, |cat -n, x\nstdout_syslog_tag=tag\nstdout_syslog_facility=Local0\nstdout_logfile_timestamp=on\nstdout_logfile_prefix=%(program_name)s\nstdout_on_full=block\n" +
		"stderr_logfile_rotate=hourly\nstderr_logfile_maxage=-1\n"
	plain, err := load(t, "[supervisord]\n[program:x]\ncommand=y\n", Options{})
	if err != nil {
		t.Fatal(err)
	}
	p, err := load(t, "[supervisord]\n[inet_http_server]\nport=1\nallowed_hosts=a.example, ,b.example\n[program:x]\ncommand=y\n"+keys, Options{})
	if err != nil {
		t.Fatal(err)
	}
	out, errs := p.Groups[0].Processes[0].Stdout, p.Groups[0].Processes[0].Stderr
	want := Stream{MaxBytes: 50 << 20, Backups: 10, Rotate: RotateDaily, Dated: true, Compress: true, MaxAgeDays: 7, Timestamp: true, Prefix: "x", Block: true,
		Kind: LogPath, Path: "/tmp/a,b.log", More: "|cat -n, x\x00", Syslog: true, SyslogTag: "tag", SyslogFacility: 16}
	if out != want {
		t.Errorf("got %+v, want %+v", out, want)
	}
	if want = (Stream{MaxBytes: 50 << 20, Backups: 10, Rotate: RotateHourly}); errs != want {
		t.Errorf("got %+v, want %+v", errs, want)
	}
	if hosts := p.Servers[0].AllowedHosts; !slices.Equal(hosts, []string{"a.example", "b.example"}) {
		t.Errorf("hosts %q", hosts)
	}
	// Each of the keys makes a difference to the group.
	for key := range strings.Lines(keys) {
		if key == "stderr_logfile_maxage=-1\n" {
			continue
		}
		one, err := load(t, "[supervisord]\n[program:x]\ncommand=y\n"+key, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if _, changed, _ := Diff(plain, one); !slices.Equal(changed, []string{"x"}) {
			t.Errorf("%s changes %v", key, changed)
		}
	}
	for _, bad := range []string{"stdout_logfile_rotate=weekly", "stdout_on_full=maybe", "stderr_logfile_names="} {
		_, err := load(t, "[supervisord]\n[program:x]\ncommand=y\n"+bad, Options{})
		if p, ok := err.(*config.Problem); !ok || p.Code != "bad-choice" {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

func TestServerLimits(t *testing.T) {
	keys := "max_connections=100\nmax_followers=10\nmax_body=1MB\nmax_values=5000\nrequest_timeout=5\n"
	p := mustLoad(t, "[inet_http_server]\nport=1\n"+keys+"[unix_http_server:a]\nfile=/a\n"+keys+"[unix_http_server:b]\nfile=/b\n")
	want := Limits{Connections: 100, Followers: 10, Body: 1 << 20, Values: 5000, Seconds: 5}
	for _, s := range p.Servers {
		if s.Path == "/b" && s.Limits != (Limits{}) || s.Path != "/b" && s.Limits != want {
			t.Errorf("%s: %+v", s.Section, s.Limits)
		}
	}
}
