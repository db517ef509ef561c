package plan

import (
	"os"
	"sort"
	"strings"

	"sup/lib/config"
)

// Options say what to load and how.
type Options struct {
	// File is the configuration file (-c); "" searches for it.
	File string
	// Text is what the file says, if that was read before.
	Text *string
	// Program is how the daemon was called (argument 0), where the search
	// begins; "" is os.Args[0].
	Program string
	// Overrides are options of the command line that win over the file.
	Overrides []Override
	// Offline leaves out the checks that need the machine the file is for:
	// users, groups, directories, plug-ins.
	Offline bool
	// AnyEnv takes variables of the environment that are not set for right, as
	// [config.Decoder] has it.
	AnyEnv bool
	// AnyPlugin lets sections name plug-ins that are not built in, with a
	// warning each; without it they are errors.
	AnyPlugin bool
	// Obeyed says that the configuration is not only looked at: one that was
	// found, and not named, must not be others' to change if root obeys it.
	Obeyed bool
	// Environ is the environment that expressions refer to, NAME=value; nil
	// is the process's own.
	Environ []string
	// Dir is what relative paths are relative to; "" is the current
	// directory.
	Dir string
}

// Load reads a configuration and makes a plan of it. The error is the first
// problem, a *config.Problem; warnings are in the plan.
func Load(o Options) (*Plan, error) {
	r := Check(o)
	for _, p := range r.Problems {
		if p.Severity == config.SeverityError {
			return nil, p
		}
	}
	return r.Plan, nil
}

// Result is what Check found.
type Result struct {
	// Plan is what can be made of the file; where there is an error it
	// holds the default.
	Plan *Plan
	// Document is the file as it stands; nil if it could not be found.
	Document *config.Document
	// Problems are all errors, and the warnings that Supervisor gives too,
	// in the order found.
	Problems []*config.Problem
}

// Failed reports whether there is an error among the problems.
func (r *Result) Failed() bool {
	for _, p := range r.Problems {
		if p.Severity == config.SeverityError {
			return true
		}
	}
	return false
}

// Check is Load for a checker: it goes on after errors and returns all.
func Check(o Options) *Result {
	l := newLoader(o)
	l.load()
	return &Result{Plan: l.plan, Document: l.doc, Problems: l.problems}
}

// loader is the state of one loading.
type loader struct {
	opts    Options
	env     map[string]string
	host    string
	machine *config.Machine
	doc     *config.Document
	dec     *config.Decoder
	plan    *Plan
	// checkUser looks up the user that the daemon is to become.
	checkUser func()

	problems []*config.Problem
	reported map[config.Problem]bool
	// made counts the processes, errors the problems that are errors. over
	// tells that a bound was passed: the rest is not read.
	made, errors int
	over         bool
}

// maxErrors is the number of errors after which the rest is not read.
const maxErrors = 1000

func newLoader(o Options) *loader {
	if o.Environ == nil {
		o.Environ = os.Environ()
	}
	l := &loader{
		opts:     o,
		env:      config.Environ(o.Environ),
		host:     config.HostName(),
		plan:     &Plan{},
		reported: make(map[config.Problem]bool),
	}
	l.machine = config.NewMachine(l.env, o.Dir)
	return l
}

// report takes a problem, once: a section is read anew for each process and
// for each group it is in.
func (l *loader) report(p *config.Problem) {
	if l.reported[*p] {
		return
	}
	l.reported[*p] = true
	l.problems = append(l.problems, p)
	if p.Severity == config.SeverityError {
		l.errors++
		l.over = l.over || p.Code == config.CodeTooLarge || l.errors >= maxErrors
	}
}

