package main

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"sup/lib/config"
	"sup/lib/plan"
	"sup/lib/trust"
	"sup/lib/value"
)

// processes looks at each program: one process of a section stands for all.
func (l *linter) processes() {
	seen := make(map[string]bool)
	paths := make(map[string]notRunnable)
	for i := range l.plan.Groups {
		g := &l.plan.Groups[i]
		for j := range g.Processes {
			p := &g.Processes[j]
			if seen[p.Section] {
				continue
			}
			seen[p.Section] = true
			l.command(p, paths)
			l.contradictions(g, p)
		}
	}
}

// contradictions warns of settings of a program that do not go together.
func (l *linter) contradictions(g *plan.Group, p *plan.Process) {
	at := func(key string) where { return l.at(p.Section, key) }
	if p.RedirectStderr {
		for _, key := range []string{"stderr_capture_maxbytes", "stderr_events_enabled", "stderr_syslog"} {
			if l.written(p.Section, key) && (p.Stderr.EventsEnabled || p.Stderr.Syslog || p.Stderr.CaptureMaxBytes != 0) {
				l.warn("no-effect", at(key), "remove the key, or redirect_stderr", "standard error goes to standard output")
			}
		}
	}
	l.streamContradictions(p, "stdout", &p.Stdout)
	if !p.RedirectStderr {
		l.streamContradictions(p, "stderr", &p.Stderr)
	}
	if g.Kind == plan.KindEventListener && (p.Stdout.EventsEnabled || p.Stdout.CaptureMaxBytes > 0) {
		key := "stdout_events_enabled"
		if !p.Stdout.EventsEnabled {
			key = "stdout_capture_maxbytes"
		}
		l.warn("no-effect", at(key), "remove the key", "the standard output of an event listener is for its answers")
	}
	if p.HasUser && os.Geteuid() != 0 && !l.offline && p.UID >= 0 && p.UID != os.Geteuid() {
		l.warn("user-without-root", at("user"), "start the daemon as root, or remove the key", "only root can start programs as another user")
	}
	if l.written(p.Section, "numprocs_start") && !strings.Contains(l.at(p.Section, "process_name").value+p.Command, "process_num") &&
		!l.written(p.Section, "numprocs") {
		l.warn("no-effect", at("numprocs_start"), "remove the key", "there is one process, and nothing uses its number")
	}
}

// streamContradictions warns of settings of a log that have no effect.
func (l *linter) streamContradictions(p *plan.Process, channel string, s *plan.Stream) {
	key := channel + "_logfile"
	noEffect := func(suffix, hint, format string, args ...any) {
		if l.written(p.Section, key+suffix) {
			l.warn("no-effect", l.at(p.Section, key+suffix), hint, format, args...)
		}
	}
	if s.Backups == plan.NoBackups {
		for _, suffix := range []string{"_compress", "_maxage", "_names"} {
			noEffect(suffix, "write a number for "+key+"_backups", "no rotated file is kept")
		}
		return
	}
	if s.Dated {
		return
	}
	for _, why := range []struct {
		yes  bool
		text string
	}{
		{s.Backups == 0, key + "_backups=0"}, {s.Compress, key + "_compress"}, {s.MaxAgeDays > 0, key + "_maxage"},
	} {
		if why.yes {
			noEffect("_names", "write "+key+"_names = dated", "with %s rotated files have dated names", why.text)
			return
		}
	}
}

// command looks at a command as it will be started.
func (l *linter) command(p *plan.Process, paths map[string]notRunnable) {
	w := l.at(p.Section, "command")
	if l.failed[p.Section+"\x00command"] || w.value == "" && !l.written(p.Section, "command") {
		return
	}
	argv, err := plan.SplitCommand(p.Command)
	if err != nil {
		l.cannotSplit(w, err)
		return
	}
	if len(argv) == 0 {
		l.fail("bad-command", w, "write a command", "the command is empty")
		return
	}
	if !isShell(argv[0]) && l.shellSyntax(w, argv) {
		return
	}
	if hint := daemonizes(argv); hint != "" {
		l.warn("command-daemonizes", w, hint, "%s goes into the background, and the daemon loses it", filepath.Base(argv[0]))
	}
	if strings.Contains(argv[0], "%(") {
		return // a variable that only the daemon has
	}
	if strings.Contains(argv[0], "/") && !strings.HasPrefix(argv[0], "/") && !strings.HasPrefix(argv[0], "~") && p.HasDirectory {
		l.warn("relative-command", w, "write the whole path",
			"%s is looked for in the daemon's directory, not in %s", argv[0], p.Directory)
	} else if !l.offline {
		l.find(w, p, argv[0], paths)
	}
}

// cannotSplit reports a command whose words cannot be told apart. Where a
// comment inside of quotation marks is the reason, which is told already, that
// becomes the error.
func (l *linter) cannotSplit(w where, err error) {
	for _, p := range l.problems {
		if p.Code == codeCut && p.Section == w.section && p.Key == w.key {
			p.Severity, p.Code = config.SeverityError, "bad-command"
			return
		}
	}
	hint := `close it, or put a backslash before it`
	if err == value.ErrCommandEscape {
		hint = `write \\ for a backslash`
	}
	l.fail("bad-command", w, hint, "the command cannot be split into words: %v", err)
}

