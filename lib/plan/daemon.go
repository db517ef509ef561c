package plan

import (
	"strings"

	"sup/lib/config"
	"sup/lib/value"
)

// daemon reads [supervisord]. Every key is read, and must be valid, also
// where an option of the command line wins over it.
func (l *loader) daemon(s *config.Section, over map[string]Override) {
	d := &l.plan.Daemon
	v := l.dec.Values(s, config.KindSupervisord, l.names())
	text := func(key, text string) string {
		if o, ok := over[key]; ok {
			return o.Text
		}
		return text
	}
	number := func(key string, n int, parse func(string) (int64, error)) int {
		if o, ok := over[key]; ok {
			if m, err := parse(o.Text); err == nil {
				return int(m)
			}
		}
		return n
	}
	integer := func(key string) int {
		n, _ := v.Int(key)
		return number(key, n, value.ParseInt)
	}
	boolean := func(key string) bool {
		b, _ := v.Bool(key)
		_, on := over[key]
		return b || on
	}

	d.MinFDs = integer("minfds")
	d.MinProcs = integer("minprocs")
	dir := v.Dir("directory")
	d.Directory, d.HasDirectory = text("directory", dir.Text), dir.Set || over["directory"].Flag != ""
	l.daemonUser(v, over)
	octal, _ := v.Octal("umask")
	d.Umask = number("umask", octal, func(s string) (int64, error) {
		n, err := value.ParseOctal(s)
		return int64(n), err
	})
	d.Logfile = l.activityLog(v.PathInDir("logfile").Text, over["logfile"].Text)
	d.LogfileMaxBytes = int64(number("logfile_maxbytes", int(v.Bytes("logfile_maxbytes")), value.ParseBytes))
	d.LogfileBackups = number("logfile_backups", v.Backups("logfile_backups"), config.ParseBackups)
	d.LogLevel = value.Lower(text("loglevel", v.LogLevel("loglevel")))
	pidfile := v.PathInDir("pidfile").Text
	if t := over["pidfile"].Text; t != "" {
		pidfile = t
	}
	d.Pidfile = l.machine.Absolute(pidfile)
	d.Identifier = text("identifier", v.Text("identifier").Text)
	d.NoDaemon = boolean("nodaemon")
	d.Silent = boolean("silent")
	d.ChildLogDir = text("childlogdir", l.childLogDir(v))
	d.NoCleanup = boolean("nocleanup")
	d.StripANSI = boolean("strip_ansi")
	l.stateDir(v)
	d.Environment = v.Environment("environment")
}

// activityLog makes the path of the activity log absolute. An empty option
// does not count.
func (l *loader) activityLog(inFile, option string) string {
	path := inFile
	if option != "" {
		path = option
	}
	if path == "syslog" {
		return path
	}
	return l.machine.Absolute(path)
}

// childLogDir reads childlogdir.
func (l *loader) childLogDir(v *config.Values) string {
	if v.Has("childlogdir") {
		return v.Dir("childlogdir").Text
	}
	return l.machine.TempDir(l.env)
}

// stateDir reads statedir, a key of ours.
func (l *loader) stateDir(v *config.Values) {
	t := v.Text("statedir")
	switch {
	case !t.Set || t.Text == "":
	case strings.EqualFold(t.Text, "none"):
		l.plan.Daemon.StateDir = "none"
	default:
		l.plan.Daemon.StateDir = l.machine.Absolute(t.Text)
	}
}

// daemonUser reads the user. Only the one that counts must exist, which
// checkUser looks at.
func (l *loader) daemonUser(v *config.Values, over map[string]Override) {
	d := &l.plan.Daemon
	d.UID, d.GID = -1, -1
	t := v.Text("user")
	d.User, d.HasUser = t.Text, t.Set
	l.checkUser = func() { d.UID, d.GID = v.UserID("user", t) }
	if o, given := over["user"]; given {
		d.User, d.HasUser = o.Text, true
		l.checkUser = func() { l.userOption(o) }
	}
}

// userOption looks up the user that an option of the command line names.
func (l *loader) userOption(o Override) {
	d := &l.plan.Daemon
	var err error
	if d.UID, d.GID, err = l.machine.User(o.Text); err != nil && !l.opts.Offline {
		p := argProblem(err, o.Flag, o.Text)
		p.Code = config.CodeNoSuchUser
		l.report(p)
	}
}