func (l *loader) load() {
	overrides := l.checkOverrides()
	file := l.opts.File
	if file == "" {
		file = l.search()
		if file == "" {
			return
		}
	}
	l.doc = config.Read(config.Reading{
		File: file, Text: l.opts.Text, Dir: l.machine.Dir, Includes: true, Env: l.env, AnyEnv: l.opts.AnyEnv, Host: l.host,
	})
	l.plan.File, l.plan.Here, l.plan.Files = l.doc.File, l.doc.Here, l.doc.Files
	unread := false
	for _, p := range l.doc.Problems {
		l.report(p)
		switch p.Code {
		case config.CodeNoSuchFile, config.CodeUnreadableFile, config.CodeNotUTF8, config.CodeTooLarge:
			unread = true
		}
	}
	l.dec = &config.Decoder{Doc: l.doc, Machine: l.machine, Offline: l.opts.Offline, AnyEnv: l.opts.AnyEnv, Report: l.report}
	if unread {
		return
	}
	s := l.doc.Section("supervisord")
	if s == nil {
		l.report(l.noSupervisord())
	}
	l.daemon(s, overrides)
	l.extendEnv()
	l.rpcInterfaces()
	l.groups()
	l.servers()
	// The daemon's user is looked up when all else has been read.
	l.checkUser()
	l.warnings()
}

// search finds the file at the usual places.
func (l *loader) search() string {
	program := l.opts.Program
	if program == "" {
		program = os.Args[0]
	}
	paths := config.SearchPaths(program)
	file := config.Search(paths, l.machine.Dir)
	if file == "" {
		l.report(&config.Problem{
			Code:    config.CodeNoSuchFile,
			Message: "cannot find a configuration file at " + strings.Join(paths, ", "),
			Hint:    "name it with -c FILE",
		})
	}
	if p := config.Obey(file, l.machine.Dir); p != nil && l.opts.Obeyed {
		l.report(p)
		return ""
	}
	return file
}

// noSupervisord makes the problem of a missing [supervisord], with a hint at
// what may have been meant.
func (l *loader) noSupervisord() *config.Problem {
	p := &config.Problem{
		Code:    "no-supervisord-section",
		File:    l.doc.File,
		Message: "there is no section [supervisord]",
		Hint:    "add a line [supervisord]; if the file is meant to be included, check the one that includes it",
	}
	for _, s := range l.doc.Sections {
		if _, known := config.KindOf(s.Name); !known && config.Nearest(strings.TrimSpace(s.Name), []string{"supervisord"}) != "" {
			p.File, p.Line = s.Pos.File, s.Pos.Line
			p.Hint = "write [supervisord] instead of [" + s.Name + "]"
			return p
		}
	}
	return p
}

// names are the names known to expressions everywhere.
func (l *loader) names() config.Names {
	return config.Names{Env: l.env, Here: l.doc.Here, Host: l.host}
}

// extendEnv makes the variables of [supervisord] known to expressions.
func (l *loader) extendEnv() {
	if len(l.plan.Daemon.Environment) == 0 {
		return
	}
	env := make(map[string]string, len(l.env)+len(l.plan.Daemon.Environment))
	for k, v := range l.env {
		env[k] = v
	}
	for k, v := range l.plan.Daemon.Environment {
		env[k] = v
	}
	l.env = env
}

// warnings puts the warnings found into the plan.
func (l *loader) warnings() {
	for _, p := range l.problems {
		if p.Severity == config.SeverityWarning {
			l.plan.Warnings = append(l.plan.Warnings, Warning{
				Code: p.Code, Message: p.What(), File: p.File, Line: p.Line,
			})
		}
	}
}

// sectionsOf returns the sections of a kind in the order of the files.
func (l *loader) sectionsOf(k config.Kind) []*config.Section {
	var list []*config.Section
	for _, s := range l.doc.Sections {
		if kind, ok := config.KindOf(s.Name); ok && kind == k {
			list = append(list, s)
		}
	}
	return list
}

// afterColon is the part of a section's name after the colon, as it stands.
func afterColon(section string) string {
	_, name, _ := strings.Cut(section, ":")
	return name
}

// sortGroups puts groups into the order of starting.
func sortGroups(groups []Group) {
	sort.SliceStable(groups, func(i, j int) bool {
		a, b := &groups[i], &groups[j]
		if a.Priority != b.Priority {
			return a.Priority < b.Priority
		}
		return a.Name < b.Name
	})
}
