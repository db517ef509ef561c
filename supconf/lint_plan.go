package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"sup/lib/access"
	"sup/lib/config"
	"sup/lib/plan"
	"sup/lib/safepath"
	"sup/lib/value"
)

// servers looks at the servers and at how the client reaches them.
func (l *linter) servers() {
	seen := make(map[string]string)
	for _, s := range l.plan.Servers {
		address := s.Path
		if !s.Unix {
			address = fmt.Sprintf("%s:%d", s.Host, s.Port)
		}
		if first, again := seen[address]; again && address != ":0" && address != "" {
			l.fail("same-address", l.at(s.Section, addressKey(s)), "give them different addresses", "[%s] has the same address", first)
		}
		seen[address] = s.Section
		l.auth(&s)
	}
	if len(l.plan.Servers) > 0 && !l.mainInterface() {
		s := l.plan.Servers[0]
		l.warn("no-rpcinterface", l.at(s.Section, ""),
			"add [rpcinterface:supervisor] with "+config.FactoryKey+" = "+config.MainRPCFactory,
			"without [rpcinterface:supervisor] the server offers no methods, and supctl cannot do anything")
	}
	l.serverURL()
}

func addressKey(s plan.Server) string {
	if s.Unix {
		return "file"
	}
	return "port"
}

// mainInterface reports whether the main RPC interface is there, or one was
// meant to be.
func (l *linter) mainInterface() bool {
	for _, r := range l.plan.RPCInterfaces {
		if plan.PluginName(r.Factory) == config.MainRPCFactory {
			return true
		}
	}
	return l.doc.Section("rpcinterface:supervisor") != nil
}

// auth looks at who can reach a server.
func (l *linter) auth(s *plan.Server) {
	l.roles(s)
	open := !s.AsksWho() && (s.Roles == nil || slices.ContainsFunc(s.Roles, func(g access.Grant) bool { return g.Role > access.Read }))
	if s.HasAuth && s.Username == "" && s.Password == "" {
		l.warn("auth-off", l.at(s.Section, "username"), "write a user name", "an empty user name switches the password off")
	}
	if s.HasAuth && s.Username != "" && s.Password == "" {
		l.warn("empty-password", l.at(s.Section, "password"), "write a password", "the password is empty, and needs no guessing")
	}
	if digest, ok := strings.CutPrefix(s.Password, "{SHA}"); ok && strings.ToLower(digest) != digest {
		l.warn("sha-upper-case", l.at(s.Section, "password"), "write it in lower case", "the SHA-1 digest is compared in lower case, so no password matches")
	}
	if s.Unix {
		if s.Chmod&0o002 != 0 && s.Roles == nil {
			w := l.at(s.Section, "chmod")
			l.warn("open-socket", w, "write chmod = 0700, or 0770 and chown", "every user can connect to the socket")
		}
		return
	}
	l.secrets(s)
	if open && s.Port != 0 && !s.Loopback() {
		l.fail("open-server", l.at(s.Section, "port"), "add username and password, or listen on 127.0.0.1",
			"everybody who reaches the port can run programs as the daemon's user")
	}
}

// serverURL warns if the client would speak to no server of this file.
func (l *linter) serverURL() {
	if l.doc.Section("supervisorctl") == nil || len(l.plan.Servers) == 0 {
		return
	}
	c, err := config.LoadClient(config.ClientOptions{File: l.doc.File, Offline: true})
	if err != nil {
		return
	}
	for _, s := range l.plan.Servers {
		if l.failed[s.Section+"\x00"+addressKey(s)] {
			return
		}
		if s.Unix {
			if c.ServerURL == "unix://"+s.Path {
				return
			}
			continue
		}
		scheme, defaultPort := "http://", "80"
		if s.TLS() {
			scheme, defaultPort = "https://", "443"
		}
		if rest, ok := strings.CutPrefix(c.ServerURL, scheme); ok {
			chost, cport, _ := strings.Cut(strings.TrimRight(rest, "/"), ":")
			if cport == "" {
				cport = defaultPort
			}
			// A server on every address is reached under any name, and
			// other names of one machine are not ours to judge.
			sameHost := s.Host == "" || chost == s.Host || plan.Loopback(chost) && s.Loopback() || !plan.Loopback(chost)
			if cport == fmt.Sprint(s.Port) && sameHost {
				return
			}
		}
	}
	l.warn("serverurl-mismatch", l.at("supervisorctl", "serverurl"), "write serverurl = "+l.plan.ServerURL,
		"%s is none of the servers of this configuration", c.ServerURL)
}

