package config

import (
	"errors"
	"sort"
	"strings"

	"sup/lib/expand"
)

// NameSet is a set of the names that expressions may refer to.
type NameSet uint8

const (
	NameEnv     NameSet = 1 << iota // ENV_X: the environment
	NameHere                        // here
	NameHost                        // host_node_name
	NameProgram                     // program_name
	NameGroup                       // group_name
	NameNumbers                     // process_num, numprocs
	NameOwnEnv                      // ENV_X: the section's own environment=

	NamesInclude = NameEnv | NameHere | NameHost
	NamesStart   = NameEnv | NameHere
	NamesSocket  = NamesStart | NameProgram
	NamesEarly   = NamesInclude | NameProgram | NameGroup
	NamesEnviron = NamesEarly | NameNumbers
	NamesProcess = NamesEnviron | NameOwnEnv
)

// Names is what expressions may refer to at one place.
type Names struct {
	Known NameSet

	// Env is the environment the program was started in, and what
	// [supervisord] environment= adds to it.
	Env map[string]string
	// OwnEnv is what environment= of the section sets.
	OwnEnv map[string]string

	// AnyEnv has a variable that is not set stand for itself, and missed tells
	// that this was so.
	AnyEnv, missed bool

	Here, Host, Program, Group string
	ProcessNum, NumProcs       int
}

// Lookup is an expand.Lookup.
func (n *Names) Lookup(name string) (expand.Value, bool) {
	if v, ok := strings.CutPrefix(name, "ENV_"); ok {
		if n.Known&NameOwnEnv != 0 {
			if s, ok := n.OwnEnv[v]; ok {
				return expand.String(s), true
			}
		}
		s, ok := n.Env[v]
		if !ok && n.AnyEnv && n.Known&NameEnv != 0 {
			n.missed = true
			return expand.String("%(" + name + ")s"), true
		}
		return expand.String(s), ok && n.Known&NameEnv != 0
	}
	switch name {
	case "here":
		return expand.String(n.Here), n.Known&NameHere != 0
	case "host_node_name":
		return expand.String(n.Host), n.Known&NameHost != 0
	case "program_name":
		return expand.String(n.Program), n.Known&NameProgram != 0
	case "group_name":
		return expand.String(n.Group), n.Known&NameGroup != 0
	case "process_num":
		return expand.Int(int64(n.ProcessNum)), n.Known&NameNumbers != 0
	case "numprocs":
		return expand.Int(int64(n.NumProcs)), n.Known&NameNumbers != 0
	}
	return expand.Value{}, false
}

// list are the names known, for a hint; of the variables only those that
// resemble name.
func (n *Names) list(name string) []string {
	var all []string
	for _, k := range []struct {
		set  NameSet
		name string
	}{
		{NameHere, "here"}, {NameHost, "host_node_name"}, {NameProgram, "program_name"},
		{NameGroup, "group_name"}, {NameNumbers, "process_num"}, {NameNumbers, "numprocs"},
	} {
		if n.Known&k.set != 0 {
			all = append(all, k.name)
		}
	}
	if strings.HasPrefix(strings.ToUpper(name), "ENV") {
		var env []string
		for v := range n.Env {
			env = append(env, v)
		}
		if n.Known&NameOwnEnv != 0 {
			for v := range n.OwnEnv {
				env = append(env, v)
			}
		}
		sort.Strings(env)
		if near := Nearest(strings.TrimLeft(name[len("ENV"):], "_-. "), env); near != "" {
			return []string{"ENV_" + near}
		}
	}
	return all
}

// expansionProblem makes a Problem of an error of expand.Expand.
func expansionProblem(s *Section, e *Entry, names *Names, err error) *Problem {
	p := &Problem{Section: s.Name, Message: err.Error(), Code: CodeBadExpansion}
	if e != nil {
		p.Key, p.Value = e.Key, shortened(e.Value)
		p.at(e.Pos)
	} else {
		p.at(s.Pos)
	}
	if errors.Is(err, errExpanded) || errors.Is(err, expand.ErrTooLong) {
		p.Code = CodeTooLarge
	}
	var unknown *expand.UnknownError
	if errors.As(err, &unknown) {
		p.Code = CodeUnknownExpansion
		known := names.list(unknown.Name)
		switch v, isEnv := strings.CutPrefix(unknown.Name, "ENV_"); {
		case isEnv && len(known) == 1 && strings.HasPrefix(known[0], "ENV_"):
			p.Hint = "did you mean %(" + known[0] + ")s?"
		case isEnv:
			p.Hint = "set the environment variable " + v + " where the daemon is started, or with environment="
		default:
			if near := Nearest(unknown.Name, known); near != "" {
				p.Hint = "did you mean %(" + near + ")s?"
			} else if len(known) > 0 {
				p.Hint = "known here are " + strings.Join(known, ", ") + " and ENV_*"
			} else {
				p.Hint = "known here are ENV_* only"
			}
		}
	}
	return p
}
