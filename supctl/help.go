package main

import (
	"context"
	"fmt"
	"strings"

	"sup/lib/cli"
	"sup/lib/client"
)

// usage is the help of an action, without a newline at its end.
func (a *action) usage() string {
	lines := make([]string, len(a.help))
	for i, h := range a.help {
		lines[i] = fmt.Sprintf("%-29s %s", h[0], h[1])
	}
	return strings.Join(lines, "\n")
}

// help lists the actions, or explains one.
func help(_ context.Context, s *session, _ *client.Client, arg string) error {
	if arg == "" {
		var names []string
		for _, a := range actions {
			if a.name != "help" {
				names = append(names, a.name)
			}
		}
		s.printf("\nActions (help ACTION explains one):\n\n%s", raw(cli.Columns(names, 79)))
		return nil
	}
	for _, a := range actions {
		if a.name == arg {
			s.printf("%s", raw(a.usage()))
			return nil
		}
	}
	s.printf("*** No help on %s", arg)
	return nil
}

// quit leaves the shell.
func quit(_ context.Context, s *session, _ *client.Client, _ string) error {
	s.printf("")
	return errQuit
}
