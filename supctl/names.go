package main

import (
	"slices"
	"strings"
)

// namespec is how a user names a process, or a whole group.
type namespec struct {
	// text is what was typed.
	text           string
	group, process string
	// whole is set for a group: "group:*" or "group:".
	whole bool
}

func parseName(text string) namespec {
	group, process, ok := strings.Cut(text, ":")
	switch {
	case !ok:
		return namespec{text: text, group: text, process: text}
	case process == "" || process == "*":
		return namespec{text: text, group: group, whole: true}
	}
	return namespec{text: text, group: group, process: process}
}

// String is the name of a process as it is printed.
func (n namespec) String() string {
	if n.whole {
		return n.text
	}
	return processName(n.group, n.process)
}

// processName is the name of a process as it is printed.
func processName(group, process string) string {
	if group == process {
		return process
	}
	return group + ":" + process
}

// all reports whether the names mean everything: "all" anywhere among them
// makes the others meaningless.
func all(names []string) bool { return slices.Contains(names, "all") }
