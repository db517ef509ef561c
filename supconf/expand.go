package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"sup/lib/cli"
	"sup/lib/config"
	"sup/lib/plan"
	"sup/lib/value"
)

func expandVerb() *verb {
	return &verb{
		name:  "expand",
		args:  "[-c FILE] [--offline]",
		short: "print the effective configuration as one commented file",
		help: `
Prints the configuration as one file that means the same: what is included is
merged in, expressions are replaced by what they stand for, defaults are
written out. Above each value a comment tells the file and line it comes from,
or "default". Expressions that differ from process to process stay, and so do
those whose value the file format cannot hold.

The exit status is 2 if the configuration cannot be used.`,
		opts: []cli.Option{optConfig, optOffline},
		run:  runExpand,
	}
}

func runExpand(c *command) int {
	file, _ := c.opt("configuration")
	switch {
	case len(c.args) > 1 || len(c.args) == 1 && file != "":
		return c.usage(errors.New("want one file"))
	case len(c.args) == 1:
		file = c.args[0]
	}
	r := plan.Check(plan.Options{File: file, Offline: c.has("offline")})
	for _, p := range r.Problems {
		if p.Severity == config.SeverityError {
			return c.fail(p)
		}
	}
	out, err := newExpander(r, c.has("offline")).printout()
	if err != nil {
		return c.fail(err)
	}
	fmt.Fprintf(c.Out, "; The effective configuration of %s\n", r.Document.File)
	for _, f := range r.Document.Files[1:] {
		fmt.Fprintf(c.Out, "; with %s\n", f)
	}
	fmt.Fprintln(c.Out)
	if _, err := out.WriteTo(c.Out); err != nil {
		return c.fail(err)
	}
	return exitOK
}

// expander makes a Printout of what a configuration means.
type expander struct {
	doc  *config.Document
	plan *plan.Plan
	dec  *config.Decoder
	env  map[string]string
	host string
	// groups are the names of the groups that each section is in.
	groups map[string][]string
	// kill is killasgroup of each section, whose default is another key.
	kill map[string]bool
}

func newExpander(r *plan.Result, offline bool) *expander {
	x := &expander{
		doc:    r.Document,
		plan:   r.Plan,
		env:    config.Environ(os.Environ()),
		host:   config.HostName(),
		groups: make(map[string][]string),
		kill:   make(map[string]bool),
	}
	x.dec = &config.Decoder{
		Doc: r.Document, Offline: offline, Machine: config.NewMachine(x.env, ""),
		Report: func(*config.Problem) {},
	}
	for i := range r.Plan.Groups {
		g := &r.Plan.Groups[i]
		for j := range g.Processes {
			s := g.Processes[j].Section
			x.kill[s] = g.Processes[j].KillAsGroup
			if of := x.groups[s]; len(of) == 0 || of[len(of)-1] != g.Name {
				x.groups[s] = append(of, g.Name)
			}
		}
	}
	return x
}

// printout prints each section that has a meaning, [supervisord] with the
// environment it was started in, the others with what it adds.
func (x *expander) printout() (*config.Printout, error) {
	out := config.NewPrintout()
	start := x.env
	later := make(map[string]string, len(start))
	for k, v := range start {
		later[k] = v
	}
	for k, v := range x.plan.Daemon.Environment {
		later[k] = v
	}
	for _, s := range x.doc.Sections {
		kind, ok := config.KindOf(s.Name)
		if !ok || kind == config.KindInclude {
			continue
		}
		x.env = later
		if kind == config.KindSupervisord || kind == config.KindSupervisorctl || kind == config.KindCtlPlugin {
			x.env = start
		}
		sec, err := out.Section(s.Name, place(s.Pos))
		if err != nil {
			return nil, err
		}
		if err := x.section(sec, s, kind); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// place is where something is written, for a comment.
func place(pos config.Pos) string { return fmt.Sprintf("%s:%d", pos.File, pos.Line) }

// section prints the keys of one section.
func (x *expander) section(out *config.PrintSection, s *config.Section, kind config.Kind) error {
	v := x.dec.Values(s, kind, config.Names{Env: x.env, Here: x.doc.Here, Host: x.host})
	keep := x.program(v, s, kind)
	for _, k := range v.Schema.Keys {
		t := v.Effective(k.Name, keep)
		from := "default"
		switch {
		case t.Entry != nil:
			from = place(t.Entry.Pos)
		case kind == config.KindEventListener && k.Name == "priority":
			// The default of the group is not that of its processes, and
			// written out it would be both.
			continue
		case k.Ours:
			// Switched off; and Supervisor can read the rest.
			continue
		default:
			t = x.computed(s, kind, k.Name, t)
		}
		if !t.Set {
			continue
		}
		if err := out.Key(k.Name, t.Text, from); err != nil {
			return fmt.Errorf("[%s] %s: %w", s.Name, k.Name, err)
		}
	}
	if !v.Schema.Open {
		return nil
	}
	for _, e := range s.All() {
		if v.Schema.Key(e.Key) == nil {
			if err := out.Key(e.Key, v.EffectiveFree(e), place(e.Pos)); err != nil {
				return fmt.Errorf("[%s] %s: %w", s.Name, e.Key, err)
			}
		}
	}
	return nil
}

// computed fills in defaults that are no fixed text.
func (x *expander) computed(s *config.Section, kind config.Kind, key string, t config.Text) config.Text {
	switch {
	case kind == config.KindSupervisord && key == "childlogdir":
		return config.Text{Text: strings.ReplaceAll(x.plan.Daemon.ChildLogDir, "%", "%%"), Set: true}
	case key == "killasgroup":
		kill, ok := x.kill[s.Name]
		return config.Text{Text: value.FormatBool(kill), Set: ok}
	}
	return t
}

// program sets the names that the keys of a program know, and returns which
// of them differ between its processes and so have to stay.
func (x *expander) program(v *config.Values, s *config.Section, kind config.Kind) func(string) bool {
	switch kind {
	case config.KindProgram, config.KindFCGI, config.KindEventListener:
	default:
		return func(string) bool { return false }
	}
	_, name, _ := strings.Cut(s.Name, ":")
	v.Names.Program = strings.TrimSpace(name)
	groups := x.groups[s.Name]
	if len(groups) == 1 {
		v.Names.Group = groups[0]
	}
	v.Names.NumProcs, _ = v.Int("numprocs")
	v.Names.ProcessNum, _ = v.Int("numprocs_start")
	own := v.Environment("environment")
	v.Names.OwnEnv = own
	several := v.Names.NumProcs > 1
	return func(name string) bool {
		switch name {
		case "process_num":
			return several
		case "group_name":
			return len(groups) != 1
		}
		variable, isEnv := strings.CutPrefix(name, "ENV_")
		_, isOwn := own[variable]
		return isEnv && isOwn && several
	}
}
