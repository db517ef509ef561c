package plan

import (
	"sup/lib/config"
)

// ProgramFromOptions makes the processes of a program that stands in no file:
// options are the keys of its [program:NAME] section, in any case. What base
// says of the daemon (its environment, where the main file lies) holds for it
// too. The error is the first problem, a *config.Problem without a place.
func ProgramFromOptions(name, group string, options map[string]string, base *Plan) ([]Process, error) {
	l := newLoader(Options{AnyPlugin: true})
	l.plan = &Plan{File: base.File, Here: base.Here, Daemon: base.Daemon}
	l.doc = config.NewDocument()
	l.doc.File, l.doc.Here = base.File, base.Here
	l.dec = &config.Decoder{Doc: l.doc, Machine: l.machine, Report: l.report}
	l.extendEnv()
	section := l.doc.AddSection("program:" + name)
	for key, text := range options {
		l.doc.Set(section.Name, key, text)
	}
	processes := l.processes(section, config.KindProgram, group)
	for _, p := range l.problems {
		if p.Severity == config.SeverityError {
			return nil, p
		}
	}
	for i := range processes {
		l.mergeEnvironment(&processes[i])
	}
	return processes, nil
}