// find warns of a program that cannot be found or run.
func (l *linter) find(w where, p *plan.Process, name string, paths map[string]notRunnable) {
	if strings.HasPrefix(name, "~") {
		l.warn("command-not-found", w, "write the whole path", `"~" is not expanded in commands`)
		return
	}
	path, own := p.Environment["PATH"]
	if !own {
		var set bool
		if path, set = l.env["PATH"]; !set {
			path = "/bin:/usr/bin:/usr/local/bin"
		}
	}
	key := path + "\x00" + name
	problem, known := paths[key]
	if !known {
		problem.file, problem.text, problem.hint = cannotRun(name, path)
		paths[key] = problem
	}
	if problem.text != "" {
		l.warn("command-not-found", w, problem.hint, "%s", problem.text)
		return
	}
	l.othersCommand(w, p, problem.file)
}

// othersCommand warns of a program of root's that somebody else can exchange.
func (l *linter) othersCommand(w where, p *plan.Process, file string) {
	if !l.rootRuns(p) {
		return
	}
	writers, err := trust.Strangers(file)
	if err != nil || len(writers) == 0 {
		return
	}
	l.warn("command-of-others", w, "write user = NAME, or have it where only root can write",
		"root runs %s, but %v, who can become root so", file, writers[0])
}

// rootRuns tells whether a program runs as root if root starts the daemon.
func (l *linter) rootRuns(p *plan.Process) bool {
	if os.Geteuid() != 0 || l.offline {
		return false
	}
	if p.HasUser {
		return p.UID == 0
	}
	return !l.plan.Daemon.HasUser || l.plan.Daemon.UID == 0
}

// notRunnable says why a program cannot be run, and how to mend that; both are
// empty if it can, and file is what is run.
type notRunnable struct{ file, text, hint string }

// cannotRun looks for a program as the daemon does.
func cannotRun(name, path string) (file, problem, hint string) {
	file = name
	if !strings.Contains(name, "/") {
		file = ""
		for _, dir := range filepath.SplitList(path) {
			if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
				file = filepath.Join(dir, name)
				break
			}
		}
		if file == "" {
			return "", "cannot find " + name + " in PATH", "install it, or write its whole path"
		}
	}
	st, err := os.Stat(file)
	switch {
	case err != nil:
		return file, "cannot find " + file, "install it, or correct the path"
	case st.IsDir():
		return file, file + " is a directory", "name the program in it"
	case st.Mode().Perm()&0o111 == 0:
		return file, file + " is not executable", "chmod +x " + value.QuoteWord(file)
	}
	return file, "", ""
}

// isShell reports whether a program interprets what follows by itself.
func isShell(name string) bool {
	return slices.Contains([]string{"sh", "bash", "dash", "zsh", "ksh", "ash", "fish", "busybox"}, filepath.Base(name))
}

// operators are words that only a shell understands.
var operators = []string{"&&", "||", "|", ";", "&", ">", ">>", "<", "<<", "2>", "2>>", "&>", "2>&1", ">&2", "1>&2"}

var variable = regexp.MustCompile(`\$(\{|\(|[A-Za-z_])|` + "`")

// shellSyntax warns of words that need a shell. It reports whether the first
// word is one, so that there is no program to look for.
func (l *linter) shellSyntax(w where, argv []string) (noProgram bool) {
	const hint = "write command = sh -c '…', or put it into a script"
	first := argv[0]
	if i := strings.IndexByte(first, '='); i > 0 && !strings.Contains(first[:i], "/") {
		l.warn("shell-syntax", w, "write environment = "+first[:i]+`="…"`, "%q is taken for the program to run", first)
		return true
	}
	if first == "cd" || first == "source" || first == "export" || first == "exec" || first == "." || first == "ulimit" {
		l.warn("shell-syntax", w, hint, "%s is a command of the shell, and there is none", first)
		return true
	}
	inCode := codeAfter(argv)
	for i, word := range argv {
		if slices.Contains(operators, word) || i > 0 && (strings.HasPrefix(word, ">/") || strings.HasPrefix(word, ">>/") || strings.HasPrefix(word, "2>/")) {
			l.warn("shell-syntax", w, hint, "%q is passed to the program as it is, for there is no shell", word)
			return false
		}
		if i != inCode && variable.MatchString(word) {
			l.warn("shell-syntax", w, "write %(ENV_NAME)s for a variable, or "+strings.TrimPrefix(hint, "write "), "%q is passed to the program as it is, for there is no shell", word)
			return false
		}
	}
	return false
}

// codeAfter is the index of the word that holds a program for an interpreter
// (perl -e CODE), or -1.
func codeAfter(argv []string) int {
	for i := 1; i < len(argv); i++ {
		switch argv[i-1] {
		case "-c", "-e", "-r", "-E":
			return i
		}
		if strings.HasPrefix(filepath.Base(argv[0]), "awk") && i == 1 {
			return i
		}
	}
	return -1
}
