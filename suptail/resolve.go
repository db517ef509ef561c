package main

import (
	"path"
	"strings"

	"sup/lib/client"
	"sup/lib/rpc"
)

// target is a log that is to be shown.
type target struct {
	// name is what the process is called for people, and for the daemon.
	name           string
	group, process string
	// file is where the daemon has the log, "" if it has none.
	file string
}

func newTarget(info rpc.ProcessInfo, stream client.Stream) target {
	t := target{group: info.Group, process: info.Name, name: info.Name, file: info.StdoutLogfile}
	if info.Group != info.Name {
		t.name = info.Group + ":" + info.Name
	}
	if stream == client.Stderr {
		t.file = info.StderrLogfile
	}
	return t
}

// resolve returns the logs that names stand for, each once, in the order of
// the names, and the names that stand for none.
func resolve(names []string, infos []rpc.ProcessInfo, stream client.Stream) (targets []target, unknown []string) {
	seen := make(map[string]bool)
	for _, name := range names {
		found := false
		for _, info := range infos {
			t := newTarget(info, stream)
			if !matches(name, t) {
				continue
			}
			found = true
			if !seen[t.name] {
				seen[t.name] = true
				targets = append(targets, t)
			}
		}
		if !found {
			unknown = append(unknown, name)
		}
	}
	return targets, unknown
}

// matches reports whether a name on the command line means the target.
func matches(name string, t target) bool {
	if name == "all" || name == t.name {
		return true
	}
	group, process, ok := strings.Cut(name, ":")
	if !ok {
		matched, _ := path.Match(name, t.name)
		return matched
	}
	if process == "" {
		process = "*"
	}
	inGroup, _ := path.Match(group, t.group)
	isProcess, _ := path.Match(process, t.process)
	return inGroup && isProcess
}

// several reports whether a name may stand for more than one log, now or
// later.
func several(name string) bool {
	return name == "all" || strings.HasSuffix(name, ":") || strings.ContainsAny(name, "*?[")
}