// daemon looks at settings of [supervisord] that have no effect.
func (l *linter) daemon() {
	d := &l.plan.Daemon
	const section = "supervisord"
	if d.NoDaemon {
		for _, key := range []string{"umask", "directory"} {
			if l.written(section, key) {
				l.warn("no-effect", l.at(section, key), "remove the key, or nodaemon", "it acts only when the daemon goes into the background")
			}
		}
	} else if d.Silent {
		l.warn("no-effect", l.at(section, "silent"), "remove the key", "it acts only with nodaemon")
	}
	if device(d.Logfile) && d.LogfileMaxBytes != 0 {
		l.warn("log-on-device", l.at(section, "logfile"), "write logfile_maxbytes = 0", "%s cannot be rotated", d.Logfile)
	}
	l.stateDir()
	if d.HasUser && d.UID > 0 && os.Geteuid() != 0 && d.UID != os.Geteuid() && !l.offline {
		l.warn("user-without-root", l.at(section, "user"), "start the daemon as root, or remove the key", "only root can become another user")
	}
}

// stateDir looks whether others than the daemon's user could replace the state
// directory: supd does not start then.
func (l *linter) stateDir() {
	d := &l.plan.Daemon
	if l.offline || d.StateDir == "" || d.StateDir == "none" {
		return
	}
	writers, _ := safepath.Replacers(d.StateDir)
	for _, w := range writers {
		if d.HasUser && w.UID == d.UID {
			continue
		}
		l.fail("unsafe-statedir", l.at("supervisord", "statedir"), "name a directory below /run, or remove the key",
			"supd does not start: %s, who could put another directory in the place of %s", w, d.StateDir)
		return
	}
}

// device reports whether a path is one that cannot be rotated.
func device(path string) bool {
	return strings.HasPrefix(path, "/dev/") || strings.HasPrefix(path, "/proc/self/fd/")
}

// groups looks at groups and their names.
func (l *linter) groups() {
	groups := make(map[string]string)
	programs := make(map[string][]string)
	for i := range l.plan.Groups {
		g := &l.plan.Groups[i]
		section := l.groupSection(g)
		if first, again := groups[g.Name]; again {
			l.warn("same-name", l.at(section, ""), "rename one of them",
				"a group %s is made by [%s] too; only the first in order of priority is run", g.Name, first)
		} else {
			groups[g.Name] = section
		}
		if len(g.Processes) == 0 {
			l.emptyGroup(g, section)
		}
		l.plainName(l.at(section, ""), g.Name)
		names := make(map[string]bool)
		twice := make(map[string]bool)
		for j := range g.Processes {
			p := &g.Processes[j]
			l.plainName(l.at(p.Section, "process_name"), p.Name)
			if names[p.Name] && !twice[p.Name] && !l.failed[p.Section+"\x00process_name"] {
				twice[p.Name] = true
				l.warn("same-name", l.at(p.Section, "process_name"), "use %(process_num)d or %(program_name)s in process_name",
					"two processes of the group %s have the name %q; only the last is run", g.Name, p.Name)
			}
			names[p.Name] = true
			of := programs[p.Section]
			if g.Kind == plan.KindGroup && (len(of) == 0 || of[len(of)-1] != g.Name) {
				programs[p.Section] = append(of, g.Name)
			}
		}
	}
	for _, s := range l.doc.Sections {
		if of := programs[s.Name]; len(of) > 1 {
			l.warn("program-in-two-groups", in(s), "leave it in one of them", "it is in the groups %s, and runs once in each", strings.Join(of, ", "))
		}
	}
}

// plainName reports a name of several lines, or with what acts on a terminal.
// Where it is shown, and in events, it is not what it is.
func (l *linter) plainName(w where, name string) {
	if l.failed[w.section+"\x00"+w.key] {
		return // the name is no name, which is told already
	}
	if plain := value.Token(name); plain != name {
		l.fail("control-character", w, "write for example "+strings.Join(strings.FieldsFunc(name, func(r rune) bool {
			return value.Token(string(r)) != string(r)
		}), "_"), "the name %q has a blank or a control character, and stands as %s wherever it is shown", name, plain)
	}
}

// groupSection is the section that made a group.
func (l *linter) groupSection(g *plan.Group) string {
	if g.Kind != plan.KindGroup && len(g.Processes) > 0 {
		return g.Processes[0].Section
	}
	name := string(g.Kind) + ":" + g.Name
	if l.doc.Section(name) == nil {
		// The name was written with blanks around it.
		for _, s := range l.doc.Sections {
			if prefix, rest, _ := strings.Cut(s.Name, ":"); prefix == string(g.Kind) && strings.TrimSpace(rest) == g.Name {
				return s.Name
			}
		}
	}
	return name
}

