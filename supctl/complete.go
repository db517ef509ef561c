package main

import (
	"context"
	"strings"

	"sup/lib/rpc"
)

// candidates returns what could stand where word stands, the last word of
// before.
func (s *session) candidates(before, word string) []string {
	words := strings.Fields(before)
	var names []string
	switch {
	case len(words) == 0, len(words) == 1 && word != "":
		names = actionNames()
	default:
		if a := findAction(words[0]); a != nil {
			names = s.offers(a.complete, word)
		}
	}
	var fit []string
	for _, name := range names {
		if strings.HasPrefix(name, word) {
			fit = append(fit, name)
		}
	}
	return fit
}

func actionNames() []string {
	names := make([]string, len(actions))
	for i, a := range actions {
		names[i] = a.name
	}
	return names
}

// offers returns all words of a kind.
func (s *session) offers(kind completion, word string) []string {
	var names []string
	seen := make(map[string]bool)
	add := func(name string) {
		if !seen[name] {
			seen[name] = true
			names = append(names, name)
		}
	}
	switch kind {
	case completeActions:
		return actionNames()
	case completeGroups:
		for _, info := range s.known() {
			add(info.Group)
		}
	case completeProcesses:
		for _, info := range s.known() {
			if info.Name == info.Group && !strings.Contains(word, ":") {
				add(info.Name)
				continue
			}
			add(info.Group + ":" + info.Name)
			add(info.Group + ":*")
		}
	}
	return names
}

// known returns the processes of the daemon. They are asked for once between
// two actions, however often TAB is pressed; a daemon that does not answer has
// none.
func (s *session) known() []rpc.ProcessInfo {
	if s.infos == nil {
		daemon, err := s.connect()
		if err != nil {
			return nil
		}
		s.infos, _ = daemon.AllProcessInfo(context.Background())
	}
	return s.infos
}
