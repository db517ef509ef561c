package main

import (
	"cmp"
	"fmt"
	"os"
	"slices"
	"strings"

	"sup/lib/cli"
	"sup/lib/config"
	"sup/lib/plan"
	"sup/lib/trust"
	"sup/lib/value"
)

func lintVerb() *verb {
	return &verb{
		name:  "lint",
		args:  "[-c FILE] [--strict] [--json] [--offline] [FILE…]",
		short: "find every mistake, and what is likely to be one",
		help: `
Reads the configuration as supervisord does and prints every problem, one a
line:

    FILE:LINE: error|warning: WHAT; hint: HOW TO MEND IT

Errors keep the configuration, or a program in it, from being used, or let
everybody use it. Warnings are of what loads in silence but is hardly meant: misspelt keys, lines that
were swallowed by the value above, comments that cut a value, two programs on
one log file, commands that cannot be found or need a shell, and more.

The exit status is 0 if there is no error (with --strict: no warning either),
1 if there is, 2 for a wrong command line.`,
		opts: []cli.Option{optConfig, {Long: "strict"}, optJSON, optOffline},
		run:  runLint,
	}
}

func runLint(c *command) int {
	files := c.args
	if file, ok := c.opt("configuration"); ok {
		files = append([]string{file}, files...)
	}
	if len(files) == 0 {
		files = []string{""}
	}
	problems := []*config.Problem{}
	for _, file := range files {
		problems = append(problems, lintFile(file, c.has("offline"))...)
	}
	errors, warnings := 0, 0
	for _, p := range problems {
		if p.Severity == config.SeverityError {
			errors++
		} else {
			warnings++
		}
	}
	if c.has("json") {
		if err := writeLint(c, problems, errors, warnings); err != nil {
			return c.fail(err)
		}
	} else {
		for _, p := range problems {
			fmt.Fprintln(c.Out, problemLine(p))
		}
	}
	if errors > 0 || warnings > 0 && c.has("strict") {
		return exitFound
	}
	return exitOK
}

// problemLine is a problem as a person reads it.
func problemLine(p *config.Problem) string {
	line := fmt.Sprintf("%s: %s", p.Severity, p.What())
	if place := p.Place(); place != "" {
		line = place + ": " + line
	}
	if p.Hint != "" {
		line += "; hint: " + p.HintLine()
	}
	return line
}

func writeLint(c *command, problems []*config.Problem, errors, warnings int) error {
	list := make([]jsonProblem, 0, len(problems))
	for _, p := range problems {
		o := problemObject(p)
		o.Severity, o.Code = p.Severity.String(), p.Code
		list = append(list, o)
	}
	return writeJSON(c, map[string]any{"problems": list, "errors": errors, "warnings": warnings})
}

// lintFile returns all problems of a configuration, in the order of the files
// and lines.
func lintFile(file string, offline bool) []*config.Problem {
	o := plan.Options{File: file, Offline: offline, AnyEnv: offline}
	r := plan.Check(o)
	included := partOnly(r.Document)
	if included {
		// Variables may be set in the file that includes it.
		o.AnyEnv = true
		r = plan.Check(o)
	}
	l := &linter{offline: offline, result: r, doc: r.Document, plan: r.Plan}
	l.problems = slices.DeleteFunc(slices.Clone(r.Problems), func(p *config.Problem) bool {
		switch p.Code {
		case config.CodeNoSupervisord, config.CodeUnknownProgram:
			// They stand in other files.
			return included
		case config.CodeIncludeMatchesNothing:
			return offline && strings.HasPrefix(p.Value, "/")
		}
		return false
	})
	if l.doc == nil || len(l.doc.Sections) == 0 || l.reported(config.CodeTooLarge) {
		return l.problems
	}
	l.env = config.Environ(os.Environ())
	l.failed = make(map[string]bool)
	l.failedAt = make(map[config.Pos]bool)
	for _, p := range r.Problems {
		if p.Severity == config.SeverityError {
			l.failed[p.Section+"\x00"+p.Key] = true
			l.failedAt[config.Pos{File: p.File, Line: p.Line}] = true
		}
	}
	l.client()
	l.files()
	l.notes()
	l.sections()
	l.servers()
	l.daemon()
	l.groups()
	l.processes()
	l.logs()
	l.refusedLogs()
	l.sort()
	return l.problems
}