// emptyGroup warns of a group without processes.
func (l *linter) emptyGroup(g *plan.Group, section string) {
	if l.failed[section+"\x00programs"] || l.failed[section+"\x00numprocs"] {
		return
	}
	if g.Kind == plan.KindGroup {
		if s := l.doc.Section(section); s != nil && s.Get("programs") == nil && misspelt(s, "programs") {
			return
		}
		l.warn("empty-group", l.at(section, "programs"), "name its programs, or remove the section", "the group has no programs")
		return
	}
	l.warn("no-processes", l.at(section, "numprocs"), "write numprocs = 1; autostart = false keeps a program from being started",
		"no process results from numprocs")
}

// logs looks for log files that several writers share, or that cannot be
// rotated.
func (l *linter) logs() {
	type use struct{ section, channel string }
	users := make(map[string]use)
	warned := make(map[use]bool)
	if d := l.plan.Daemon.Logfile; d != "syslog" {
		users[d] = use{"supervisord", ""}
	}
	check := func(p *plan.Process, channel string, s *plan.Stream) {
		if s.Kind != plan.LogPath || s.Path == "" {
			return
		}
		key := channel + "_logfile"
		me := use{p.Section, channel}
		if warned[me] {
			return
		}
		w := l.at(p.Section, key)
		if device(s.Path) {
			// That it is not rotated matters only to who asks for it.
			if s.MaxBytes != 0 && s.Path != "/dev/null" && l.written(p.Section, key+"_maxbytes") {
				warned[me] = true
				l.warn("log-on-device", l.at(p.Section, key+"_maxbytes"), "write "+key+"_maxbytes = 0", "%s is not rotated", s.Path)
			}
			return
		}
		first, shared := users[s.Path]
		if !shared {
			users[s.Path] = me
			return
		}
		switch {
		case first.section == "supervisord":
			warned[me] = true
			l.warn("shared-log", w, "name another file", "%s is the daemon's own log", s.Path)
		case first.section == p.Section && first.channel == channel:
			warned[me] = true
			l.warn("shared-log", w, "use %(process_num)d in the name", "several processes of the section write to %s%s", s.Path, rotating(s))
		case first.section == p.Section:
			warned[me] = true
			l.warn("shared-log", w, "write redirect_stderr = true to have both in one file", "standard output and standard error write to %s%s", s.Path, rotating(s))
		default:
			warned[me] = true
			l.warn("shared-log", w, "name another file", "[%s] writes to %s too%s", first.section, s.Path, rotating(s))
		}
	}
	for i := range l.plan.Groups {
		for j := range l.plan.Groups[i].Processes {
			p := &l.plan.Groups[i].Processes[j]
			check(p, "stdout", &p.Stdout)
			check(p, "stderr", &p.Stderr)
		}
	}
}

// refusedLogs looks for logs that root's daemon would not be allowed to write, or
// would not write since somebody else has his hands in their path: their programs
// cannot be started.
func (l *linter) refusedLogs() {
	d := &l.plan.Daemon
	if l.offline || os.Geteuid() != 0 || d.HasUser && d.UID != 0 {
		return
	}
	refused := make(map[where]bool)
	check := func(section, key, path string) {
		w := l.at(section, key)
		if !strings.HasPrefix(path, "/") || device(path) || refused[w] {
			return
		}
		var err *safepath.Error
		if errors.As(safepath.CheckLog(path, false), &err) {
			refused[w] = true
			what, hint := err.Parts()
			l.fail("refused-log", w, hint, "the log %s cannot be written: %s", path, what)
		}
	}
	check("supervisord", "logfile", d.Logfile)
	stream := func(p *plan.Process, key string, s *plan.Stream) {
		if s.Kind == plan.LogPath {
			check(p.Section, key, s.Path)
		}
		for more := range strings.SplitSeq(s.More, "\x00") {
			check(p.Section, key, more)
		}
	}
	for i := range l.plan.Groups {
		for j := range l.plan.Groups[i].Processes {
			p := &l.plan.Groups[i].Processes[j]
			stream(p, "stdout_logfile", &p.Stdout)
			stream(p, "stderr_logfile", &p.Stderr)
		}
	}
}

// rotating says what comes of sharing a log that is rotated.
func rotating(s *plan.Stream) string {
	if s.MaxBytes == 0 {
		return ""
	}
	return "; with Supervisor such a log is spoilt when it is rotated"
}