// partOnly tells whether a file is one that others include: it has programs or
// groups, and nothing that is the daemon's, its servers' or the client's.
func partOnly(doc *config.Document) bool {
	if doc == nil {
		return false
	}
	programs := false
	for _, s := range doc.Sections {
		kind, known := config.KindOf(s.Name)
		if !known {
			continue
		}
		switch kind {
		case config.KindProgram, config.KindFCGI, config.KindEventListener, config.KindGroup:
			programs = true
		default:
			return false
		}
	}
	return programs
}

// linter looks at one configuration.
type linter struct {
	offline  bool
	result   *plan.Result
	doc      *config.Document
	plan     *plan.Plan
	env      map[string]string
	problems []*config.Problem
	// failed are the keys, as SECTION NUL KEY, that there is an error with.
	failed map[string]bool
	// failedAt are the lines that an error stands at.
	failedAt map[config.Pos]bool
}

// sort puts the problems into the order of the files and lines, each once.
func (l *linter) sort() {
	order := make(map[string]int, len(l.doc.Files))
	for i, f := range l.doc.Files {
		order[f] = i
	}
	slices.SortStableFunc(l.problems, func(a, b *config.Problem) int {
		return cmp.Or(cmp.Compare(order[a.File], order[b.File]), cmp.Compare(a.Line, b.Line))
	})
	// Some are found twice: a file may be read twice, a value may have the same
	// mistake twice.
	seen := make(map[config.Problem]bool, len(l.problems))
	l.problems = slices.DeleteFunc(l.problems, func(p *config.Problem) bool {
		again := seen[*p]
		seen[*p] = true
		return again
	})
}

// where is what a warning is about.
type where struct {
	pos     config.Pos
	section string
	key     string
	value   string
}

// in is the place of a section.
func in(s *config.Section) where { return where{pos: s.Pos, section: s.Name} }

// at is the place of a key, or of its section if the key is not written.
func (l *linter) at(section, key string) where {
	s := l.doc.Section(section)
	if s == nil {
		return where{pos: config.Pos{File: l.doc.File}, section: section, key: key}
	}
	if e := s.Get(key); e != nil {
		return where{e.Pos, section, key, e.Value}
	}
	w := in(s)
	w.key = key
	return w
}

// written tells whether a key of a section is written in a file.
func (l *linter) written(section, key string) bool {
	s := l.doc.Section(section)
	return s != nil && s.Get(key) != nil
}

// warn adds a warning.
func (l *linter) warn(code string, w where, hint, format string, args ...any) {
	l.add(config.SeverityWarning, code, w, hint, format, args...)
}

// fail adds an error.
func (l *linter) fail(code string, w where, hint, format string, args ...any) {
	l.add(config.SeverityError, code, w, hint, format, args...)
}

func (l *linter) add(sev config.Severity, code string, w where, hint, format string, args ...any) {
	l.problems = append(l.problems, &config.Problem{
		Severity: sev, Code: code, File: w.pos.File, Line: w.pos.Line,
		Section: w.section, Key: w.key, Value: w.value,
		Message: fmt.Sprintf(format, args...), Hint: hint,
	})
}

// reported tells whether a problem of that code was found.
func (l *linter) reported(code string) bool {
	return slices.ContainsFunc(l.problems, func(p *config.Problem) bool { return p.Code == code })
}

// client adds the errors of what the client reads of the file.
func (l *linter) client() {
	if l.doc.Section("supervisorctl") == nil {
		return
	}
	_, problems := config.CheckClient(config.ClientOptions{File: l.doc.File, Offline: l.offline, AnyEnv: l.offline})
	for _, p := range problems {
		if k, ok := config.KindOf(p.Section); ok && (k == config.KindSupervisorctl || k == config.KindCtlPlugin) && p.Key != "" {
			l.problems = append(l.problems, p)
		}
	}
}

// files looks at the files themselves.
func (l *linter) files() {
	if os.Geteuid() != 0 || l.offline {
		return
	}
	for _, f := range l.doc.Files {
		st, err := os.Stat(f)
		if err != nil || !st.Mode().IsRegular() {
			continue
		}
		w := where{pos: config.Pos{File: f, Line: 1}}
		if st.Mode().Perm()&0o002 != 0 {
			l.warn("world-writable", w, "chmod o-w "+value.QuoteWord(f), "every user can write this file, and so run programs as root")
			continue
		}
		if writers, err := trust.Strangers(f); err == nil && len(writers) > 0 {
			l.warn("file-of-others", w, "have it where only root can write", "%v, who can so run programs as root", writers[0])
		}
	}
}
